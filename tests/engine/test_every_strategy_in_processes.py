"""Every strategy on two processes: row-wise losses are those of one process, and all of them log the same names."""

import json
import subprocess
import sys
from pathlib import Path

import every_strategy
import pytest
from launch import environment


def logged(folder):
    """Return what was logged of each training step, without its place and rate."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in ("phase", "lr")} for row in rows if row["phase"] == "train"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folders of the runs of one process, and of two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    every_strategy.run_all(one, 1)
    words = [sys.executable, str(Path(every_strategy.__file__)), str(two), "2"]
    result = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=200)
    assert result.returncode == 0, result.stderr
    return one, two


@pytest.mark.parametrize("name", [*every_strategy.ROW_WISE, *every_strategy.POOLED])
def test_two_processes_log_what_one_does(name, both):
    one, two = (logged(folder / name) for folder in both)
    assert len(one) == len(two) == 2
    assert [set(row) for row in one] == [set(row) for row in two]
    assert all(row["loss"] > 0 for row in two)


@pytest.mark.parametrize("name", every_strategy.ROW_WISE)
def test_a_row_has_the_same_loss_in_any_process(name, both):
    for ours, theirs in zip(*(logged(folder / name) for folder in both), strict=True):
        assert theirs == pytest.approx(ours, abs=1e-5)
        assert name == "supervised" or sum(value > 0 for key, value in ours.items() if key.startswith("kind/")) > 2


def test_each_process_masks_its_share(both):
    for folder in both:
        assert {row["kind/ood_masked"] for row in logged(folder / "realmix")} == {0.5}


def test_the_coming_and_going_of_rows_is_no_accident(both):
    """Pooled strategies really do depend on how rows are dealt, which is why they aren't compared above."""
    one, two = (logged(folder / "mixmatch") for folder in both)
    assert one[0]["kind/consistency"] != pytest.approx(two[0]["kind/consistency"], abs=1e-6)
