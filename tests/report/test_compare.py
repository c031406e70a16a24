import json
import math

import pytest
from rich.console import Console

from ssmtl.errors import CheckpointError, RecipeError
from ssmtl.report.compare import compare, spread


def scored(auc, **fields):
    return [{"phase": "test", "step": 9, "split": "test", "d/auc": auc, **fields}]


def shown(comparison):
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(comparison.table)
    return " ".join(capture.get().split())


@pytest.fixture
def make_pairs(make_run):
    def make(ours, base):
        folders = []
        for variant, values in (("multimix", ours), ("supervised", base)):
            for seed, auc in enumerate(values):
                recipe = {"name": variant, "seed": seed, "sources": [{"reader": {"kind": "P", "seed": seed}}]}
                folder = make_run(f"{variant}{seed}", recipe=recipe, info={"seed": seed}, records=scored(auc))
                folders.append(folder)
        return folders

    return make


def test_mean_and_sample_standard_deviation():
    # mean (.7 + .8 + .9) / 3 = .8; squares .01 + 0 + .01 over n - 1 = 2 gives .01, so sd = .1
    found = spread([0.7, 0.8, 0.9])
    assert found.mean == pytest.approx(0.8)
    assert found.sd == pytest.approx(0.1)
    assert spread([0.7]).sd is None
    assert math.isnan(spread([0.7, math.inf]).mean)


def test_groups_over_seeds_and_differences_paired_by_seed(make_pairs):
    folders = make_pairs([0.7, 0.8, 0.9], [0.6, 0.75, 0.95])
    data = compare(folders, baseline="supervised").data
    ours = data["groups"]["multimix"]
    assert ours["seeds"] == [0, 1, 2]
    assert ours["metrics"]["test"]["d/auc"]["mean"] == pytest.approx(0.8)
    assert ours["metrics"]["test"]["d/auc"]["sd"] == pytest.approx(0.1)
    # differences .1, .05, -.05: mean .1/3; squared deviations (.0667^2 + .0167^2 + .0833^2) / 2 = .00583, sd = .07638
    difference = data["differences"]["multimix"]["test"]["d/auc"]
    assert difference["values"] == pytest.approx([0.1, 0.05, -0.05])
    assert difference["mean"] == pytest.approx(0.033333, abs=1e-6)
    assert difference["sd"] == pytest.approx(0.076376, abs=1e-6)
    assert "supervised" not in data["differences"]


def test_the_table_prints_spread_and_wins(make_pairs):
    text = shown(compare(make_pairs([0.7, 0.8, 0.9], [0.6, 0.75, 0.95]), baseline="supervised"))
    assert "0.800 ± 0.100" in text
    assert "+0.033 ± 0.076 (2/3)" in text
    assert "n = 3" in text


def test_pairs_are_matched_by_seed_not_by_order(make_pairs):
    folders = make_pairs([0.7, 0.8, 0.9], [0.6, 0.75, 0.95])
    forward, backward = (compare(order, baseline="supervised").data for order in (folders, folders[::-1]))
    assert forward["differences"] == backward["differences"]


def test_seeds_without_a_partner_are_left_out_of_the_differences(make_pairs):
    data = compare(make_pairs([0.7, 0.8, 0.9], [0.6]), baseline="supervised").data
    assert data["differences"]["multimix"]["test"]["d/auc"]["values"] == pytest.approx([0.1])


def test_no_mean_hides_a_value_that_is_not_finite(make_run):
    folders = [
        make_run(str(seed), recipe={"seed": seed}, info={"seed": seed}, records=scored(auc))
        for seed, auc in enumerate((0.5, math.nan))
    ]
    comparison = compare(folders)
    found = comparison.data["groups"]["multimix_cxr"]["metrics"]["test"]["d/auc"]
    assert found == {"mean": None, "sd": None, "n": 2, "values": [0.5, None]}
    json.dumps(comparison.data, allow_nan=False)
    assert "n/a (1 of 2 not finite)" in shown(comparison)


def test_a_split_tested_in_several_ways_is_named_with_each(make_run):
    records = [*scored(0.5, checkpoint="last", weights="student"), *scored(0.6, checkpoint="best", weights="student")]
    metrics = compare([make_run(records=records)]).data["groups"]["multimix_cxr"]["metrics"]
    assert metrics["test (last, student)"]["d/auc"]["mean"] == 0.5
    assert metrics["test (best, student)"]["d/auc"]["mean"] == 0.6


def test_errors_have_two_digits_as_they_are_printed(make_run):
    def run(name, error):
        records = [{"phase": "test", "step": 9, "split": "test", "d/error_pct": error}]
        return make_run(name, recipe={"name": name}, records=records)

    text = shown(compare([run("mixmatch", 11.784), run("realmix", 9.785)], baseline="mixmatch"))
    assert "11.78" in text
    assert "-2.00 (0/1)" in text
    assert "11.784" not in text


def test_medians_of_checkpoints_are_compared_and_single_checkpoints_left_out(make_run):
    way = {"checkpoint": "median of last 20", "weights": "teacher"}
    single = {"phase": "checkpoint_test", "step": 8, "split": "test", "checkpoint": "single", "d/auc": 0.9}
    folders = [
        make_run(str(seed), recipe={"seed": seed}, info={"seed": seed}, records=[single, *scored(auc, **way)])
        for seed, auc in enumerate((0.5, 0.75))
    ]
    comparison = compare(folders)
    group = comparison.data["groups"]["multimix_cxr"]
    assert group["tested"] == ["median of last 20, teacher"]
    assert group["metrics"]["test"]["d/auc"]["values"] == [0.5, 0.75]
    assert "different ways" not in shown(comparison)


def test_recipes_tested_in_different_ways_are_compared_but_not_in_silence(make_run):
    def run(name, **way):
        return make_run(name, recipe={"name": name}, records=scored(0.5, **way))

    folders = [
        run("realmix", checkpoint="median of last 20", weights="teacher"),
        run("supervised", checkpoint="last", weights="student"),
    ]
    sentence = "Tested in different ways: realmix: median of last 20, teacher; supervised: last, student."
    assert sentence in shown(compare(folders, baseline="supervised"))
    assert "paired by seed" in shown(compare(folders, baseline="supervised"))
    assert "paired by seed" not in shown(compare(folders))


def test_the_same_seed_twice_is_refused(make_run):
    folders = [make_run(name, records=scored(0.5)) for name in ("one", "two")]
    with pytest.raises(CheckpointError, match="are the same recipe with seed 0; leave one out"):
        compare(folders)


def test_runs_of_one_name_must_only_differ_in_seed(make_run):
    folders = [
        make_run(str(seed), recipe={"seed": seed, "steps": 100 + seed}, info={"seed": seed}, records=scored(0.5))
        for seed in (0, 1)
    ]
    with pytest.raises(CheckpointError, match="both called 'multimix_cxr' but differ in steps"):
        compare(folders)


def test_bad_input_is_one_sentence(make_run):
    with pytest.raises(CheckpointError, match="no run folder was given"):
        compare([])
    with pytest.raises(CheckpointError, match=r"has no test metrics \(status: 'finished'\); finish it"):
        compare([make_run("a", records=[])])
    with pytest.raises(
        RecipeError, match="no run of the baseline 'multimix_cx' was given; did you mean 'multimix_cxr'"
    ):
        compare([make_run("b", records=scored(0.5))], baseline="multimix_cx")
