"""Draws are functions of the seed and the place in the global batch: the same for any batch, process and order."""

import subprocess
import sys

import fingerprints as support
import numpy as np
import pytest
from fingerprints import SEVERAL, fingerprints
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import environment

NAMES = sorted(SEVERAL)
ROWS = np.arange(24)
seeds = st.integers(0, 2**60)


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_keys_differ(name):
    """But for a coincidence: "multimix" has whole-pixel shifts, and no op at all for 1 image in 16."""
    assert len({*fingerprints(SEVERAL[name], ROWS), *fingerprints(SEVERAL[name], ROWS, key=5)}) > 44


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("name", NAMES)
def test_processes_together_draw_what_one_does(name, world):
    whole = fingerprints(SEVERAL[name], ROWS)
    for rank in range(world):
        assert fingerprints(SEVERAL[name], ROWS[rank::world]) == whole[rank::world]


@pytest.mark.parametrize("name", NAMES)
def test_batch_size_and_order_change_nothing(name):
    whole = fingerprints(SEVERAL[name], ROWS)
    assert [fingerprints(SEVERAL[name], ROWS[row : row + 1])[0] for row in ROWS] == whole
    order = np.random.default_rng(0).permutation(ROWS)
    assert fingerprints(SEVERAL[name], order) == [whole[row] for row in order]
    assert fingerprints(SEVERAL[name], np.arange(300 if name == "everything" else 3000))[:24] == whole
    assert fingerprints(SEVERAL[name], ROWS[:0]) == []


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.integers(0, 2**31), min_size=1, max_size=12),
    name=st.sampled_from(NAMES),
    key=st.integers(0, 2**60),
)
def test_a_row_draws_alone_what_it_draws_in_company(rows, name, key):
    together = fingerprints(SEVERAL[name], rows, key=key)
    place = len(rows) // 2
    assert fingerprints(SEVERAL[name], rows[place : place + 1], key=key) == [together[place]]


def test_another_process_draws_the_same():
    """With more threads and other hashes of strings."""
    other = {**environment(), "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7"}
    command = [sys.executable, support.__file__]
    said = subprocess.run(command, capture_output=True, text=True, env=other, timeout=120, check=True).stdout
    here = [" ".join([name, *fingerprints(policy, ROWS)]) for name, policy in SEVERAL.items()]
    assert said.splitlines() == here
