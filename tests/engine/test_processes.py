"""Two processes compute what one does: the same global batches, counts and losses."""

import json

import pytest
from launch import TINY


def _losses(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("phase", "lr")} for row in rows if row["phase"] == "train"]


# With implicit batches of 4 over 48 films, of which 8 + 4 are labeled, most steps leave a process without labels.
@pytest.mark.parametrize("streams", [("per-source",), ("implicit", "--no-matching")])
def test_one_and_two_processes_agree(tmp_path, ssmtl, streams):
    # Rounding grows with every step through InstanceNorm over 2 x 2 pixels: a small rate keeps it below 1e-5.
    flags = (
        "--optimizer",
        "sgd",
        "--lr",
        0.001,
        "--dropout",
        0,
        "--steps",
        4,
        "--eval-every",
        1,
        "--streams",
        *streams,
    )
    one, two = tmp_path / "one", tmp_path / "two"
    for out, devices in ((one, 1), (two, 2)):
        result = ssmtl("run", TINY, "--out", out, "--devices", devices, *flags)
        assert result.returncode == 0, result.stderr
    expected, found = _losses(one), _losses(two)
    assert len(expected) == len(found) == 4
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    if "implicit" in streams:
        assert any(row["lungs/supervised"] == 0 for row in expected)


def test_an_uneven_split_is_one_sentence(tmp_path, ssmtl):
    result = ssmtl("run", TINY, "--out", tmp_path / "run", "--devices", 3, "--steps", 1)
    assert result.returncode == 2
    assert "can't be split evenly over 3 processes" in result.stderr
    assert "Traceback" not in result.stderr
