"""LabelBudget: counts, relations between subsets, the settings of the partially labeled study, and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch import TINY
from pydantic import ValidationError
from scipy.stats import hypergeom

from ssmtl.budget import LabelBudget, Labels
from ssmtl.commands.recipes import load_recipe
from ssmtl.errors import DataError, RecipeError
from ssmtl.loader import open_sources
from ssmtl.recipe import Source

N = 60
ALL = np.ones(N, dtype=bool)
CLASSES = np.repeat(np.array([0, 1, 2], np.int32), 20)
ONE_CLASS_EACH = Labels(ALL, CLASSES, ("a", "b", "c"))

CITYSCAPES = 2975
"""Images of the study's training set, all with masks and boxes."""
OVERLAPS = {
    (93, 93): 4, (186, 186): 18, (372, 372): 45, (744, 744): 180, (1488, 1488): 753,
    (93, 372): 11, (93, 744): 20, (93, 1488): 39, (186, 744): 43, (186, 1488): 85, (372, 1488): 184,
}  # fmt: skip
"""Images with both labels, as published for settings (c) and (e): one draw each."""

masks = st.integers(0, 2**N - 1).map(lambda bits: np.array([bits >> row & 1 for row in range(N)], dtype=bool))
seeds = st.integers(0, 9)


def single(count, labels=None, seed=0, rule="nested"):
    budget = LabelBudget(counts=(("t", count),), rule=rule, seed=seed)
    return budget.visible({"t": labels or Labels(ALL)})["t"]


def pair(budget, first=ALL, second=ALL):
    keep = budget.visible({"seg": Labels(first), "det": Labels(second)})
    return keep["seg"], keep["det"]


def counts(n, m):
    return ("seg", n), ("det", m)


def at_most(data, mask):
    return data.draw(st.integers(1, max(1, int(mask.sum()))))


@given(st.integers(1, N), seeds)
def test_exactly_the_count_and_only_annotated_rows(count, seed):
    annotated = np.arange(90) % 3 != 0
    keep = single(count, Labels(annotated), seed)
    assert keep.sum() == count
    assert not (keep & ~annotated).any()


def test_full_and_unlisted_tasks_keep_everything():
    annotated = np.arange(N) % 2 == 0
    keep = LabelBudget(counts=(("t", "full"),)).visible({"t": Labels(annotated), "other": Labels(ALL)})
    assert np.array_equal(keep["t"], annotated)
    assert keep["other"].all()


@pytest.mark.parametrize("rule", ["nested", "identical", "independent"])
@given(st.data(), masks, masks, seeds)
def test_a_larger_budget_contains_a_smaller_one(rule, data, first, second, seed):
    ceiling = int((first & second).sum())
    if ceiling > 1:
        n = data.draw(st.integers(1, ceiling - 1))
        small = pair(LabelBudget(counts=counts(n, n), rule=rule, seed=seed), first, second)
        large = pair(LabelBudget(counts=counts(n + 1, n + 1), rule=rule, seed=seed), first, second)
        for few, many in zip(small, large, strict=True):
            assert not (few & ~many).any()


@given(st.integers(3, 60))
def test_classes_share_in_proportion(count):
    keep = single(count, ONE_CLASS_EACH)
    assert np.ptp([keep[c == CLASSES].sum() for c in range(3)]) <= 1


def test_unequal_classes_share_in_proportion():
    index = np.array([0] * 45 + [1] * 15, np.int32)
    keep = single(20, Labels(ALL, index, ("a", "b")))
    assert keep[index == 0].sum() == 15
    assert keep[index == 1].sum() == 5


@given(st.data(), masks, masks, seeds)
def test_nested_is_nested_among_images_with_both(data, first, second, seed):
    if first.any() and second.any():
        n, m = sorted((at_most(data, first), at_most(data, second)))
        n = min(n, int(first.sum()))
        if m <= second.sum():
            seg, det = pair(LabelBudget(counts=counts(n, m), seed=seed), first, second)
            assert (seg.sum(), det.sum()) == (n, m)
            assert not (seg & second & ~det).any()


@given(st.integers(3, 30), st.integers(30, N))
def test_nested_holds_where_one_of_the_tasks_has_classes(n, m):
    budget = LabelBudget(counts=(("diagnosis", n), ("lungs", m)))
    keep = budget.visible({"diagnosis": ONE_CLASS_EACH, "lungs": Labels(ALL)})
    assert not (keep["diagnosis"] & ~keep["lungs"]).any()


def test_a_chain_of_tasks_that_cannot_be_nested_is_refused():
    rows = np.arange(N)
    labels = {"a": Labels(rows < 10), "b": Labels(ALL), "c": Labels(rows >= 10)}
    with pytest.raises(DataError, match="labels of 'a' can't be nested in those of 'b'"):
        LabelBudget(counts=(("a", 3), ("b", 4), ("c", 50))).visible(labels)


@given(st.data(), masks, masks, seeds)
def test_identical_draws_images_that_carry_both(data, first, second, seed):
    both = first & second
    if both.any():
        n = at_most(data, both)
        seg, det = pair(LabelBudget(counts=counts(n, n), rule="identical", seed=seed), first, second)
        assert np.array_equal(seg, det)
        assert seg.sum() == n
        everything = pair(LabelBudget(counts=counts("full", "full"), rule="identical", seed=seed), first, second)
        assert all(np.array_equal(keep, both) for keep in everything)


def test_identical_subsets_larger_than_what_carries_both_are_refused():
    rows = np.arange(N)
    with pytest.raises(
        DataError, match="asks for 31 labels of 'seg', but only 30 images carry the labels of every listed task"
    ):
        pair(LabelBudget(counts=counts(31, 31), rule="identical"), rows < 40, rows >= 10)


@given(st.data(), masks, masks, seeds)
def test_an_overlap_is_met_exactly_or_refused_with_what_is_possible(data, first, second, seed):
    if not (first.any() and second.any()):
        return
    n, m = at_most(data, first), at_most(data, second)
    shared = data.draw(st.integers(0, N))
    budget = LabelBudget(counts=counts(n, m), rule="independent", overlap=shared, seed=seed)
    try:
        seg, det = pair(budget, first, second)
    except DataError as error:
        low, high = (int(word.strip(".")) for word in str(error).split("from ")[1].split(" to "))
        assert not low <= shared <= high
        for possible in (low, high):
            seg, det = pair(budget.replace(overlap=possible), first, second)
            assert (seg & det).sum() == possible
        return
    assert (seg.sum(), det.sum(), (seg & det).sum()) == (n, m, shared)
    assert not (seg & ~first).any()
    assert not (det & ~second).any()


def test_the_sentence_about_an_impossible_overlap_says_the_range():
    budget = LabelBudget(counts=counts(40, 50), rule="independent", overlap=29)
    says = "40 labels of 'seg' and 50 of 'det' can't share 29 images; take an overlap from 30 to 40."
    with pytest.raises(DataError, match=says):
        pair(budget)
    assert (np.logical_and(*pair(budget.replace(overlap=30)))).sum() == 30


def test_an_overlap_draws_fairly_from_rows_with_one_label():
    first = np.arange(N) < 40  # 40 with masks, of which 20 with boxes too
    drawn = np.zeros(N)
    for seed in range(400):
        budget = LabelBudget(counts=counts(10, 10), rule="independent", overlap=0, seed=seed)
        drawn += pair(budget, first, np.arange(N) >= 20)[0]
    assert 0.8 < drawn[:20].mean() / drawn[20:40].mean() < 1.25
    assert drawn[:20].min() > 60  # 100 expected


def test_seeds_differ():
    assert not np.array_equal(single(20, seed=0), single(20, seed=1))


def test_the_five_settings_on_the_published_sizes():
    full = np.ones(CITYSCAPES, dtype=bool)

    def setting(letter, n, m, seed=0):
        return pair(LabelBudget.setting(letter, ("seg", n), ("det", m), seed=seed), full, full)

    seg_a, det_a = setting("a", 93, "full")
    assert (seg_a.sum(), det_a.sum()) == (93, CITYSCAPES)
    seg_b, det_b = setting("b", 93, 93)
    assert np.array_equal(seg_b, det_b)
    assert np.array_equal(seg_b, seg_a)
    seg_d, det_d = setting("d", 93, 372)
    assert (det_d.sum(), (seg_d & det_d).sum()) == (372, 93)
    seg_c, det_c = setting("c", 93, 93)
    seg_e, det_e = setting("e", 93, 372)
    for independent in (seg_c, det_c, seg_e, det_e):
        assert (independent & seg_a).sum() < 40
    assert np.array_equal(seg_c, seg_e)


@pytest.mark.parametrize(("sizes", "published"), OVERLAPS.items())
def test_independent_overlaps_are_chance_as_the_published_ones_are(sizes, published):
    n, m = sizes
    chance = hypergeom(CITYSCAPES, n, m)
    low, high = chance.ppf(1e-6), chance.ppf(1 - 1e-6)
    assert low <= published <= high
    full = np.ones(CITYSCAPES, dtype=bool)
    found = []
    for seed in range(20):
        seg, det = pair(LabelBudget.setting("c" if n == m else "e", *counts(n, m), seed=seed), full, full)
        found.append(int((seg & det).sum()))
    assert low <= min(found)
    assert max(found) <= high
    assert abs(np.mean(found) - chance.mean()) < 5 * chance.std() / 20**0.5


@pytest.mark.parametrize(
    ("letter", "n", "m", "says"),
    [
        ("f", 1, 1, "there is no label setting 'f'; take one of a, b, c, d, e."),
        ("a", 5, 9, "setting 'a' got 5 of 'seg' and 9 of 'det', but it shows every label of the second"),
        ("b", 5, 9, "takes the same number of both; take setting 'd' or 'e' for two"),
        ("c", 5, 9, "takes the same number of both; take setting 'e' for two"),
        ("d", 9, 5, "setting 'd' got 9 of 'seg' and 5 of 'det', but the first lie within the second"),
        ("d", "full", 5, "exchange the tasks"),
    ],
)
def test_numbers_that_are_not_the_settings_are_refused(letter, n, m, says):
    with pytest.raises(RecipeError, match=says):
        LabelBudget.setting(letter, ("seg", n), ("det", m))


def test_a_budget_larger_than_the_set_is_refused():
    with pytest.raises(DataError, match="asks for 61 labels of 't', but its sources have only 60"):
        single(61)


def test_the_sentence_about_a_budget_that_is_too_large_says_what_each_source_has():
    labels = Labels(ALL, sources=(("films {a}", 40), ("lung films", 20)))
    with pytest.raises(DataError) as refusal:
        single(61, labels)
    assert str(refusal.value) == (
        "the budget asks for 61 labels of 't', but its sources have only 60 (films {a}: 40, lung films: 20); lower the "
        "number or use 'full'."
    )


def test_only_sources_that_serve_the_task_are_named():
    recipe = load_recipe(TINY)()
    films = recipe.sources[0].reader
    extra = Source("old films", films.replace(first=50, samples=5), serves=("lungs",))
    budget = LabelBudget(counts=(("lungs", 30),))
    with pytest.raises(DataError, match=r"only 29 \(lung films: 24, old films: 5\); lower the number or use 'full'\.$"):
        open_sources(recipe.replace(sources=(*recipe.sources, extra), budget=budget))


def test_a_class_without_a_labeled_example_is_refused():
    index = np.array([0] * 58 + [1, 2], np.int32)
    with pytest.raises(DataError, match="leaves the class 'b' without a labeled example"):
        single(5, Labels(ALL, index, ("a", "b", "c")))


@pytest.mark.parametrize("count", [10, "full"])
def test_a_class_that_no_source_shows_is_refused(count):
    with pytest.raises(DataError, match="leaves the class 'c' without a labeled example"):
        single(count, Labels(ALL, np.minimum(CLASSES, 1), ("a", "b", "c")))


def test_a_class_that_sources_know_but_show_nowhere_is_not_learned():
    labels = Labels(ALL, np.minimum(CLASSES, 1), ("a", "b", "c"), known=("a", "b", "c"))
    assert single("full", labels).all()
    with pytest.raises(DataError, match="the budget of 10 label"):
        single(10, labels)
    with pytest.raises(DataError, match=r"^what the sources show of 't' leaves the class 'c' without .* label one, or"):
        single("full", Labels(ALL, np.minimum(CLASSES, 1), ("a", "b", "c"), known=("a", "b")))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"counts": (("t", 1), ("t", 2))}, "once"),
        ({"counts": (("a", 1), ("b", 2)), "rule": "identical"}, "same count"),
        ({"counts": (("a", 1), ("b", 2)), "overlap": 1}, "overlap=1 needs rule='independent'"),
        ({"counts": (("a", 1),), "overlap": 1, "rule": "independent"}, "the counts of two tasks.* 1 task"),
        ({"counts": (("a", 1),), "record": "labels.json"}, "leave out one"),
    ],
)
def test_budgets_that_contradict_themselves_are_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        LabelBudget(**fields)


def test_a_budget_survives_json_with_its_record_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    budget = LabelBudget(record="labels.json")
    assert budget.record == tmp_path / "labels.json"
    assert LabelBudget.model_validate(budget.model_dump()) == budget
    drawn = LabelBudget(counts=counts(3, 4), rule="independent", overlap=2)
    assert LabelBudget.model_validate(drawn.model_dump()) == drawn
