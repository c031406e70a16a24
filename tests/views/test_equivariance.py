"""What holds for any warp and any chain of them: targets go where pixels go."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import max_pool2d, pad

from ssmtl.views.boxes import move_boxes
from ssmtl.views.framing import RandomResizedCrop, ReflectCrop, ScaleCrop
from ssmtl.views.geometry import Geometry, apply, between, inside, inverse
from ssmtl.views.moving import move_labels, move_points, move_soft
from ssmtl.views.policy import Policy
from ssmtl.views.render import render
from ssmtl.views.warps import (
    HorizontalFlip,
    Perspective,
    Rot90,
    Rotate,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    VerticalFlip,
)

UPRIGHT = (HorizontalFlip(p=0.9), VerticalFlip(p=0.9), Rot90(), TranslateX(), TranslateY())
AFFINE = (*UPRIGHT, Rotate(0, 45), ShearX(), ShearY())
ALL = (*AFFINE, Perspective(0, 0.4))
FRAMES = (
    ReflectCrop(pad=0.25),
    ScaleCrop((28, 35), scale=(0.75, 1.5)),
    ScaleCrop(scale=(0.75, 1.5)),
    RandomResizedCrop((28, 35), area=(0.3, 1)),
)
EYE = torch.eye(3, dtype=torch.float64)
ROWS = np.arange(4)
CLOSE = 0.01
"""Pixels; nearer to half-way between two pixels, a lookup may decide either way."""

seeds = st.integers(0, 2**40)
sizes = st.tuples(st.integers(12, 40), st.integers(12, 40))


def chains_of(pool):
    """Policies with any frames, with any warps that are always tried, and with any that are chosen from a pool."""
    framing, some = (st.lists(st.sampled_from(ops), max_size=2, unique=True).map(tuple) for ops in (FRAMES, pool))
    framing = framing.filter(lambda ops: not any(op.searches for op in ops[1:]))
    return st.builds(lambda *ops: Policy(always=ops[0] + ops[1], pool=ops[2], num_ops=len(ops[2])), framing, some, some)


def drawn(policy, seed, size):
    return policy.sample(seed, ROWS, size, shared=seed)


def centers(size):
    """The centers [h * w, 2] of all pixels."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in size), indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def places(size):
    """Images [rows, 2, h, w] whose two channels say where a pixel is, between 0 and 1. Bilinear sampling keeps that."""
    scale = torch.tensor([size[1] - 1, size[0] - 1], dtype=torch.float64)
    return (centers(size) / scale).T.unflatten(1, size).float().expand(len(ROWS), 2, *size)


def blobs(size, seed, kinds=5):
    """Label maps [rows, h, w] of some kinds, in regions about ten pixels wide."""
    angle, phase = torch.from_numpy(np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, len(ROWS), kinds, 1)))
    x, y = centers(size).unbind(-1)
    return torch.sin((angle.cos() * x + angle.sin() * y) / 4 + phase).argmax(1).unflatten(1, size)


def calm(labels, radius):
    """The pixels [h, w] that have the same label as everything within a radius, and no border there."""
    framed = pad(labels.double()[None], (radius,) * 4, value=-1.0)
    most, least = max_pool2d(framed, 2 * radius + 1, 1), -max_pool2d(-framed, 2 * radius + 1, 1)
    return (most == least)[0]


def reach(back, size, source):
    """How far apart, in pixels of the source, things may be that fall into one pixel of a view."""
    middle, depth = apply(back, centers(size)[None])
    seen = (depth > 0) & inside(*middle.unbind(-1), *source)
    ends = [(dx, dy) for dx in (-0.5, 0.5) for dy in (-0.5, 0.5)]
    away = [(apply(back, centers(size)[None] + torch.tensor(end))[0] - middle).abs().amax(-1) for end in ends]
    return max((far[seen].max().item() for far in away if seen.any()), default=0.0)


def check_matrices(policy, seed, size):
    one, two, three = (drawn(policy, seed + n, size).geometry for n in range(3))
    for geometry in (one, two, three):
        product = inverse(geometry.matrix) @ geometry.matrix
        assert (product / product[:, 2:, 2:] - EYE).abs().max() < 1e-8
    points = apply(one.matrix, centers(size)[::7].expand(len(ROWS), -1, 2))[0]
    straight, depth = apply(between(one, three).matrix, points)
    by_way, _ = apply(between(two, three).matrix @ between(one, two).matrix, points)
    far = (depth > 0.05) & (straight.abs().amax(-1) < 1e3)
    assert far.any()
    assert (by_way - straight)[far].abs().max() < 1e-6


def check_labels(policy, seed, size):
    """Moved on from a view, labels are what they are when moved straight, up to the pixels of two lookups.

    Where the source has one label all around, both must agree, and neither may ignore what both views show.
    """
    labels = blobs(size, seed)
    one, two = (drawn(policy, seed + n, size).geometry for n in range(2))
    straight = move_labels(labels, two)
    by_way = move_labels(move_labels(labels, one), between(one, two))
    compared = 0
    for row in range(len(ROWS)):
        radius = int(1 + CLOSE + reach(inverse(one.matrix[row : row + 1]), one.size, size))
        alone = Geometry(two.matrix[row : row + 1], two.size)
        safe = move_labels(calm(labels[row], radius).long()[None], alone, fill=0)[0] == 1
        source, depth = apply(inverse(alone.matrix), centers(two.size)[None])
        first, first_depth = apply(one.matrix[row : row + 1], source)
        x, y = first[0].unbind(-1)
        shown = ((x - one.size[1] / 2 + 0.5).abs() < one.size[1] / 2 - CLOSE) & (
            (y - one.size[0] / 2 + 0.5).abs() < one.size[0] / 2 - CLOSE
        )
        both = safe & (shown & (depth > 0)[0] & (first_depth > 0)[0]).unflatten(0, two.size)
        assert torch.equal(by_way[row][both], straight[row][both])
        assert (straight[row][both] != 255).all()
        assert set(by_way[row][safe & ~both].tolist()) <= {255, *straight[row][safe & ~both].tolist()}
        compared += int(both.sum())
    return compared


def check_pixels(policy, seed, size):
    """Every pixel shows the place that its center comes from, in images and in soft maps."""
    images = places(size)
    draw = drawn(policy, seed, size)
    view = render(images, draw)
    back, depth = apply(inverse(draw.geometry.matrix), centers(draw.geometry.size).expand(len(ROWS), -1, 2))
    scale = torch.tensor([size[1] - 1, size[0] - 1], dtype=torch.float64)
    within = ((back >= 0) & (back <= scale)).all(-1) & (depth > 0)
    shown = view.image.flatten(2).mT.double() * scale
    assert view.valid.flatten(1)[within].all()
    assert ((shown - back)[within].abs() < 2e-3).all()
    soft, there = move_soft(images, Geometry(draw.geometry.matrix, draw.geometry.size))
    assert there.flatten(1)[within].all()
    assert ((soft.flatten(2).mT.double() * scale - back)[within].abs() < 2e-3).all()
    points, visible = move_points(back, Geometry(draw.geometry.matrix, draw.geometry.size))
    assert visible[within].all()
    assert ((points - centers(draw.geometry.size))[within].abs() < 1e-6).all()
    return int(within.sum())


def check_valid(policy, seed, size):
    """A label map moved by a view's matrix is defined exactly where the view is valid, and never on black.

    Images fill a part of their canvas.
    """
    images = torch.full((len(ROWS), 1, *size), 200, dtype=torch.uint8)
    real = torch.tensor([[size[0] - 3 * row, size[1] - 2 * row] for row in range(len(ROWS))])
    y, x = torch.arange(size[0])[:, None], torch.arange(size[1])
    image = (y < real[:, 0, None, None]) & (x < real[:, 1, None, None])
    view = render(images, policy.sample(seed, ROWS, size, shared=seed, real=real))
    geometry = Geometry(view.geometry.matrix, view.geometry.size, image)
    labels = move_labels(torch.ones(len(ROWS), *size, dtype=torch.long), geometry)
    assert ((labels == 1) != view.valid).flatten(1).sum(1).max() <= 1  # float32 may decide a pixel on the very border
    assert ((labels == 255) == view.valid).flatten(1).sum(1).max() <= 1
    assert view.geometry.valid is None or torch.equal(view.geometry.valid, view.valid)
    assert ((view.image[:, 0][view.valid] - 200 / 255).abs() < 1e-6).all()
    soft, there = move_soft(torch.full((len(ROWS), 2, *size), 0.7), geometry)
    assert ((soft.movedim(1, -1)[there] - 0.7).abs() < 1e-5).all()
    if not any(isinstance(op, ReflectCrop) for op in policy.always):
        canvas = move_labels(labels.new_ones(len(ROWS), *size), replace(geometry, valid=None)) == 1
        assert not view.image[:, 0][~canvas].any()


CHECKS = [check_matrices, check_labels, check_pixels, check_valid]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("op", [*ALL, *FRAMES], ids=lambda op: op.kind)
def test_every_warp(op, check):
    compared = check(Policy(always=(op,)), 11, (37, 46))
    assert compared is None or compared > 400


@pytest.mark.parametrize("check", CHECKS)
def test_any_chain(check):
    @settings(max_examples=40, deadline=None, database=None)
    @given(policy=chains_of(ALL), seed=seeds, size=sizes)
    def holds(policy, seed, size):
        check(policy, seed, size)

    holds()


@settings(max_examples=40, deadline=None)
@given(policy=chains_of(AFFINE), seed=seeds, x=st.floats(0, 1), y=st.floats(0, 1))
def test_a_bright_dot_lands_where_its_point_does(policy, seed, x, y):
    """Its centroid, that is; dots that the view cuts are left out."""
    size, radius = (61, 72), 4.0
    dot = torch.tensor([6 + x * (size[1] - 13), 6 + y * (size[0] - 13)], dtype=torch.float64)
    away = ((centers(size) - dot).norm(dim=-1) / radius).clamp(max=1)
    image = ((1 + torch.cos(torch.pi * away)) / 2).float().view(1, 1, *size).expand(len(ROWS), 1, *size)
    draw = drawn(policy.replace(always=[op for op in policy.always if not isinstance(op, ReflectCrop)]), seed, size)
    view = render(image, draw)
    points, visible = move_points(dot.expand(len(ROWS), 1, 2), Geometry(draw.geometry.matrix, draw.geometry.size))
    spread = radius * draw.geometry.matrix[:, :2, :2].flatten(1).norm(dim=1) + 2
    sides = torch.tensor([draw.geometry.size[1], draw.geometry.size[0]])
    clear = ((points[:, 0] > spread[:, None]) & (points[:, 0] < sides - 1 - spread[:, None])).all(1)
    weight = view.image.flatten(2).double()
    centroid = (weight @ centers(draw.geometry.size))[:, 0] / weight.sum(2).clamp(min=1e-9)
    assert visible[clear].all()
    assert ((centroid - points[:, 0])[clear].abs() < 0.05).all()


@settings(max_examples=60, deadline=None)
@given(policy=chains_of(UPRIGHT), seed=seeds, size=sizes, corners=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_of_upright_maps_are_the_points_of_their_corners(policy, seed, size, corners):
    """Boxes are in pixel edges, points in pixel centers: half a pixel apart before and after."""
    height, width = size
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    box = torch.tensor([x1 * (width - 2), y1 * (height - 2), x2 * (width - 2) + 2, y2 * (height - 2) + 2]).double()
    drawing = drawn(policy, seed, size).geometry
    points, _ = move_points(box.view(1, 2, 2).expand(len(ROWS), 2, 2) - 0.5, drawing)
    sides = torch.tensor([drawing.size[1], drawing.size[0]])
    whole = torch.cat([points.amin(1), points.amax(1)], 1) + 0.5
    expected = torch.cat([torch.minimum(part.clamp(min=0), sides) for part in whole.split(2, 1)], 1)
    boxes = box.expand(len(ROWS), 1, 4)
    moved, kept = move_boxes(
        boxes, torch.ones(len(ROWS), 1, dtype=torch.bool), drawing, min_size=1e-3, min_visibility=0.0
    )
    assert torch.equal(kept[:, 0], (expected[:, 2:] - expected[:, :2] >= 1e-3).all(1))
    assert ((moved[:, 0] - expected)[kept[:, 0]].abs() < 1e-9).all()
