"""Warps against Kornia, matrix by matrix and pixel by pixel, known answers, and what each draws."""

import math

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from warping import images_of, kornia_matrix, matrix_of, numbers_of, outside, sampled, shift, show

from ssmtl.component import resolve
from ssmtl.views.geometry import Geometry, apply, inverse
from ssmtl.views.moving import move_labels, move_points, move_soft
from ssmtl.views.ops import WARPS
from ssmtl.views.policy import Policy
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

SIZES = [(32, 32), (24, 37), (33, 21)]
OPS = {
    op.kind: op
    for op in (
        HorizontalFlip(),
        VerticalFlip(),
        Rot90(),
        Rotate(0, 180),
        ShearX(0, 1),
        ShearY(0, 1),
        TranslateX(0, 1),
        TranslateY(0, 1),
        Perspective(0, 0.65),
    )
}


def degrees(slope):
    return torch.rad2deg(torch.atan(slope))


def whole(fraction, side):
    return torch.round(fraction * side)


def perspective(values, size):
    right, bottom = size[1] - 1.0, size[0] - 1.0
    start = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64)
    x, y = values.view(-1, 4, 2).unbind(-1)
    moves = torch.stack([x * torch.tensor([1, -1, -1, 1]), y * torch.tensor([1, 1, -1, -1])], -1)
    start = start.expand(len(values), 4, 2)
    return kornia_matrix(K.RandomPerspective(p=1.0), len(values), size, start_points=start, end_points=start + moves)


def kornias(name, values, size):
    """What Kornia makes of the same parameters."""
    n, none = len(values), torch.zeros(len(values), dtype=torch.float64)
    first = values[:, 0] if values.shape[1] else none
    match name:
        case "HorizontalFlip":
            return kornia_matrix(K.RandomHorizontalFlip(p=1.0), n, size)
        case "VerticalFlip":
            return kornia_matrix(K.RandomVerticalFlip(p=1.0), n, size)
        case "Rot90":
            return kornia_matrix(K.RandomRotation90((1, 3), p=1.0), n, size, times=first)
        case "Rotate":
            return kornia_matrix(K.RandomRotation(180.0, p=1.0), n, size, degrees=first)
        case "ShearX":
            shear = {"shear_x": degrees(first), "shear_y": none}
            return kornia_matrix(K.RandomShear((0.0, 45.0, 0.0, 0.0), p=1.0), n, size, **shear)
        case "ShearY":
            shear = {"shear_x": none, "shear_y": degrees(first)}
            return kornia_matrix(K.RandomShear((0.0, 0.0, 0.0, 45.0), p=1.0), n, size, **shear)
        case "TranslateX":
            move = {"translate_x": whole(first, size[1]), "translate_y": none}
            return kornia_matrix(K.RandomTranslate((0.0, 1.0), p=1.0), n, size, **move)
        case "TranslateY":
            move = {"translate_x": none, "translate_y": whole(first, size[0])}
            return kornia_matrix(K.RandomTranslate(None, (0.0, 1.0), p=1.0), n, size, **move)
        case "Perspective":
            return perspective(values, size)


def drawn(op, rows, size, seed=0):
    """Parameters for so many rows, and their matrices."""
    real = np.tile(np.array([size]), (rows, 1))
    values = torch.from_numpy(op.draw(numbers_of(op, rows, seed), size, real))
    return values, op.matrix(values, size)


def test_every_warp_is_compared():
    assert set(OPS) == set(WARPS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WARPS)
def test_matrices_are_kornias(name, size):
    values, matrix = drawn(OPS[name], 16, size)
    assert matrix.dtype == torch.float64
    assert (matrix - kornias(name, values, size)).abs().max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WARPS)
def test_views_are_kornias_inside_and_black_outside(name, size, dtype, channels):
    images = images_of(6, channels, size)
    images = images if dtype == torch.uint8 else images / 255
    _, matrix = drawn(OPS[name], 6, size)
    view = show(images, matrix, size)
    expected, covered = sampled(images, matrix, size)
    assert covered.float().mean() > 0.2
    assert (view.image - expected)[covered].abs().max() < 1e-5
    beyond = outside(matrix, size, size)
    assert not view.image.movedim(1, -1)[beyond].any()
    assert not view.valid[beyond].any()
    assert view.image.amin(1)[view.valid].min() > 0


@pytest.mark.parametrize("size", SIZES)
def test_flips_are_exact(size):
    images = images_of(1, 3, size)
    for op, axis in ((HorizontalFlip(), -1), (VerticalFlip(), -2)):
        _, matrix = drawn(op, 1, size)
        view = show(images, matrix, size)
        assert torch.equal(view.image, images.flip(axis) / 255)
        assert view.valid.all()
        assert torch.equal(matrix @ matrix, torch.eye(3, dtype=torch.float64)[None])
        assert torch.equal(move_labels(images[:, 0].long(), view.geometry), images[:, 0].long().flip(axis))


def test_identity_is_the_image():
    images = images_of(2, 1, (9, 14))
    view = show(images, torch.eye(3, dtype=torch.float64).repeat(2, 1, 1), (9, 14))
    assert torch.equal(view.image, images / 255)
    assert view.valid.all()
    assert view.geometry.is_identity.all()


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_of_squares_are_exact(turns, side):
    """Counterclockwise, as torch.rot90."""
    images = images_of(1, 3, (side, side))
    matrix = Rot90().matrix(torch.tensor([[turns]], dtype=torch.float64), (side, side))
    view = show(images, matrix, (side, side))
    assert torch.equal(view.image, images.rot90(turns, (-2, -1)) / 255)
    assert view.valid.all()


@pytest.mark.parametrize("turns", [1, 3])
def test_quarter_turns_onto_a_turned_canvas_are_exact(turns):
    height, width = 5, 8
    images = images_of(1, 3, (height, width))
    left, right = ([0, 1, 0], [-1, 0, width - 1], [0, 0, 1]), ([0, -1, height - 1], [1, 0, 0], [0, 0, 1])
    matrix = matrix_of(*(left if turns == 1 else right))
    view = show(images, matrix, (width, height))
    assert torch.equal(view.image, images.rot90(turns, (-2, -1)) / 255)
    assert view.valid.all()
    labels = move_labels(images[:, 0].long(), Geometry(matrix, (width, height)))
    assert torch.equal(labels, images[:, 0].long().rot90(turns, (-2, -1)))


def test_a_quarter_turn_in_a_long_frame_keeps_the_middle():
    """4 x 8: the middle four columns of the turned image are there, what was above and below is cut off."""
    images = images_of(1, 1, (4, 8))
    view = show(images, Rot90().matrix(torch.tensor([[1.0]], dtype=torch.float64), (4, 8)), (4, 8))
    assert torch.equal(view.image[0, 0, :, 2:6], images[0, 0].rot90()[2:6] / 255)
    assert not view.image[..., :2].any()
    assert not view.image[..., 6:].any()
    assert view.valid[0].sum() == 16


def test_all_three_turns_come_equally_often():
    values, _ = drawn(Rot90(), 3000, (8, 8))
    counts = torch.bincount(values[:, 0].long(), minlength=5).tolist()
    assert counts[0] == counts[4] == 0
    assert sum(counts) == 3000
    assert min(counts[1:4]) > 900
    levels = np.arange(11)[:, None] / 10
    assert Rot90().draw(levels, (8, 8), np.full((11, 2), 8)).ravel().tolist() == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3]


def test_a_rotation_by_90_degrees_is_the_quarter_turn():
    angle, turn = torch.tensor([[90.0]], dtype=torch.float64), torch.tensor([[1.0]], dtype=torch.float64)
    for size in SIZES:
        assert (Rotate().matrix(angle, size) - Rot90().matrix(turn, size)).abs().max() < 1e-12


def test_directions_are_as_named():
    """Of the pixel right of the center, one to the right and one down from it; y points down."""
    size, value = (21, 21), torch.tensor([[0.5]], dtype=torch.float64)
    beside, below = torch.tensor([[[11.0, 10.0]]]).double(), torch.tensor([[[10.0, 11.0]]]).double()
    turned = apply(Rotate().matrix(60 * value, size), beside)[0].flatten().tolist()
    assert turned == pytest.approx([10 + math.cos(math.pi / 6), 10 - 0.5])
    assert apply(ShearX().matrix(value, size), below)[0].flatten().tolist() == pytest.approx([9.5, 11])
    assert apply(ShearY().matrix(value, size), beside)[0].flatten().tolist() == pytest.approx([11, 9.5])
    assert apply(TranslateX().matrix(value, size), beside)[0].flatten().tolist() == [21, 10]
    assert apply(TranslateY().matrix(-value, size), beside)[0].flatten().tolist() == [11, 0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("x", "y"), [(7, -3), (-5, 0), (0, 11), (-60, 2)])
def test_whole_pixel_translations_are_slices(x, y, size):
    height, width = size
    images = images_of(1, 3, size)
    expected = torch.zeros(1, 3, *size)
    valid = torch.zeros(1, *size, dtype=torch.bool)
    if abs(x) < width and abs(y) < height:
        into = (slice(max(y, 0), height + min(y, 0)), slice(max(x, 0), width + min(x, 0)))
        out_of = (slice(max(-y, 0), height - max(y, 0)), slice(max(-x, 0), width - max(x, 0)))
        expected[:, :, *into] = images[:, :, *out_of] / 255
        valid[:, *into] = True
    view = show(images, shift(x, y), size)
    assert torch.equal(view.image, expected)
    assert torch.equal(view.valid, valid)
    labels = move_labels(images[:, 0].long(), Geometry(shift(x, y), size))
    assert torch.equal(labels == 255, ~valid | (labels == 255) & (view.image[:, 0] == 1))
    assert torch.equal(labels[valid], (view.image[:, 0][valid] * 255).round().long())


def test_shifts_are_whole_pixels():
    for op, side, entry in ((TranslateX(), 37, (0, 2)), (TranslateY(), 24, (1, 2))):
        _, matrix = drawn(op, 200, (24, 37))
        moves = matrix[:, *entry]
        assert torch.equal(moves, moves.round())
        assert set(moves.tolist()) == set(range(-round(0.15 * side), round(0.15 * side) + 1))


@pytest.mark.parametrize("name", ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"])
def test_values_fill_the_range_both_ways(name):
    low, high = 0.25, 0.75
    values, _ = drawn(resolve("transforms", name)(low, high), 4000, (8, 8))
    size = values[:, 0].abs()
    assert low <= size.min() < low + 0.01
    assert high - 0.01 < size.max() <= high
    assert size.mean().item() == pytest.approx(0.5, abs=0.02)
    assert (values[:, 0] > 0).double().mean().item() == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("size", SIZES)
def test_perspective_moves_corners_inward_and_within_its_bounds(size):
    high = 0.6
    values, matrix = drawn(Perspective(0, high), 500, size)
    right, bottom = size[1] - 1.0, size[0] - 1.0
    corners = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64)
    moved, depth = apply(matrix, corners.expand(500, 4, 2))
    assert (depth > 0).all()
    inward = (moved - corners) * torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    most = torch.tensor([high * right / 2, high * bottom / 2])
    assert inward.min() > -1e-9
    assert (inward <= most + 1e-9).all()
    assert (inward.amax((0, 1)) > 0.9 * most).all()
    assert len(values.unique()) == values.numel()


@pytest.mark.parametrize("size", [(2, 2), (3, 40), (33, 21)])
def test_the_strongest_perspective_folds_nothing(size):
    """All of the frame stays in front of the camera, even where one corner moves most and its neighbors meet it."""
    most = Perspective(0.65, 0.65)
    ends = torch.tensor([[numbers >> corner & 1 for corner in range(8)] for numbers in range(256)]).double() * (
        1 - 1e-9
    )
    uniform = np.concatenate([np.ones((256, 2)), ends.numpy()], 1)
    matrix = most.matrix(torch.from_numpy(most.draw(uniform, size, np.tile([size], (256, 1)))), size)
    right, bottom = size[1] - 1.0, size[0] - 1.0
    corners = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64)
    assert apply(matrix, corners.expand(256, 4, 2))[1].min() > 0.01
    assert (inverse(matrix) @ matrix - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-9


def test_a_line_has_no_perspective():
    for size in [(1, 9), (9, 1), (1, 1)]:
        _, matrix = drawn(Perspective(), 3, size)
        assert torch.equal(matrix, torch.eye(3, dtype=torch.float64).repeat(3, 1, 1))


def test_nothing_from_behind_the_camera_is_shown():
    """Without its sign, depth would put the source's pixel (10, 15 - y) at the view's (20, y)."""
    size = (16, 24)
    back = matrix_of([1, 0, -30], [0, 1, -15], [-0.1, 0, 1])
    point = torch.tensor([[[20.0, 5]]], dtype=torch.float64)
    assert (back @ torch.tensor([20.0, 5, 1], dtype=torch.float64)).tolist() == [[-10, -10, -1]]
    assert (apply(back, point)[1] < 0).all()
    images = images_of(1, 3, size)
    view = show(images, inverse(back), size)
    assert not view.image.any()
    assert not view.valid.any()
    geometry = Geometry(inverse(back), size)
    assert (move_labels(images[:, 0].long(), geometry) == 255).all()
    assert not move_soft(images / 255, geometry)[1].any()
    assert not move_points(torch.tensor([[[10.0, 10], [9, 9]]]), geometry)[1].any()


def test_warps_happen_in_their_order():
    """Shifted and then mirrored, or mirrored and then shifted, in a frame 8 pixels wide."""
    over, forth = HorizontalFlip(p=1), TranslateX(0.25, 0.25, follow="same")
    alone, first, last = (
        Policy(always=ops).sample(1, np.arange(20), (8, 8), shared=2).geometry.matrix[:, 0, 2]
        for ops in ((forth,), (forth, over), (over, forth))
    )
    assert set(alone.tolist()) == {-2, 2}
    assert torch.equal(first, 7 - alone)
    assert torch.equal(last, 7 + alone)


@pytest.mark.parametrize("name", WARPS)
def test_no_rows_and_one(name):
    for rows in (0, 1):
        _, matrix = drawn(OPS[name], rows, (9, 12))
        view = show(images_of(rows, 3, (9, 12)), matrix, (9, 12))
        assert matrix.shape == (rows, 3, 3)
        assert view.image.shape == (rows, 3, 9, 12)
        assert view.valid.shape == (rows, 9, 12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rotate(30, 3), "low=30 is above high=3: give the smaller degrees first"),
        (lambda: Rotate(0, 200), r"\(0, 200\) leaves the range of Rotate, 0 to 180 \(degrees\)"),
        (lambda: ShearX(-0.1, 0.3), r"\(-0.1, 0.3\) leaves the range of ShearX, 0 to 5 \(pixels to the left per pixel"),
        (lambda: ShearY(0, 6), r"\(0, 6\) leaves the range of ShearY, 0 to 5"),
        (lambda: TranslateX(0, 1.5), r"\(0, 1.5\) leaves the range of TranslateX, 0 to 1 \(fraction of the width"),
        (lambda: TranslateY(0.4, 0.2), "low=0.4 is above high=0.2"),
        (lambda: Perspective(0, 0.9), r"\(0, 0.9\) leaves the range of Perspective, 0 to 0.65 \(fraction of the sides"),
        (lambda: Rotate(0, math.nan), "high\n.*finite number"),
        (lambda: HorizontalFlip(p=1.5), "p\n.*less than or equal to 1"),
        (
            lambda: HorizontalFlip(follow="overlapping"),
            "HorizontalFlip follows the weak view as 'same' or 'any'; 'ove",
        ),
        (lambda: Rotate(angle=3), "Rotate has no field 'angle'"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()
