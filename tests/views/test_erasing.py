"""Cutout: which rectangles, what is in them, and what happens to targets below."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from warping import images_of, numbers_of

from ssmtl.views.boxes import move_boxes
from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import ScaleCrop
from ssmtl.views.geometry import Geometry, between
from ssmtl.views.moving import move_labels, move_points, move_soft, move_weights
from ssmtl.views.policy import Cut, Draw, Policy
from ssmtl.views.render import render

FIXMATCH = Cutout((0.25, 0.25), inside=False, fill=127 / 255)


def drawn(op, rows, size, seed=0):
    """Drawn (left, top, width, height), and the rectangles that they blank."""
    values = op.draw(numbers_of(op, rows, seed), size, np.tile(np.array([size]), (rows, 1)))
    return values, op.rectangles(values, size)


def seen(op, images, seed=0):
    """Render a view with nothing but the cutout."""
    draw = Policy(always=(op,)).sample(seed, np.arange(len(images)), tuple(images.shape[-2:]))
    return render(images, draw), draw


def cut(rectangles, op, images):
    """Render images of which each has one given rectangle blanked."""
    n, size = len(images), tuple(images.shape[-2:])
    eye = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
    return render(images, Draw(Geometry(eye, size), size, cuts=(Cut(op, torch.arange(n), torch.tensor(rectangles)),)))


def inside_of(rectangles, size):
    """The pixels of rectangles, one loop per row."""
    mask = torch.zeros(len(rectangles), *size, dtype=torch.bool)
    for row, (left, top, right, bottom) in enumerate(rectangles.tolist()):
        mask[row, top:bottom, left:right] = True
    return mask


def test_fixmatch_squares_lie_around_any_pixel():
    """16 of 32 pixels, kept whole or clipped at the border, in corners too."""
    values, rectangles = drawn(FIXMATCH, 6000, (32, 32))
    assert np.unique(values[:, 2:]).tolist() == [16]
    assert np.unique(values[:, 0]).tolist() == np.unique(values[:, 1]).tolist() == list(range(-8, 24))
    assert np.bincount(values[:, 0].astype(int) + 8).min() > 130
    clipped = np.stack([np.clip(values[:, i % 2] + (16 if i > 1 else 0), 0, 32) for i in range(4)], 1)
    assert np.array_equal(rectangles, clipped)
    sides = rectangles[:, 2:] - rectangles[:, :2]
    assert (sides.min(), sides.max()) == (8, 16)
    assert sides.mean() == pytest.approx((8 + 2 * sum(range(9, 16)) + 17 * 16) / 32, abs=0.1)


@pytest.mark.parametrize("size", [(200, 200), (150, 237)])
def test_areas_are_uniform_and_rectangles_inside(size):
    values, rectangles = drawn(Cutout((0.1, 0.3)), 4000, size)
    assert np.array_equal(rectangles[:, :2], values[:, :2])
    assert np.array_equal(rectangles[:, 2:] - rectangles[:, :2], values[:, 2:])
    assert rectangles.min() >= 0
    assert (rectangles[:, 2:] <= size[::-1]).all()
    assert np.array_equal(values[:, 2], values[:, 3])
    share = values[:, 2:].prod(1) / math.prod(size)
    rounding = (math.sqrt(0.3) + 0.01) / math.sqrt(math.prod(size))  # half a pixel on both sides
    assert 0.1 - rounding <= share.min() < 0.11
    assert 0.29 < share.max() <= 0.3 + rounding
    assert np.bincount(np.clip((share - 0.1) / 0.02, 0, 9).astype(int)).min() > 300


def test_ratios_are_log_uniform():
    values, _ = drawn(Cutout((0.1, 0.1), ratio=(0.25, 4)), 5000, (1000, 1000))
    logs = np.log2(values[:, 2] / values[:, 3])
    assert np.abs(logs).max() < 2.01
    assert np.bincount(np.clip((logs + 2) / 0.4, 0, 9).astype(int)).min() > 420
    assert np.abs(values[:, 2:].prod(1) / 1e6 - 0.1).max() < 1e-3


def test_rectangles_reach_every_place():
    values, _ = drawn(Cutout((0.25, 0.25)), 3000, (8, 8))
    assert {tuple(corner) for corner in values[:, :2].tolist()} == {(x, y) for x in range(5) for y in range(5)}


def test_rectangles_are_never_larger_than_the_view_and_never_empty():
    values, rectangles = drawn(Cutout((1, 1), ratio=(9, 9)), 20, (30, 40))
    assert np.array_equal(rectangles[:, [0, 2]], [[0, 40]] * 20)
    assert np.unique(values[:, 3]).tolist() == [12]  # round(sqrt(1200) / 3)
    for size in [(1, 1), (1, 9), (2, 3)]:
        for op in (Cutout((0.01, 0.01)), FIXMATCH):
            _, rectangles = drawn(op, 50, size)
            assert ((rectangles[:, 2:] - rectangles[:, :2]).min(1) >= 1).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("rows", [0, 1, 32, 33, 40])
def test_a_rectangle_holds_the_fill_and_nothing_else_changes(rows, dtype, channels):
    images = images_of(rows, channels, (19, 26))
    images = images if dtype == torch.uint8 else images / 255
    before = images.clone()
    view, draw = seen(FIXMATCH, images)
    blank = inside_of(draw.cuts[0].rectangles, (19, 26))
    levels = images / 255 if dtype == torch.uint8 else images
    expected = torch.where(blank[:, None], torch.tensor(127 / 255), levels)
    assert torch.equal(view.image, expected)
    assert torch.equal(view.valid, ~blank)
    assert torch.equal(view.geometry.erased, blank)
    assert torch.equal(images, before)


@pytest.mark.parametrize("on_target", ["ignore", "keep"])
def test_many_rows_and_few_agree(on_target):
    """More than 32 rows are blanked all at once, fewer one by one."""
    images = images_of(40, 3, (21, 16))
    op = Cutout((0.1, 0.5), ratio=(0.5, 2), inside=False, on_target=on_target, p=0.9)
    many, draw = seen(op, images)
    assert 32 < len(draw.cuts[0].rows) < 40
    policy = Policy(always=(op,))
    few = [render(images[rows], policy.sample(0, rows, (21, 16))) for rows in np.split(np.arange(40), 4)]
    assert torch.equal(many.image, torch.cat([view.image for view in few]))
    assert torch.equal(many.valid, torch.cat([view.valid for view in few]))
    if on_target == "ignore":
        assert torch.equal(many.geometry.erased, torch.cat([view.geometry.erased for view in few]))


def test_half_of_the_images_are_cut():
    images = images_of(400, 1, (8, 8))
    view, draw = seen(Cutout((0.25, 0.25), p=0.5), images)
    cut_rows = (~view.valid).flatten(1).any(1)
    assert torch.equal(torch.nonzero(cut_rows)[:, 0], draw.cuts[0].rows)
    assert torch.equal(view.image[~cut_rows], images[~cut_rows] / 255)
    assert cut_rows.double().mean().item() == pytest.approx(0.5, abs=0.08)


def test_several_cutouts_add_up_and_the_later_lies_on_top():
    images = torch.full((1, 1, 6, 6), 255, dtype=torch.uint8)
    eye = torch.eye(3, dtype=torch.float64)[None]
    cuts = (
        Cut(Cutout(fill=0.25), torch.tensor([0]), torch.tensor([[0, 0, 3, 3]])),
        Cut(Cutout(fill=0.75, on_target="keep"), torch.tensor([0]), torch.tensor([[2, 2, 5, 6]])),
    )
    view = render(images, Draw(Geometry(eye, (6, 6)), (6, 6), cuts=cuts))
    assert view.image[0, 0, 2].tolist() == [0.25, 0.25, 0.75, 0.75, 0.75, 1]
    assert view.image[0, 0, 5].tolist() == [1, 1, 0.75, 0.75, 0.75, 1]
    assert view.valid[0].tolist() == [[False] * 3 + [True] * 3] * 3 + [[True] * 6] * 3


RECTANGLE = [[4, 2, 9, 7]]
HIDDEN = np.zeros((10, 12), dtype=bool)
HIDDEN[2:7, 4:9] = True


def test_what_is_erased_is_ignored_by_every_target_but_boxes():
    images, hidden = images_of(1, 1, (10, 12)), torch.from_numpy(HIDDEN)[None]
    geometry = replace(cut(RECTANGLE, Cutout(), images).geometry, valid=None)  # targets of the source, not of the view
    labels = torch.arange(120).view(1, 10, 12)
    assert torch.equal(move_labels(labels, geometry), labels.masked_fill(hidden, 255))
    assert torch.equal(move_labels(labels, geometry, fill=7), labels.masked_fill(hidden, 7))
    assert torch.equal(move_weights(torch.ones(1, 10, 12), geometry), (~hidden).float())
    soft, there = move_soft(torch.rand(1, 3, 10, 12), geometry)
    assert soft.shape == (1, 3, 10, 12)
    assert torch.equal(there, ~hidden)
    points = torch.tensor([[[3.4, 4], [3.6, 4], [8.4, 6.4], [8.6, 4], [5, 1.4], [5, 6.6], [0, 0]]])
    moved, visible = move_points(points, geometry)
    assert torch.equal(moved, points)
    assert visible.tolist() == [[True, False, False, True, True, True, True]]
    boxes = torch.tensor([[[4.0, 2, 9, 7], [0, 0, 12, 10]]])
    moved_boxes, kept = move_boxes(boxes, torch.ones(1, 2, dtype=torch.bool), geometry)
    assert kept.all()
    assert torch.equal(moved_boxes, boxes)


def test_kept_targets_stay():
    images = images_of(1, 3, (10, 12))
    view = cut(RECTANGLE, Cutout(on_target="keep", fill=0), images)
    assert torch.equal(view.image == 0, torch.from_numpy(HIDDEN).expand(1, 3, -1, -1))
    assert view.geometry.erased is None
    assert view.valid.all()
    labels = torch.arange(120).view(1, 10, 12)
    assert torch.equal(move_labels(labels, view.geometry), labels)


def test_a_cutout_of_the_view_that_targets_leave_hides_them_too():
    """What the weak view blanked was never seen, so it isn't a target in the strong view either."""
    images, hidden = images_of(1, 1, (10, 12)), torch.from_numpy(HIDDEN)[None]
    weak = cut(RECTANGLE, Cutout(), images)
    strong = cut([[0, 0, 2, 10]], Cutout(), images)
    labels = move_labels(torch.zeros(1, 10, 12, dtype=torch.long), between(weak.geometry, strong.geometry))
    hidden = hidden.clone()
    hidden[..., :2] = True
    assert torch.equal(labels == 255, hidden)


def test_shares_are_of_the_view_not_of_the_source():
    policy = Policy(always=(ScaleCrop((16, 16)), FIXMATCH))
    draw = policy.sample(0, np.arange(200), (64, 80))
    rectangles = draw.cuts[0].rectangles
    assert (rectangles[:, 2:] - rectangles[:, :2]).max() == 8
    assert rectangles.max() == 16
    assert rectangles.min() == 0


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    rows=st.sampled_from([1, 5, 40]),
    inside=st.booleans(),
    ends=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    ratios=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(sorted),
)
def test_any_cutout_is_a_rectangle_of_its_size_around_a_pixel_of_the_view(
    seed, height, width, rows, inside, ends, ratios
):
    op = Cutout(tuple(ends), ratio=tuple(ratios), inside=inside, fill=0)
    values, rectangles = drawn(op, rows, (height, width), seed)
    sides = rectangles[:, 2:] - rectangles[:, :2]
    assert rectangles.min() >= 0
    assert (rectangles[:, 2:] <= (width, height)).all()
    assert (sides >= 1).all()
    assert (sides <= values[:, 2:]).all()
    assert not inside or np.array_equal(sides, values[:, 2:])
    middle = values[:, :2] + np.floor(values[:, 2:] / 2)
    assert ((middle >= rectangles[:, :2]) & (middle < rectangles[:, 2:])).all()
    free = (values[:, 2:] > 1).all(1) & (values[:, 2:] < (width, height)).all(1)
    share = values[free, 2:].prod(1)
    rounding = values[free, 2:].sum(1) / 2 + 0.25
    assert (share >= ends[0] * height * width - rounding - 1e-6).all()
    assert (share <= ends[1] * height * width + rounding + 1e-6).all()
    view, _ = seen(op, images_of(rows, 1, (height, width)), seed)
    assert torch.equal(view.image[:, 0] == 0, ~view.valid)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cutout((0.3, 0.1)), "area=(0.3, 0.1) is empty: give the smaller number first"),
        (lambda: Cutout(ratio=(2, 0.5)), "ratio=(2, 0.5) is empty: give the smaller number first"),
        (lambda: Cutout((0, 0.1)), "greater than 0"),
        (lambda: Cutout((0.1, 1.1)), "less than or equal to 1"),
        (lambda: Cutout((0.1, math.nan)), "less than or equal to 1"),
        (lambda: Cutout(ratio=(0.5, 17)), "less than or equal to 16"),
        (lambda: Cutout(fill=127), "less than or equal to 1"),
        (lambda: Cutout(on_target="drop"), "'ignore' or 'keep'"),
        (lambda: Cutout(size=16), "Cutout has no field 'size'"),
        (lambda: Policy(pool=(Cutout(),), num_ops=1), "Cutout happens once a view, before or after the pool"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        make()
