"""LabelBudget: counts, relations between subsets, and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ssmtl.budget import LabelBudget
from ssmtl.errors import DataError

NAMES = ("a", "b", "c")
ALL = np.ones(60, dtype=bool)
CLASSES = np.repeat(np.array([0, 1, 2], np.int32), 20)


def visible(task, count, rule="nested", labels=None, annotated=ALL, seed=0):
    return LabelBudget(counts=((task, count),), rule=rule, seed=seed).visible(task, annotated, labels, NAMES)


@given(st.integers(1, 60), st.integers(0, 5))
def test_exactly_the_count_and_only_annotated_rows(count, seed):
    annotated = np.arange(90) % 3 != 0
    keep = visible("t", count, annotated=annotated, seed=seed)
    assert keep.sum() == count
    assert not (keep & ~annotated).any()


def test_full_and_unlisted_tasks_keep_everything():
    annotated = np.arange(60) % 2 == 0
    assert np.array_equal(visible("t", "full", annotated=annotated), annotated)
    assert np.array_equal(LabelBudget().visible("other", annotated, None, ()), annotated)


@given(st.integers(3, 59))
def test_a_larger_budget_contains_a_smaller_one(count):
    small, large = visible("t", count, labels=CLASSES), visible("t", count + 1, labels=CLASSES)
    assert not (small & ~large).any()


@given(st.integers(3, 60))
def test_classes_share_in_proportion(count):
    keep = visible("t", count, labels=CLASSES)
    assert np.ptp([keep[c == CLASSES].sum() for c in range(3)]) <= 1


def test_unequal_classes_share_in_proportion():
    labels = np.array([0] * 45 + [1] * 15, np.int32)
    keep = LabelBudget(counts=(("t", 20),)).visible("t", ALL, labels, NAMES[:2])
    assert keep[labels == 0].sum() == 15
    assert keep[labels == 1].sum() == 5


def test_rules_relate_tasks():
    small, large = visible("a", 10), visible("b", 30)
    assert not (small & ~large).any()
    assert np.array_equal(visible("a", 10, "identical"), visible("b", 10, "identical"))
    overlap = (visible("a", 30, "independent") & visible("b", 30, "independent")).sum()
    assert 5 < overlap < 25


def test_seeds_differ():
    assert not np.array_equal(visible("t", 20, seed=0), visible("t", 20, seed=1))


def test_a_budget_larger_than_the_set_is_refused():
    with pytest.raises(DataError, match="asks for 61 labels of 't', but its sources have only 60"):
        visible("t", 61)


def test_a_class_without_a_labeled_example_is_refused():
    labels = np.array([0] * 58 + [1, 2], np.int32)
    with pytest.raises(DataError, match="leaves the class 'b' without a labeled example"):
        visible("t", 5, labels=labels)


@pytest.mark.parametrize("count", [10, "full"])
def test_a_class_that_no_source_shows_is_refused(count):
    with pytest.raises(DataError, match="leaves the class 'c' without a labeled example"):
        visible("t", count, labels=np.minimum(CLASSES, 1))


def test_a_budget_names_each_task_once():
    with pytest.raises(ValidationError, match="once"):
        LabelBudget(counts=(("t", 1), ("t", 2)))
    with pytest.raises(ValidationError, match="same count"):
        LabelBudget(counts=(("a", 1), ("b", 2)), rule="identical")
