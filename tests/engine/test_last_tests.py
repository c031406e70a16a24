"""The median over the last tests: which evaluations count, what is reported, and that a crash loses none."""

import json
import math
import statistics

import pytest
from kinds import recipe

from ssmtl.engine import Options, train
from ssmtl.progress import Progress, is_among_last
from ssmtl.runs import RunFolder

QUIET = Options(workers=0, quiet=True)


@pytest.mark.parametrize(
    ("steps", "every", "count", "expected"),
    [(8, 2, 3, [4, 6, 8]), (9, 2, 3, [6, 8, 9]), (8, 2, 1, [8]), (8, 3, 20, [3, 6, 8]), (8, 20, 2, [8])],
)
def test_the_last_evaluations_are_those_every_so_often_and_the_final_one(steps, every, count, expected):
    evaluated = [done for done in range(1, steps + 1) if done % every == 0 or done == steps]
    assert [done for done in evaluated if is_among_last(done, steps, every, count)] == expected


def rows(folder, phase):
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["phase"] == phase]


def test_the_test_is_the_median_of_the_last_ones(tmp_path):
    folder = RunFolder.create(tmp_path / "run", recipe(), "ssmtl run kinds.py")
    assert train(recipe(), folder, QUIET)
    each = rows(folder, "checkpoint_test")
    assert [row["step"] for row in each] == [4, 6, 8]
    (test,) = rows(folder, "test")
    assert test["checkpoint"] == "median of last 3"
    for metric in ("kind/accuracy", "kind/error_pct", "kind/auc"):
        assert test[metric] == pytest.approx(statistics.median(row[metric] for row in each))
    assert test["kind/error_pct"] == pytest.approx(100 - 100 * test["kind/accuracy"])


def test_an_interrupted_run_remembers_its_tests(tmp_path):
    whole = RunFolder.create(tmp_path / "whole", recipe(), "ssmtl run kinds.py")
    assert train(recipe(), whole, QUIET)
    cut = RunFolder.create(tmp_path / "cut", recipe(), "ssmtl run kinds.py")
    assert train(recipe().replace(steps=6, eval_every=2, test_last=2), cut, QUIET)
    state = json.loads((cut.checkpoint("last") / "manifest.json").read_text())["state"]
    assert [step for step, _, _ in state["tested"]] == [4, 6]
    assert train(recipe(), cut, QUIET, resume=True)
    assert rows(cut, "test") == rows(whole, "test")
    assert rows(cut, "checkpoint_test") == rows(whole, "checkpoint_test")


def test_a_run_that_goes_on_leaves_its_first_end_behind(tmp_path):
    """Tests of steps 2 to 4 were the last ones of 4 steps; of 8 steps they are none of the last three."""
    folder = RunFolder.create(tmp_path / "run", recipe(), "ssmtl run kinds.py")
    assert train(recipe().replace(steps=4, eval_every=1), folder, QUIET)
    assert train(recipe().replace(steps=8, eval_every=1), folder, QUIET, resume=True)
    scores = {row["step"]: row["kind/error_pct"] for row in rows(folder, "checkpoint_test")}
    assert list(scores) == [2, 3, 4, 6, 7, 8]
    assert rows(folder, "test")[-1]["checkpoint"] == "median of last 3"
    state = json.loads((folder.checkpoint("last") / "manifest.json").read_text())["state"]
    assert [step for step, _, _ in state["tested"]] == [6, 7, 8]
    assert rows(folder, "test")[-1]["kind/error_pct"] == statistics.median(scores[step] for step in (6, 7, 8))


@pytest.mark.parametrize(("steps", "named"), [(2, "last"), (4, "median of last 2")])
def test_a_run_too_short_for_as_many_says_how_many_there_were(tmp_path, steps, named):
    folder = RunFolder.create(tmp_path / "run", recipe(), "ssmtl run kinds.py")
    assert train(recipe().replace(steps=steps, eval_every=2), folder, QUIET)
    (test,) = rows(folder, "test")
    assert test["checkpoint"] == named


def test_a_metric_that_was_undefined_once_has_no_median():
    tested = [(1, "test", {"a": 1.0, "b": 2.0}), (2, "test", {"a": 3.0, "b": math.nan}), (2, "other", {"c": 9.0})]
    medians = Progress(tested=tested).medians("test")
    assert medians["a"] == 2.0
    assert math.isnan(medians["b"])
    assert Progress.read(json.loads(json.dumps(Progress(tested=tested).state()))).tested[0] == tested[0]


def test_the_best_checkpoint_has_no_last_tests():
    with pytest.raises(ValueError, match="leave one of the two out"):
        recipe().replace(select="best", validation=recipe().test, test=())


def test_the_end_of_a_run_that_went_on_is_forgotten():
    progress = Progress(tested=[(step, "test", {"a": 0.0}) for step in (5, 10, 12)])
    for step in (15, 20):
        progress.step = step
        progress.tested.append((step, "test", {"a": 0.0}))
        progress.keep_tests(3, 5)
    assert [step for step, _, _ in progress.tested] == [10, 15, 20]
