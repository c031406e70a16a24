import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.report.curves import Curve, coverage_figures, loss_figures, metric_figures, series, thin
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
