import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.report.curves import checkpoint_figures, coverage_figures, loss_figures, mask_figures, metric_figures
from ssmtl.report.drawing import Curve, series, thin
from ssmtl.report.records import Record, read_run


def record(step, **values):
    return Record("train", step, "", "", "", values)


def test_a_series_keeps_its_steps_and_counts_what_is_not_finite():
    records = [record(1, loss=2.0), record(2, other=0.0), record(3, loss=math.inf), record(4, loss=math.nan)]
    curve = series(records, "loss", "total")
    np.testing.assert_array_equal(curve.steps, [1, 3, 4])
    np.testing.assert_array_equal(curve.values, [2.0, math.nan, math.nan])
    assert curve.bad == 2


def test_thinning_averages_equal_stretches_and_leaves_gaps():
    curve = Curve("x", np.arange(6.0), np.array([1.0, 3.0, math.nan, math.nan, math.nan, 5.0]))
    thinned = thin(curve, points=3)
    np.testing.assert_array_equal(thinned.steps, [0.5, 2.5, 4.5])
    np.testing.assert_array_equal(thinned.values, [2.0, math.nan, 5.0])


@given(st.integers(1, 500), st.integers(1, 50))
def test_thinning_bounds_the_points_and_the_range(n, points):
    values = np.sin(np.arange(n, dtype=np.float64))
    thinned = thin(Curve("x", np.arange(n, dtype=np.float64), values), points)
    assert thinned.steps.size == min(n, points)
    assert values.min() - 1e-12 <= thinned.values.min()
    assert thinned.values.max() <= values.max() + 1e-12
    assert (np.diff(thinned.steps) > 0).all()


def test_losses_coverage_and_metrics_are_told_apart(make_run):
    run = read_run(make_run())
    losses = loss_figures(run.phase("train"))
    assert [figure.title for figure in losses] == ["Loss", "Loss terms of diagnosis", "Learning rate"]
    assert [entry.label for entry in losses[1].legend] == ["supervised", "consistency"]
    (coverage,) = coverage_figures(run.phase("train"))
    assert [entry.label for entry in coverage.legend] == ["coverage"]
    assert coverage.alt == "Pseudo-labels of diagnosis over the steps. Last values: coverage 1."
    metrics = metric_figures(run.phase("validation"))
    assert [(figure.title, [entry.label for entry in figure.legend]) for figure in metrics] == [
        ("Validation: diagnosis", ["AUC"]),
        ("Validation: lungs", ["Jaccard"]),
        ("Validation: lungs, other scales", ["hausdorff"]),
        ("Validation: all tasks together", ["geometric mean"]),
    ]


def test_numbers_of_pseudo_labels_are_no_losses():
    values = {"d/supervised": 1.0, "d/coverage": 0.5, "d/pseudo_boxes": 3.0}
    records = [record(step, **values) for step in (0, 1)]
    assert [entry.label for entry in loss_figures(records)[0].legend] == ["supervised"]
    found = [(figure.title, [entry.label for entry in figure.legend]) for figure in coverage_figures(records)]
    assert found == [("Pseudo-labels of d", ["coverage"]), ("Pseudo-labels of d, number", ["pseudo-boxes"])]


def test_student_and_teacher_get_lines_of_their_own():
    records = [Record("validation", 1, "v", "", weights, {"d/auc": 0.5}) for weights in ("student", "teacher")]
    (figure,) = metric_figures(records)
    assert [entry.label for entry in figure.legend] == ["AUC (v, student)", "AUC (v, teacher)"]
    assert len({(entry.color, entry.style) for entry in figure.legend}) == 2


def test_the_line_of_a_curve_goes_through_its_points():
    """The y axis of coverage is fixed to [-.02, 1.02], so heights in the drawing are proportional to the values."""
    records = [record(step, **{"d/coverage": value}) for step, value in ((0, 0.0), (1, 0.5), (2, 1.0))]
    (figure,) = coverage_figures(records)
    color = figure.legend[0].color
    path = next(part for part in figure.svg.split("<path d=")[1:] if f"fill: none; stroke: {color}" in part)
    points = [line.split()[-2:] for line in path.split('"')[1].strip().splitlines()]
    heights = [float(point[1]) for point in points]
    assert len(heights) == 3
    assert heights[0] > heights[1] > heights[2]
    assert heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=1e-3)


def test_what_is_not_finite_is_told_under_the_figure():
    (figure,) = loss_figures([record(1, loss=1.0), record(2, loss=math.nan)])
    assert figure.note == "total loss: 1 value(s) were not finite and are left out"
    (figure,) = loss_figures([record(1, loss=math.nan)])
    assert "Last values: total loss not finite" in figure.alt


def test_a_drawing_holds_no_names_and_takes_its_ink_from_the_page():
    name = "evil$<script>"
    (figure,) = loss_figures([record(1, **{f"{name}/supervised": 1.0})])
    assert figure.title == f"Loss terms of {name}"
    assert "evil" not in figure.svg
    assert "currentColor" in figure.svg
    assert "#010203" not in figure.svg
    assert figure.svg.startswith("<svg")
    assert "#ffffff" not in figure.svg
    assert 'type="text/css">svg *{' in figure.svg  # a style sheet inside the page holds for all of it


def test_ids_of_two_drawings_differ():
    figures = loss_figures([record(step, loss=1.0, lr=1.0) for step in range(3)])
    ids = [part.split('"')[0] for figure in figures for part in figure.svg.split(' id="')[1:]]
    assert len(ids) > 10
    assert len(ids) == len(set(ids))


def heights(svg, color):
    """Return the y coordinates of a line's vertices, a list per unbroken stretch."""
    path = next(part for part in svg.split("<path d=")[1:] if f"fill: none; stroke: {color}" in part)
    strokes = path.split('"')[1].strip().split("M ")[1:]
    return [[float(line.split()[-1]) for line in stroke.strip().splitlines()] for stroke in strokes]


def areas_of(svg):
    """Return the y coordinates of each filled area's outline."""
    found = []
    for part in svg.split("FillBetweenPolyCollection_")[1:]:
        outline = part.split('d="')[1].split('"')[0]
        found.append([float(line.split()[-1]) for line in outline.splitlines() if line[:1] in "ML"])
    return found


BINS = [f"d/confidence_to_{end}" for end in (20, 40, 60, 80, 90, 95, 99, 100)]


def test_a_gap_is_not_drawn_over_and_is_no_error():
    steps = [(0, 1.0), (1, 0.5), (2, None), (3, 0.5), (4, 0.0)]
    records = [record(s, **{"d/coverage": 0.5} | ({} if v is None else {"d/precision": v})) for s, v in steps]
    (figure,) = coverage_figures(records)
    assert figure.note == ""
    coverage, precision = figure.legend
    assert [len(stroke) for stroke in heights(figure.svg, coverage.color)] == [5]
    assert [len(stroke) for stroke in heights(figure.svg, precision.color)] == [2, 2]


def test_a_point_between_two_gaps_is_drawn_as_a_dot():
    def drawn(values):
        records = [record(s, **{"d/coverage": 0.5} | ({"d/precision": v} if v else {})) for s, v in enumerate(values)]
        return coverage_figures(records)[0].svg.count("<use ")

    nothing = [0.0] * 40
    assert drawn([*nothing, 0.5, *nothing]) == drawn([*nothing, 0.0, *nothing]) + 1
    assert drawn([*nothing, 0.5, 0.5, *nothing]) == drawn([*nothing, 0.0, 0.0, *nothing])


def test_a_histogram_is_stacked_from_the_least_sure_and_is_no_loss():
    shares = (0.0, 0.125, 0.125, 0.25, 0.25, 0.0, 0.125, 0.125)
    records = [record(s, **{"d/supervised": 1.0}, **dict(zip(BINS, shares, strict=True))) for s in range(3)]
    (figure,) = coverage_figures(records)
    assert figure.title == "Confidence of d"
    assert [entry.label for entry in figure.legend] == [
        "0 to 0.2", "0.2 to 0.4", "0.4 to 0.6", "0.6 to 0.8", "0.8 to 0.9", "0.9 to 0.95", "0.95 to 0.99", "0.99 to 1"
    ]  # fmt: skip
    assert len({entry.color for entry in figure.legend}) == 8
    assert figure.alt.startswith("Confidence of d over the steps. Last shares: 0 at 0 to 0.2; 0.125 at 0.2 to 0.4;")
    assert [entry.label for loss in loss_figures(records) for entry in loss.legend] == ["supervised"]
    # tops of the areas, from the bottom: 0, .125, .25, .5, .75, .75, .875, 1; y grows downward
    outlines = areas_of(figure.svg)
    assert len(outlines) == 8
    bottom, top = max(outlines[0]), min(outlines[-1])
    tops = [(bottom - min(outline)) / (bottom - top) for outline in outlines]
    assert tops == pytest.approx([0, 0.125, 0.25, 0.5, 0.75, 0.75, 0.875, 1], abs=1e-4)


def test_a_histogram_that_lacks_a_bin_is_a_gap():
    whole = dict.fromkeys(BINS, 0.125)
    records = [record(s, **whole) for s in range(5)]
    records[2] = record(2, **{name: value for name, value in whole.items() if name != BINS[0]})
    (figure,) = coverage_figures(records)
    gap = coverage_figures([*records[:2], record(2, **{"d/supervised": 1.0}), *records[3:]])[0]
    assert figure.svg == gap.svg
    assert figure.svg != coverage_figures([record(s, **whole) for s in range(5)])[0].svg


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8).filter(lambda shares: sum(shares) > 0.1))
def test_long_histograms_still_sum_to_one(shares):
    records = [record(s, **dict(zip(BINS, np.roll(shares, s) / sum(shares), strict=True))) for s in range(41)]
    thinned = [thin(series(records, name, name, gaps=True), 7).values for name in BINS]
    np.testing.assert_allclose(np.sum(thinned, axis=0), 1)


def test_what_a_mask_hides_has_a_figure_of_its_own():
    values = {"d/supervised": 1.0, "d/ood_masked": 0.5, "d/ood_hits": 0.75, "d/foreign": 0.25, "d/coverage": 1.0}
    records = [record(step, **values) for step in range(2)]
    (figure,) = mask_figures(records)
    assert figure.title == "What the mask hides of d"
    assert [entry.label.split(" (")[0] for entry in figure.legend] == [
        "masked, of the unlabeled rows", "foreign, of the masked rows", "foreign, of the unlabeled rows"
    ]  # fmt: skip
    assert [found.title for found in coverage_figures(records)] == ["Pseudo-labels of d"]
    assert [entry.label for loss in loss_figures(records) for entry in loss.legend] == ["supervised"]
    (unmasked,) = mask_figures([record(0, **{"d/foreign": 0.25})])
    assert unmasked.title == "Foreign rows of d"


def test_annealing_has_a_figure_of_its_own():
    values = {"d/supervised": 1.0, "d/tsa_kept": 0.5, "d/tsa_threshold": 0.25}
    records = [record(step, **values) for step in range(2)]
    (figure,) = mask_figures(records)
    assert figure.title == "Training signal of d"
    assert "Last values: labeled rows that still train 0.5; threshold of their probability 0.25." in figure.alt
    assert coverage_figures(records) == []
    assert [entry.label for loss in loss_figures(records) for entry in loss.legend] == ["supervised"]


def test_errors_in_percent_are_no_fractions_even_below_one():
    records = [Record("validation", 1, "v", "", "teacher", {"d/accuracy": 0.995, "d/error_pct": 0.5})]
    inside, outside = metric_figures(records)
    assert [entry.label for entry in inside.legend] == ["accuracy"]
    assert [entry.label for entry in outside.legend] == ["error %"]


def test_single_checkpoints_show_their_error_and_say_that_none_is_chosen():
    def tested(step, split, value):
        return Record("checkpoint_test", step, split, "single", "teacher", {"d/error_pct": value, "d/auc": 0.5})

    (figure,) = checkpoint_figures([tested(step, "test", 10.0 + step) for step in range(3)])
    assert [entry.label for entry in figure.legend] == ["d"]
    assert figure.alt == "Test error over the last checkpoints over the steps. Last values: d 12."
    assert "none is chosen by it" in figure.note
    (figure,) = checkpoint_figures([tested(0, "one", 1.0), tested(0, "two", 2.0)])
    assert [entry.label for entry in figure.legend] == ["d (one, teacher)", "d (two, teacher)"]
    assert checkpoint_figures([Record("checkpoint_test", 1, "test", "", "teacher", {"d/miou": 0.5})]) == []


def test_no_id_is_twice_on_a_page_with_every_figure():
    share = dict.fromkeys([*BINS, "d/coverage", "d/foreign", "d/tsa_kept", "d/supervised", "loss"], 0.125)
    train = [record(step, **share) for step in range(2)]
    tests = [Record("checkpoint_test", step, "t", "", "", {"d/error_pct": 1.0}) for step in range(2)]
    figures = [*loss_figures(train), *coverage_figures(train), *mask_figures(train)]
    figures += [*metric_figures(tests), *checkpoint_figures(tests)]
    ids = [part.split('"')[0] for figure in figures for part in figure.svg.split(' id="')[1:]]
    assert len(figures) == 8
    assert len(ids) == len(set(ids))
