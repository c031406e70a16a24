"""Keyed numbers: pure, independent of their neighbors, and uniform."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.keyed import key, splitmix64, uniform


def test_key_separates_what_concatenation_would_not():
    assert len({key("a", 1), key("a1"), key("a", "1"), key(1, "a")}) == 4


def test_splitmix64_known_answer():
    # First output of splitmix64 seeded with 0, and the two that follow, as published with the generator.
    counters = np.array([0, 1, 2], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert [hex(v) for v in splitmix64(counters)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


@given(st.integers(0, 2**63), st.lists(st.integers(0, 10**7), min_size=1, max_size=20), st.integers(1, 5))
def test_a_row_depends_on_its_own_number_only(seed, rows, columns):
    together = uniform(seed, np.array(rows), columns)
    alone = np.concatenate([uniform(seed, np.array([row]), columns) for row in rows])
    assert np.array_equal(together, alone)
    assert ((together >= 0) & (together < 1)).all()


def test_uniform_moments_and_no_correlation_between_columns_or_neighbors():
    numbers = uniform(key("moments"), np.arange(100_000), 3)
    assert np.allclose(numbers.mean(0), 0.5, atol=0.005)
    assert np.allclose(numbers.var(0), 1 / 12, atol=0.002)
    assert abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.02
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.02
