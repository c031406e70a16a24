"""Dividing rows: whole groups, fair shares of every task and class, and nothing left without labels to train on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from ssmtl.manifests.split import FREE, Gap, Traits, divide, gaps

SHARES = (0.7, 0.15, 0.15)


def traits(carried, tasks):
    carried = np.asarray(carried)
    return Traits(tuple(f"t{k}" for k in range(carried.shape[1])), tasks, csr_array(carried))


def free(n):
    return np.full(n, FREE, dtype=np.int8)


def counts(split, carried, trait):
    return np.bincount(split[np.asarray(carried)[:, trait] > 0], minlength=3).tolist()


def partial_labels(seed=0):
    """100 images: 20 with one of two classes (12 and 8, the last two columns), 10 with masks, 15 with boxes."""
    carried = np.zeros((100, 5), dtype=np.int64)
    rows = np.random.default_rng(seed).permutation(100)
    carried[rows[:20], 0] = 1
    carried[rows[:12], 3] = 1
    carried[rows[12:20], 4] = 1
    carried[rows[15:25], 1] = 1
    carried[rows[22:37], 2] = 1
    return carried


@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_images_with_few_labels_each(seed):
    carried = partial_labels()
    split = divide(traits(carried, 3), np.arange(100), free(100), SHARES, seed)
    assert np.abs(np.bincount(split) - [70, 15, 15]).max() <= 2
    assert counts(split, carried, 0) == [14, 3, 3]
    assert np.abs(np.array(counts(split, carried, 1)) - [7, 1.5, 1.5]).max() <= 1
    assert np.abs(np.array(counts(split, carried, 2)) - [10.5, 2.25, 2.25]).max() <= 1
    assert min(*counts(split, carried, 3), *counts(split, carried, 4)) >= 1


def test_equal_rows_are_divided_exactly():
    carried = np.repeat(np.eye(2, dtype=np.int64), [1000, 200], axis=0)
    split = divide(traits(carried, 1), np.arange(1200), free(1200), SHARES, 0)
    assert counts(split, carried, 0) == [700, 150, 150]
    assert counts(split, carried, 1) == [140, 30, 30]


def test_three_labels_are_one_for_each_split():
    carried = np.zeros((40, 1), dtype=np.int64)
    carried[[3, 17, 30]] = 1
    split = divide(traits(carried, 1), np.arange(40), free(40), SHARES, 0)
    assert counts(split, carried, 0) == [1, 1, 1]
    assert gaps(traits(carried, 1), np.arange(40), split) == []


def test_two_labels_leave_a_split_without_one_and_train_comes_first():
    carried = np.zeros((40, 1), dtype=np.int64)
    carried[[3, 17]] = 1
    split = divide(traits(carried, 1), np.arange(40), free(40), SHARES, 0)
    assert counts(split, carried, 0)[0] == 1
    (gap,) = gaps(traits(carried, 1), np.arange(40), split)
    assert (gap.task, gap.groups) == ("t0", 2)
    assert gap.split in ("val", "test")


def test_labels_in_one_group_all_train():
    carried, groups = np.zeros((12, 1), dtype=np.int64), np.arange(12)
    carried[:3], groups[:3] = 1, 0
    split = divide(traits(carried, 1), groups, free(12), (0.4, 0.3, 0.3), 0)
    assert counts(split, carried, 0) == [3, 0, 0]
    assert gaps(traits(carried, 1), groups, split) == [Gap("t0", "val", 1), Gap("t0", "test", 1)]


def test_a_class_is_never_held_out_of_training():
    carried = np.zeros((10, 3), dtype=np.int64)
    carried[:6, 0] = 1
    carried[:5, 1] = 1
    carried[5, 2] = 1
    for seed in range(10):
        split = divide(traits(carried, 1), np.arange(10), free(10), SHARES, seed)
        assert split[5] == 0


def test_rows_that_are_crossed_find_a_way():
    """Tasks whose labels hang together in groups: one greedy pass alone leaves a split without a mask."""
    carried = [
        [1, 1, 0],
        [1, 1, 0],
        [1, 1, 0],
        [0, 1, 1],
        [0, 0, 1],
        [0, 0, 1],
        [0, 0, 1],
        [0, 0, 0],
        [1, 0, 0],
        [0, 0, 0],
    ]
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    for seed in range(5):
        split = divide(traits(carried, 3), groups, free(10), SHARES, seed)
        assert gaps(traits(carried, 3), groups, split) == []


def test_a_test_set_that_is_there_already_gets_no_more():
    fixed = free(100)
    fixed[:30] = 2
    split = divide(traits(np.ones((100, 1), dtype=np.int64), 1), np.arange(100), fixed, SHARES, 0)
    assert (split[:30] == 2).all()
    assert np.bincount(split).tolist() == [58, 12, 30]


def test_new_rows_join_the_split_of_their_group():
    fixed, groups = free(20), np.arange(20) // 2
    fixed[0], fixed[2] = 1, 2
    split = divide(traits(np.ones((20, 1), dtype=np.int64), 1), groups, fixed, SHARES, 0)
    assert split[:4].tolist() == [1, 1, 2, 2]


def test_no_test_split_is_made_where_none_is_asked_for():
    carried = partial_labels()
    split = divide(traits(carried, 3), np.arange(100), free(100), (0.8, 0.2, 0.0), 0)
    assert set(split.tolist()) == {0, 1}
    assert gaps(traits(carried, 3), np.arange(100), split) == []


@st.composite
def tables(draw):
    n, k, seed = draw(st.integers(1, 60)), draw(st.integers(1, 6)), draw(st.integers(0, 9999))
    dice = np.random.default_rng(seed)
    carried = (dice.random((n, k)) < dice.random(k)).astype(np.int64)
    groups = dice.integers(0, draw(st.integers(1, 60)), n)
    fixed = np.full(n, FREE, dtype=np.int8)
    if draw(st.booleans()):
        chosen = dice.choice([FREE, FREE, 0, 1, 2], groups.max() + 1).astype(np.int8)
        fixed = np.where(dice.random(n) < 0.5, chosen[groups], FREE).astype(np.int8)
    tasks = draw(st.integers(0, k))
    return traits(carried, tasks), groups, fixed, draw(st.integers(0, 99))


@settings(max_examples=60)
@given(tables())
def test_properties_of_every_division(table):
    told, groups, fixed, seed = table
    split = divide(told, groups, fixed, SHARES, seed)
    assert split.dtype == np.int8
    assert set(split.tolist()) <= {0, 1, 2}
    for group in np.unique(groups):
        assert len(set(split[groups == group].tolist())) == 1
    assert (split == fixed)[fixed != FREE].all()
    assert (divide(told, groups, fixed, SHARES, seed) == split).all()
    movable = np.isin(groups, groups[fixed != FREE], invert=True)
    carried = told.carried.toarray() > 0
    for trait in range(carried.shape[1]):
        if carried[movable, trait].any():
            assert (split[carried[:, trait]] == 0).any()


@settings(max_examples=30)
@given(seed=st.integers(0, 999), labeled=st.integers(3, 30), n=st.integers(30, 60))
def test_one_task_with_three_labels_or_more_is_in_every_split(seed, labeled, n):
    carried = np.zeros((n, 1), dtype=np.int64)
    carried[np.random.default_rng(seed).choice(n, labeled, replace=False)] = 1
    split = divide(traits(carried, 1), np.arange(n), free(n), SHARES, seed)
    assert min(counts(split, carried, 0)) >= 1


def test_another_seed_divides_otherwise():
    told = traits(partial_labels(), 3)
    assert (
        divide(told, np.arange(100), free(100), SHARES, 0) != divide(told, np.arange(100), free(100), SHARES, 1)
    ).any()
