"""Where labels and pseudo-boxes land in another view, by hand."""

import math

import pytest
import torch
from boxed import boxes_at

from ssmtl.views.geometry import Geometry, between
from ssmtl_tasks.detection import Detection

TASK = Detection("d", classes=("car", "person"))
SIZE = (64, 96)
SOURCE = torch.tensor([[64, 96]])


def view(matrix, size=SIZE, source=SOURCE):
    """Return the geometry of a rendered view of one source image of 64 x 96 pixels."""
    return Geometry(torch.tensor([matrix], dtype=torch.float64), size, source_size=source)


def shifted(x, y, size=SIZE):
    return view([[1, 0, x], [0, 1, y], [0, 0, 1]], size)


def moved(target, geometry, task=TASK):
    """Return the boxes that are left of the only row, by their places."""
    out = task.warp(target, geometry)
    assert (out.boxes[~out.present] == 0).all()
    places = out.present[0].nonzero()[:, 0].tolist()
    return {place: pytest.approx(out.boxes[0, place].tolist(), abs=1e-4) for place in places}


def test_a_flip_is_width_minus_x():
    flip = view([[-1, 0, 95], [0, 1, 0], [0, 0, 1]])
    assert moved(boxes_at([[(10, 20, 30, 40)]]), flip) == {0: [66, 20, 86, 40]}


def test_labels_crowds_and_weights_stay_with_their_boxes():
    target = boxes_at([[(0, 0, 9, 9), (10, 20, 30, 40)]], labels=[[0, 1]], crowd=[[False, True]], weight=[0.5])
    out = TASK.warp(target, shifted(-10, 0))
    assert out.present[0].tolist() == [False, True] + [False] * 6
    assert (out.labels[0, 1], out.crowd[0, 1], out.weight[0]) == (1, True, 0.5)
    assert out.boxes[0, 1].tolist() == [0, 20, 20, 40]


def test_boxes_are_cut_by_the_view_and_dropped_when_little_is_left():
    # shift by -50: 10 of 20 columns left; 1 of 10 (too thin); 2 of 40 columns (less than a tenth); none
    rows = [[(40, 0, 60, 10), (41, 0, 51, 9), (12, 0, 52, 10), (10, 0, 40, 10)]]
    assert moved(boxes_at(rows), shifted(-50, 0)) == {0: [0, 0, 10, 10]}
    everything = TASK.replace(min_size=0.5, min_visibility=0.0)
    assert set(moved(boxes_at(rows), shifted(-50, 0), everything)) == {0, 1, 2}


def test_a_turned_box_becomes_the_hull_of_its_corners():
    c, s = math.cos(math.radians(30)), math.sin(math.radians(30))
    x, y = 47.5, 31.5  # the center of the image in pixel centers
    turn = view([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])
    reach = 10 * (c + s)
    wanted = [48 - reach, 32 - reach, 48 + reach, 32 + reach]
    assert moved(boxes_at([[(38, 22, 58, 42)]]), turn) == {0: wanted}
    assert (2 * reach) ** 2 / 400 == pytest.approx(1.87, abs=0.01)
    tight = moved(boxes_at([[(38, 22, 58, 42)]]), turn, TASK.replace(hull="ellipse"))
    assert tight == {0: [38, 22, 58, 42]}  # of a square it is a circle, which looks the same turned


# The weak view starts at (20, 0) of the source and is 40 wide; the strong view is the whole image.
WEAK = shifted(-20, 0, (64, 40))
TO_STRONG = between(WEAK, shifted(0, 0))
CUT = [(0, 10, 12, 30), (20, 40, 39, 64), (10, 10, 30, 30), (30, 20, 38, 40)]


def test_pseudo_boxes_that_the_weak_view_cuts_are_dropped():
    # left: the image goes on. bottom: the image ends too. free. right: within 2 pixels, and the image goes on
    assert moved(boxes_at([CUT]), TO_STRONG) == {2: [30, 10, 50, 30]}
    at_bottom = [(15, 40, 30, 64), *CUT[2:3]]
    assert moved(boxes_at([at_bottom]), TO_STRONG) == {0: [35, 40, 50, 64], 1: [30, 10, 50, 30]}


def test_cut_pseudo_boxes_stay_as_the_paper_has_it():
    kept = moved(boxes_at([CUT]), TO_STRONG, TASK.replace(drop_cut=None))
    assert kept == {0: [20, 10, 32, 30], 1: [40, 40, 59, 64], 2: [30, 10, 50, 30], 3: [50, 20, 58, 40]}


def test_cut_pseudo_boxes_stay_where_nothing_moves():
    # in the same crop they end at the border again
    assert set(moved(boxes_at([CUT]), between(WEAK, WEAK))) == {0, 1, 2, 3}


def test_cut_pseudo_boxes_are_left_alone_where_background_is_taught():
    task = TASK.replace(positives_only=False)
    target = boxes_at([[*CUT, (12, 4, 20, 12)]], crowd=[[False, False, False, False, True]])
    out = task.warp(target, TO_STRONG)
    assert out.present[0, :5].tolist() == [True] * 5
    assert out.crowd[0, :5].tolist() == [True, True, False, True, True]
    assert not TASK.warp(target, TO_STRONG).crowd[0, :4].any()


def test_labels_of_people_know_no_border():
    assert set(moved(boxes_at([CUT]), shifted(20, 0))) == {0, 1, 2, 3}


def test_each_row_moves_by_its_own_map():
    matrix = torch.cat([shifted(20, 0).matrix, WEAK.matrix])
    rows = Geometry(WEAK.matrix.repeat(2, 1, 1), (64, 40), source_size=SOURCE.repeat(2, 1))
    into = Geometry(matrix, (64, 40), source_size=SOURCE.repeat(2, 1))
    out = TASK.warp(boxes_at([CUT, CUT]), between(rows, into))
    assert out.present[:, :4].tolist() == [[False] * 4, [True] * 4]


def test_no_rows():
    none = Geometry(torch.zeros(0, 3, 3, dtype=torch.float64), SIZE)
    assert TASK.warp(boxes_at([]), none).boxes.shape == (0, 8, 4)
