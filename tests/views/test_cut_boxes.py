"""Boxes that the border of a view cuts off, told from those that end where the image does."""

import pytest
import torch

from ssmtl.views.boxes import cut_by_view, move_boxes
from ssmtl.views.geometry import Geometry, between


def geometry(matrix, size, **fields):
    return Geometry(torch.tensor([matrix], dtype=torch.float64), size, **fields)


def crop(x, y, size, source):
    """The view of `size` whose top left pixel is (x, y) of a source whose image is of the size `source`."""
    return geometry(((1, 0, -x), (0, 1, -y), (0, 0, 1)), size, source_size=torch.tensor([source]))


def cut(boxes, via, margin=2.0):
    given_boxes = torch.tensor([boxes], dtype=torch.float32)
    return cut_by_view(given_boxes, torch.ones(given_boxes.shape[:2], dtype=torch.bool), via, margin)[0].tolist()


LEFT, TOP, RIGHT, BOTTOM = [0, 10, 8, 20], [10, 0, 20, 8], [22, 10, 30, 20], [10, 22, 20, 30]
MIDDLE = [10, 10, 20, 20]


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (10, 5, [True, True, True, True]),
        (0, 5, [False, True, True, True]),
        (30, 5, [True, True, False, True]),
        (10, 0, [True, False, True, True]),
        (10, 10, [True, True, True, False]),
        (1, 1, [True, True, True, True]),
    ],
    ids=["inside", "left", "right", "top", "bottom", "one pixel inside"],
)
def test_a_crop_cuts_where_the_image_goes_on_and_not_at_the_images_border(x, y, expected):
    via = crop(x, y, (30, 30), (40, 60))
    assert cut([LEFT, TOP, RIGHT, BOTTOM, MIDDLE], via) == [*expected, False]


def test_a_cut_pseudo_box_does_not_reach_the_strong_view_and_one_that_the_image_ends_does():
    """The weak crop starts at x = 0, y = 5 of a 40 x 60 image; the strong view is the whole image, flipped."""
    weak, strong = crop(0, 5, (30, 30), (40, 60)), geometry(((-1, 0, 59), (0, 1, 0), (0, 0, 1)), (40, 60))
    boxes, present = torch.tensor([[LEFT, TOP, RIGHT, MIDDLE]]).float(), torch.ones(1, 4, dtype=torch.bool)
    moved, kept = move_boxes(boxes, present, between(weak, strong), drop_cut=2.0)
    assert kept.tolist() == [[True, False, False, True]]
    assert moved.tolist() == [[[52, 15, 60, 25], [0] * 4, [0] * 4, [40, 15, 50, 25]]]
    assert move_boxes(boxes, present, between(weak, strong))[1].all()


def test_the_side_must_be_within_the_margin():
    via = crop(10, 5, (30, 30), (40, 60))
    near = [[2, 10, 9, 20], [2.25, 10, 9, 20], [20, 10, 28, 20], [20, 10, 27.75, 20], [-3, 10, 9, 20]]
    assert cut(near, via) == [True, False, True, False, True]
    assert cut(near, via, margin=0.0) == [False, False, False, False, True]


def test_less_than_half_a_pixel_of_image_behind_the_border_is_its_end():
    assert cut([LEFT], crop(0.4, 5, (30, 30), (40, 60))) == [False]
    assert cut([LEFT], crop(0.6, 5, (30, 30), (40, 60))) == [True]
    assert cut([RIGHT], crop(29.6, 5, (30, 30), (40, 60))) == [False]
    assert cut([RIGHT], crop(29.4, 5, (30, 30), (40, 60))) == [True]


def test_padding_around_an_image_cuts_nothing():
    """The canvas is 40 x 60; the image is 20 x 60 of it, so that rows 15 and up of this view are padding."""
    via = crop(10, 5, (30, 30), (20, 60))
    assert cut([[0, 2, 8, 12], [0, 18, 8, 28], BOTTOM, TOP], via) == [True, False, False, True]


def test_the_visible_part_of_a_side_is_asked():
    """The image is rows 0 to 19: the middle of all of the left side is above it, that of the visible part is inside."""
    assert cut([[0, -60, 8, 28]], crop(10, 0, (30, 30), (20, 60))) == [True]


def test_a_view_that_is_not_square_has_its_right_and_its_lower_border():
    via = crop(5, 5, (20, 40), (60, 60))
    near = [[30, 8, 38, 12], [30, 8, 37, 12], [12, 8, 18, 12], [10, 10, 20, 18], [10, 10, 20, 17]]
    assert cut(near, via) == [True, False, False, True, False]


def test_what_the_camera_would_see_behind_itself_is_no_image():
    """The pixel beside the left border would be source pixel (0, 0), with a third coordinate of -1."""
    via = geometry(((1, 0, 1), (0, 1, -14.5), (0.1, 0, -1)), (30, 30), source_size=torch.tensor([[40, 60]]))
    assert cut([LEFT], via) == [False]


def test_a_flipped_crop_cuts_at_the_side_where_the_image_goes_on():
    weak = crop(0, 5, (30, 30), (40, 60))
    flipped = torch.tensor([[-1, 0, 29], [0, 1, 0], [0, 0, 1]], dtype=torch.float64) @ weak.matrix
    assert cut([LEFT, RIGHT], weak) == [False, True]
    assert cut([LEFT, RIGHT], Geometry(flipped, (30, 30), source_size=weak.source_size)) == [True, False]


def test_every_row_has_its_own_image_and_map():
    via = Geometry(
        torch.cat([crop(x, 5, (30, 30), (40, 60)).matrix for x in (0, 10, 10)]),
        (30, 30),
        source_size=torch.tensor([[40, 60], [40, 60], [40, 40]]),
    )
    boxes = torch.tensor([[LEFT, RIGHT, MIDDLE]]).float().repeat(3, 1, 1)
    present = torch.ones(3, 3, dtype=torch.bool)
    present[1, 0] = False
    cuts = [[False, True, False], [False, True, False], [True, False, False]]
    assert cut_by_view(boxes, present, via, 2.0).tolist() == cuts
    flipped = Geometry(torch.tensor([[-1, 0, 29], [0, 1, 0], [0, 0, 1]], dtype=torch.float64) @ via.matrix, (30, 30))
    _, kept = move_boxes(boxes, present, between(via, flipped), drop_cut=2.0)
    assert torch.equal(kept, present & ~torch.tensor(cuts))


def test_boxes_stay_where_both_views_are_cut_alike():
    """In FixMatch* they end at the same border in both views, and would be lost for nothing."""
    via = crop(10, 5, (30, 30), (40, 60))
    boxes, present = torch.tensor([[LEFT, RIGHT, MIDDLE]]).float(), torch.ones(1, 3, dtype=torch.bool)
    assert cut_by_view(boxes, present, via, 2.0).any()
    moved, kept = move_boxes(boxes, present, between(via, via), drop_cut=2.0)
    assert kept.all()
    assert torch.equal(moved, boxes)
