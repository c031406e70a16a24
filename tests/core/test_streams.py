"""Streams: permutations, epochs, groups, and one batch whatever the number of processes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ssmtl.errors import DataError, RecipeError
from ssmtl.streams import Coverage, Explicit, Group, Implicit, PerSource, PerTask, StepSampler, draw, permute

# Two sources: 6 films (4 diagnosed, 2 visible ... rows 0, 1) and 5 lung films (rows 6-10, masks visible on 6, 7, 8).
FILMS, LUNGS = np.arange(11) < 6, np.arange(11) >= 6
COVERAGE = Coverage(
    sources=("films", "lungs"),
    starts=(0, 6, 11),
    served={"diagnosis": FILMS, "lungs": LUNGS},
    visible={"diagnosis": np.isin(np.arange(11), [0, 1]), "lungs": np.isin(np.arange(11), [6, 7, 8])},
)


@given(st.integers(1, 5000), st.integers(0, 2**63))
def test_permute_is_a_permutation(n, seed):
    assert np.array_equal(np.sort(permute(np.arange(n), n, seed)), np.arange(n))


def test_permutations_of_three_are_all_equally_likely():
    counts = {}
    for seed in range(6000):
        order = tuple(permute(np.arange(3), 3, seed * 7919))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert max(counts.values()) < 1200
    assert min(counts.values()) > 800


@given(st.integers(1, 50), st.integers(1, 17), st.integers(0, 5))
def test_every_epoch_visits_each_place_once(n, per_step, seed):
    steps = -(-3 * n // per_step)
    places = np.concatenate([draw(n, per_step, step, seed) for step in range(steps)])[: 3 * n]
    for epoch in range(3):
        assert np.array_equal(np.sort(places[epoch * n : (epoch + 1) * n]), np.arange(n))


def test_epochs_are_shuffled_anew():
    assert not np.array_equal(draw(40, 40, 0, 1), draw(40, 40, 1, 1))


def test_a_step_far_away_needs_no_history():
    assert draw(10_000_000, 8, 10**9, 3).shape == (8,)


def test_per_source_separates_labeled_from_unlabeled():
    groups = {g.name: g for g in PerSource(labeled=2, unlabeled=3).groups(COVERAGE)}
    assert {name: g.pool.tolist() for name, g in groups.items()} == {
        "films labeled": [0, 1],
        "films unlabeled": [2, 3, 4, 5],
        "lungs labeled": [6, 7, 8],
        "lungs unlabeled": [9, 10],
    }
    assert [g.use_labels for g in groups.values()] == [True, False, True, False]


def test_unlabeled_rows_of_some_sources_only():
    names = [g.name for g in PerSource(unlabeled_from=("films",)).groups(COVERAGE)]
    assert names == ["films labeled", "films unlabeled", "lungs labeled"]


def test_an_unknown_source_of_unlabeled_rows_is_refused():
    with pytest.raises(RecipeError, match="did you mean 'films'"):
        PerSource(unlabeled_from=("filmz",)).groups(COVERAGE)


def test_a_fully_labeled_source_lends_its_images_with_labels_hidden():
    full = Coverage(COVERAGE.sources, COVERAGE.starts, COVERAGE.served, COVERAGE.served)
    group = {g.name: g for g in PerSource().groups(full)}["films unlabeled"]
    assert group.pool.tolist() == [0, 1, 2, 3, 4, 5]
    assert not group.use_labels


def test_explicit_pools_follow_labeled_if():
    labeled, unlabeled = Explicit(labeled_if="lungs").groups(COVERAGE)
    assert labeled.pool.tolist() == [6, 7, 8]
    assert len(unlabeled.pool) == 8
    assert Explicit(labeled_if="all").groups(COVERAGE)[0].pool.tolist() == [0, 1, 6, 7, 8]
    with pytest.raises(RecipeError, match="did you mean 'lungs'"):
        Explicit(labeled_if="lung").groups(COVERAGE)


PARTIAL = Coverage(  # 8 street images: boxes on rows 0-5, masks on rows 0 and 1, nothing on 6 and 7
    sources=("street", "extra"),
    starts=(0, 7, 8),
    served={"boxes": np.arange(8) < 7, "masks": np.arange(8) < 7},
    visible={"boxes": np.arange(8) < 6, "masks": np.arange(8) < 2},
)


@pytest.mark.parametrize(
    ("labeled_if", "labeled", "rest"),
    [
        ("any", [0, 1, 2, 3, 4, 5], [6, 7]),
        ("masks", [0, 1], [2, 3, 4, 5, 6, 7]),  # setting (a): the rest may carry boxes
        ("all", [0, 1], [2, 3, 4, 5, 6, 7]),  # row 7 serves no task, which is no label
    ],
)
def test_explicit_pools_of_partially_labeled_sets(labeled_if, labeled, rest):
    one, other = Explicit(labeled_if=labeled_if).groups(PARTIAL)
    assert (one.pool.tolist(), other.pool.tolist()) == (labeled, rest)
    assert one.use_labels
    assert other.use_labels


def test_unlabeled_rows_may_be_told_not_to_train():
    assert not Explicit(labeled_if="masks", use_labels=False).groups(PARTIAL)[1].use_labels


@pytest.mark.parametrize(("labeled_if", "pool"), [("any", range(6)), ("boxes", range(6)), ("masks", range(2))])
def test_explicit_without_unlabeled_rows_is_uniform_over_labeled_ones(labeled_if, pool):
    sampler = StepSampler(Explicit(labeled=4, unlabeled=0, labeled_if=labeled_if).groups(PARTIAL), 0, 0, 30)
    drawn = np.bincount([ref.row for refs in sampler for ref in refs], minlength=8)
    assert np.flatnonzero(drawn).tolist() == list(pool)
    assert np.ptp(drawn[list(pool)]) == 0  # 120 rows are whole epochs
    assert all(ref.use_labels for refs in sampler for ref in refs)


def test_explicit_with_nothing_unlabeled_names_the_uniform_stream():
    full = Coverage(PARTIAL.sources, PARTIAL.starts, PARTIAL.served, dict.fromkeys(PARTIAL.visible, np.ones(8, bool)))
    with pytest.raises(DataError, match=r"every image is labeled \(labeled_if='any'\).*labeled=12, unlabeled=0"):
        Explicit(labeled=4, unlabeled=8).groups(full)
    (group,) = Explicit(labeled=12, unlabeled=0).groups(full)
    assert len(group.pool) == 8


def test_every_task_gets_labeled_rows_however_few_it_has():
    boxes, masks, rest = PerTask(labeled=3, unlabeled=5).groups(PARTIAL)
    assert (boxes.name, boxes.pool.tolist(), boxes.per_step) == ("boxes labeled", [0, 1, 2, 3, 4, 5], 3)
    assert (masks.name, masks.pool.tolist(), masks.per_step) == ("masks labeled", [0, 1], 3)
    assert (rest.name, rest.pool.tolist(), rest.per_step) == ("unlabeled", [2, 3, 4, 5, 6, 7], 5)
    assert all(group.use_labels for group in (boxes, masks, rest))
    assert [group.name for group in PerTask(unlabeled=0).groups(PARTIAL)] == ["boxes labeled", "masks labeled"]
    assert [group.name for group in PerTask(labeled=0).groups(PARTIAL)] == ["unlabeled"]


def test_a_stream_per_task_goes_without_unlabeled_rows_where_every_row_is_labeled():
    full = Coverage(PARTIAL.sources, PARTIAL.starts, PARTIAL.served, PARTIAL.served)
    # row 7 serves no task: it is unlabeled all the same
    assert PerTask().groups(full)[-1].pool.tolist() == [7]
    every = dict.fromkeys(PARTIAL.visible, np.ones(8, bool))
    names = [group.name for group in PerTask().groups(Coverage(PARTIAL.sources, PARTIAL.starts, every, every))]
    assert names == ["boxes labeled", "masks labeled"]


def test_a_task_without_any_label_is_refused():
    lacking = PARTIAL.visible | {"masks": np.zeros(8, bool)}
    with pytest.raises(DataError, match="'masks labeled' has nothing to draw from"):
        PerTask().groups(Coverage(PARTIAL.sources, PARTIAL.starts, PARTIAL.served, lacking))


def test_labeled_images_may_be_unlabeled_ones_too():
    """FixMatch's program draws its unlabeled rows from all images, MixMatch's from the others."""
    rest = Explicit(labeled=4, unlabeled=8, use_labels=False).groups(PARTIAL)[1]
    labeled, everything = Explicit(unlabeled_includes_labeled=True, use_labels=False).groups(PARTIAL)
    assert (rest.pool.tolist(), labeled.pool.tolist()) == ([6, 7], [0, 1, 2, 3, 4, 5])
    assert everything.pool.tolist() == list(range(8))
    assert not everything.use_labels
    full = Coverage(PARTIAL.sources, PARTIAL.starts, PARTIAL.served, dict.fromkeys(PARTIAL.visible, np.ones(8, bool)))
    both = Explicit(unlabeled_includes_labeled=True, use_labels=False).groups(full)
    assert [group.pool.tolist() for group in both] == [list(range(8))] * 2


def test_labeled_images_as_unlabeled_ones_must_not_show_their_labels():
    with pytest.raises(ValidationError, match="would show labels in the unlabeled rows too; set use_labels=False"):
        Explicit(unlabeled_includes_labeled=True)


@pytest.mark.parametrize("streams", [Explicit, PerSource, PerTask])
def test_streams_that_draw_nothing_are_refused(streams):
    with pytest.raises(ValidationError, match="both 0"):
        streams(labeled=0, unlabeled=0)


def test_implicit_draws_from_everything():
    (group,) = Implicit(batch=4).groups(COVERAGE)
    assert len(group.pool) == 11


def test_an_empty_pool_is_refused():
    nothing = {"diagnosis": FILMS & False, "lungs": COVERAGE.visible["lungs"]}
    coverage = Coverage(COVERAGE.sources, COVERAGE.starts, COVERAGE.served, nothing)
    with pytest.raises(DataError, match="'films labeled' has nothing to draw from"):
        PerSource().groups(coverage)


GROUPS = (Group("a", np.arange(7), 4, True), Group("b", np.arange(100, 111), 6, False))


@pytest.mark.parametrize("world", [1, 2])
def test_processes_together_hold_the_global_batch(world):
    whole = StepSampler(GROUPS, seed=5, start=0, stop=20)
    parts = [StepSampler(GROUPS, 5, 0, 20, rank, world) for rank in range(world)]
    for step in range(20):
        refs = sorted((ref for part in parts for ref in part.batch(step)), key=lambda ref: ref.position)
        assert refs == whole.batch(step)
        assert [ref.position for ref in refs] == list(range(10))


def test_resuming_continues_the_sequence():
    whole = list(StepSampler(GROUPS, 1, 0, 40))
    assert list(StepSampler(GROUPS, 1, 17, 40)) == whole[17:]
    assert len(StepSampler(GROUPS, 1, 17, 40)) == 23


def test_an_uneven_split_is_refused():
    with pytest.raises(RecipeError, match="'a' draws 4 rows a step, which can't be split evenly over 3"):
        StepSampler(GROUPS, 0, 0, 1, 0, 3)
