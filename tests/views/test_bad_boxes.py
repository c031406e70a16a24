"""Boxes, options and files that are refused, each by the sentence that says what to do."""

import numpy as np
import pytest
import torch
from unchecked import unchecked

from ssmtl.errors import DataError
from ssmtl.views.boxes import check_boxes, cut_by_view, move_boxes
from ssmtl.views.geometry import Geometry, between

WHERE = "train.json: image 12"
VIEW = Geometry(torch.eye(3, dtype=torch.float64).repeat(2, 1, 1), (20, 30))
BOXES, PRESENT = torch.tensor([[[1.0, 2, 9, 8]]]).repeat(2, 3, 1), torch.ones(2, 3, dtype=torch.bool)


def test_good_boxes_are_accepted():
    boxes = [[0, 0, 30, 20], [-5.5, -3, 1, 1], [29.5, 19.5, 40, 40]]
    check_boxes(np.array(boxes, dtype=np.float32), WHERE, (20, 30))
    check_boxes(np.array([[100, 100, 101, 101]], dtype=np.int64), WHERE)
    check_boxes(np.zeros((0, 4)), WHERE, (20, 30))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused(value):
    with pytest.raises(DataError) as refusal:
        check_boxes(np.array([[1, 2, 3, 4], [1, 2, value, 4]]), WHERE)
    assert str(refusal.value) == (
        f"{WHERE}: box 1 of 2 is [1.0, 2.0, {value}, 4.0], expected finite numbers: correct the file, or leave the box "
        "out."
    )


@pytest.mark.parametrize("box", [[5, 2, 5, 9], [5, 2, 4, 9], [1, 9, 5, 9], [1, 9, 5, 3]])
def test_a_box_without_pixels_is_refused(box):
    with pytest.raises(DataError) as refusal:
        check_boxes(np.array([[0, 0, 2, 2], [0, 0, 2, 2], box, box]), WHERE)
    assert str(refusal.value) == (
        f"{WHERE}: box 2 of 4 is {box}, expected x1 < x2 and y1 < y2: turn x, y, width, height into corners, add 1 to "
        "x2 and y2 where they name the last pixel that belongs to the box, or leave the box out."
    )


@pytest.mark.parametrize("box", [[30, 5, 40, 9], [-9, 5, 0, 9], [5, 20, 9, 30], [5, -9, 9, 0]])
def test_a_box_outside_of_its_image_is_refused_where_the_size_is_known(box):
    check_boxes(np.array([box]), WHERE)
    with pytest.raises(DataError) as refusal:
        check_boxes(np.array([box]), WHERE, (20, 30))
    assert str(refusal.value) == (
        f"{WHERE}: box 0 of 1 is {box}, expected boxes that touch their image of 20 x 30 (height x width) pixels: give "
        "them in pixels of that image, x before y, or leave the box out."
    )


@pytest.mark.parametrize(
    ("boxes", "what"),
    [
        (np.zeros(4), r"float64 of shape \(4,\)"),
        (np.zeros(0), r"float64 of shape \(0,\)"),
        (np.zeros((2, 5)), r"float64 of shape \(2, 5\)"),
        (np.full((1, 4), "1"), r"<U1 of shape \(1, 4\)"),
        (np.full((1, 4), None), r"object of shape \(1, 4\)"),
    ],
)
def test_an_array_that_holds_no_boxes_is_refused(boxes, what):
    with pytest.raises(DataError, match=rf"{WHERE}: boxes are {what}, expected numbers of shape \(n, 4\): give x1"):
        check_boxes(boxes, WHERE)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hull": "elipse"}, r"no box hull is named 'elipse'; did you mean 'ellipse'\?"),
        ({"min_size": 0.0}, r"min_size=0.0 would keep boxes without pixels: give pixels above 0"),
        ({"min_size": float("nan")}, r"min_size=nan would keep"),
        ({"min_visibility": 1.5}, r"min_visibility=1.5 is no part of a box: give a number from 0 to 1"),
        ({"min_visibility": -0.1}, r"min_visibility=-0.1 is no part"),
        ({"drop_cut": 2.0}, r"this geometry knows none: move them by between\(that view's geometry, the other's\)"),
    ],
)
def test_options_out_of_range_are_refused(options, sentence):
    with unchecked(), pytest.raises(ValueError, match=sentence):
        move_boxes(BOXES, PRESENT, VIEW, **options)


def test_cut_boxes_need_to_know_where_the_image_ends():
    with pytest.raises(ValueError, match=r"geometry has no source_size: give it the \(height, width\) of each source"):
        move_boxes(BOXES, PRESENT, between(VIEW, VIEW), drop_cut=2.0)


@pytest.mark.parametrize("margin", [-1.0, float("nan")])
def test_a_margin_below_zero_is_refused(margin):
    with pytest.raises(ValueError, match=f"can't lie within {margin} pixels of a view's border: give a margin of 0"):
        cut_by_view(BOXES, PRESENT, VIEW, margin)


@pytest.mark.parametrize(
    ("boxes", "present", "sentence"),
    [
        (BOXES[0], PRESENT[0], r"boxes of shape \(3, 4\) and torch.float32 can't move: give floating point numbers"),
        (BOXES[..., :3], PRESENT, r"boxes of shape \(2, 3, 3\) and torch.float32 can't move"),
        (BOXES.long(), PRESENT, r"boxes of shape \(2, 3, 4\) and torch.int64 can't move"),
        (BOXES, PRESENT[:, :2], r"`present` of shape \(2, 2\) and torch.bool doesn't fit boxes of shape \(2, 3, 4\)"),
        (BOXES, PRESENT.float(), r"`present` of shape \(2, 3\) and torch.float32 doesn't fit .* bool \[2, 3\]"),
        (BOXES[:1], PRESENT[:1], r"got 1 rows to move by a geometry of 2: select the same rows of both"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(boxes, present, sentence):
    with unchecked():
        with pytest.raises(ValueError, match=sentence):
            move_boxes(boxes, present, VIEW)
        with pytest.raises(ValueError, match=sentence):
            cut_by_view(boxes, present, Geometry(VIEW.matrix, VIEW.size, source_size=torch.full((2, 2), 20)), 2.0)
