"""Boxes that move: known answers, what is dropped and why, and what holds for any map."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.geometry.boxes import Boxes

from ssmtl.views.boxes import move_boxes
from ssmtl.views.geometry import Geometry, between, inverse

HULLS = ["corners", "ellipse"]
IDENTITY = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
FAR = (1 << 14, 1 << 14)
"""A view that clips nothing: no image is ever made of it."""


def geometry(matrix, size, **fields):
    return Geometry(torch.tensor([matrix], dtype=torch.float64), size, **fields)


def shift(x, y):
    return (1, 0, x), (0, 1, y), (0, 0, 1)


def about(center, linear, tilt=(0, 0)):
    """A map that keeps `center` (in pixel edges, x = y) where it is."""
    to = torch.tensor(shift(center - 0.5, center - 0.5), dtype=torch.float64)
    inner = torch.tensor([[*linear[0], 0], [*linear[1], 0], [*tilt, 1]], dtype=torch.float64)
    return (to @ inner @ torch.linalg.inv(to)).tolist()


def turn(degrees, scale=1.0):
    cos, sin = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    return (cos, -sin), (sin, cos)


def move(boxes, at, **options):
    """Move boxes of one image, in float64; return those that are kept, as lists."""
    given_boxes = torch.tensor([boxes], dtype=torch.float64).view(1, -1, 4)
    moved, kept = move_boxes(given_boxes, torch.ones(given_boxes.shape[:2], dtype=torch.bool), at, **options)
    assert not moved[~kept].any()
    return moved[kept].tolist()


@pytest.mark.parametrize("hull", HULLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("matrix", "size", "box", "expected"),
    [
        (IDENTITY, (48, 80), (2.25, 3, 10, 8.5), (2.25, 3, 10, 8.5)),
        (((-1, 0, 79), (0, 1, 0), (0, 0, 1)), (48, 80), (0, 0, 80, 48), (0, 0, 80, 48)),
        (((-1, 0, 79), (0, 1, 0), (0, 0, 1)), (48, 80), (2.25, 3, 10, 8), (70, 3, 77.75, 8)),
        (((1, 0, 0), (0, -1, 47), (0, 0, 1)), (48, 80), (2, 3, 10, 8), (2, 40, 10, 45)),
        (((0, 1, 0), (-1, 0, 79), (0, 0, 1)), (80, 48), (2, 3, 10, 8), (3, 70, 8, 78)),
        (((2, 0, 0.5), (0, 2, 0.5), (0, 0, 1)), (96, 160), (2, 3, 10, 8), (4, 6, 20, 16)),
        (shift(7, -3), (48, 80), (2, 3, 10, 8), (9, 0, 17, 5)),
        (((2, 0, 1), (0, 2, 1), (0, 0, 2)), (48, 80), (2, 3, 10, 8), (2.5, 3.5, 10.5, 8.5)),
    ],
    ids=["identity", "hflip of all", "hflip", "vflip", "rot90", "scale 2", "shift", "homogeneous shift by a half"],
)
def test_known_answers_are_exact(matrix, size, box, expected, dtype, hull):
    boxes = torch.tensor([[box]], dtype=dtype)
    moved, kept = move_boxes(boxes, torch.ones(1, 1, dtype=torch.bool), geometry(matrix, size), hull=hull)
    assert moved.tolist() == [[list(expected)]]
    assert kept.tolist() == [[True]]
    assert moved.dtype == dtype


def test_a_square_turned_by_30_degrees_grows_by_corners_and_less_by_its_circle():
    at = geometry(about(50, turn(30)), (100, 100))
    ((x1, y1, x2, y2),) = move([40, 40, 60, 60], at)
    side = 20 * (math.cos(math.pi / 6) + math.sin(math.pi / 6))
    assert (x1, y1, x2, y2) == pytest.approx((50 - side / 2, 50 - side / 2, 50 + side / 2, 50 + side / 2))
    assert (x2 - x1) * (y2 - y1) / 400 == pytest.approx(1.866, abs=1e-3)
    assert move([40, 40, 60, 60], at, hull="ellipse")[0] == pytest.approx((40, 40, 60, 60))


def test_ellipse_in_an_affine_map_is_the_closed_form():
    """Half axes 10 and 4, turned by 30 degrees: half a width of hypot(10 cos, 4 sin)."""
    ((x1, y1, x2, y2),) = move([40, 46, 60, 54], geometry(about(50, turn(30)), (100, 100)), hull="ellipse")
    assert x2 - x1 == pytest.approx(2 * math.hypot(10 * math.cos(math.pi / 6), 4 * 0.5))
    assert y2 - y1 == pytest.approx(2 * math.hypot(10 * 0.5, 4 * math.cos(math.pi / 6)))
    assert (x1 + x2, y1 + y2) == pytest.approx((100, 100))


def test_ellipse_in_perspective_by_hand():
    """In pixel centers: x from 10 to 30 by x / (1 + x/10), y = +-6 by 50 + y / (1 + x/10).

    The ellipse (20 + 10 cos a, 6 sin a) is highest at 6 sin a / (3 + cos a) = 3 / sqrt(2), where cos a = -1/3.
    """
    at = geometry(((1, 0, 0), (5, 1, 50), (0.1, 0, 1)), (100, 100))
    box = [10.5, -5.5, 30.5, 6.5]
    assert move(box, at)[0] == pytest.approx((5.5, 47.5, 8, 53.5))
    high = 3 / math.sqrt(2)
    assert move(box, at, hull="ellipse")[0] == pytest.approx((5.5, 50.5 - high, 8, 50.5 + high))


@pytest.mark.parametrize("hull", HULLS)
def test_boxes_are_clipped_to_the_view(hull):
    at = geometry(shift(-5, -10), (30, 40))
    assert move([[0, 0, 20, 20], [30, 20, 60, 70], [0, 0, 60, 60]], at, hull=hull) == [
        [0, 0, 15, 10],
        [25, 10, 40, 30],
        [0, 0, 40, 30],
    ]
    assert move([[0, 0, 5, 60], [45, 10, 60, 40], [10, 0, 20, 10]], at, hull=hull, min_visibility=0.0) == []


def test_minimum_size_is_asked_after_clipping_and_includes_equality():
    at = geometry(shift(-8, 0), (30, 40))
    assert move([[0, 0, 10, 20], [0, 0, 9.75, 20], [10, 5, 30, 7], [10, 5, 30, 6.75]], at) == [
        [0, 0, 2, 20],
        [2, 5, 22, 7],
    ]
    assert move([0, 0, 9.75, 20], at, min_size=1.75) == [[0, 0, 1.75, 20]]


def test_minimum_visibility_includes_equality():
    at = geometry(shift(-27, 0), (30, 40))
    assert move([[0, 0, 30, 10], [0, 0, 30.25, 10]], at, min_visibility=0.1) == [[0, 0, 3, 10], [0, 0, 3.25, 10]]
    assert move([0, 0, 29.75, 10], at, min_visibility=0.1) == []
    assert move([0, 0, 29.75, 10], at, min_visibility=0.09) == [[0, 0, 2.75, 10]]


def test_visibility_is_of_the_hull_that_was_asked_for():
    """A square of 20 pixels, turned by 45 degrees, whose center is 7 pixels outside of the view."""
    matrix = torch.tensor(shift(-57, 0), dtype=torch.float64) @ torch.tensor(about(50, turn(45)), dtype=torch.float64)
    half = 10 * math.sqrt(2)
    for hull, part, shown in (("corners", (half - 7) / (2 * half), half - 7), ("ellipse", 3 / 20, 3)):
        at = Geometry(matrix[None], (100, 100))
        assert move([40, 40, 60, 60], at, hull=hull, min_visibility=part - 1e-9)[0][2] == pytest.approx(shown)
        assert move([40, 40, 60, 60], at, hull=hull, min_visibility=part + 1e-9) == []


@pytest.mark.parametrize("hull", HULLS)
def test_a_box_with_a_corner_behind_the_camera_is_dropped(hull):
    """The third coordinate is 10.5 minus x in pixel edges: positive, zero, and negative for the right side."""
    at = geometry(((1, 0, 0), (0, 1, 0), (-1, 0, 10)), (100, 100))
    boxes = [[1, 1, 9.5, 9], [1, 1, 10.5, 9], [1, 1, 20, 9], [12, 1, 20, 9]]
    moved, kept = move_boxes(
        torch.tensor([boxes]), torch.ones(1, 4, dtype=torch.bool), at, hull=hull, min_visibility=0.0
    )
    assert kept.tolist() == [[True, False, False, False]]
    assert moved[0, 1:].tolist() == [[0.0] * 4] * 3


def test_boxes_that_are_none_are_dropped():
    inf, nan = math.inf, math.nan
    bad = [[nan, 0, 9, 9], [0, 0, inf, 9], [-inf, 0, 9, 9], [9, 0, 3, 9], [3, 9, 9, 2], [3, 3, 3, 9], [0, 0, 0, 0]]
    boxes = torch.tensor([[*bad, [1, 2, 7, 8]]])
    present = torch.ones(1, 8, dtype=torch.bool)
    for hull in HULLS:
        for degrees in (0, 10):
            at = geometry(about(5, turn(degrees)), (20, 20))
            moved, kept = move_boxes(boxes, present, at, hull=hull, min_visibility=0.0)
            assert kept.tolist() == [[False] * 7 + [True]]
            assert not moved[0, :7].any()
            assert torch.isfinite(moved).all()


def test_padding_never_matters():
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(3, 5, 2, generator=generator) * 20
    boxes = torch.cat([start, start + 4 + torch.rand(3, 5, 2, generator=generator) * 20], -1)
    present = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    at = Geometry(torch.tensor([about(20, turn(a)) for a in (10, 20, 30)], dtype=torch.float64), (40, 40))
    for hull in HULLS:
        moved, kept = move_boxes(boxes, present, at, hull=hull)
        for padding in (0.0, -1.0, 1e30, math.inf, math.nan):
            other, also = move_boxes(boxes.where(present[..., None], padding), present, at, hull=hull)
            assert torch.equal(other, moved)
            assert torch.equal(also, kept)
        assert not kept[1].any()
        assert not moved[~kept].any()
        assert kept.sum() == 8


@pytest.mark.parametrize(("n", "m"), [(0, 3), (2, 0), (0, 0)])
def test_no_rows_and_no_boxes(n, m):
    matrix = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
    view = Geometry(matrix, (9, 7), source_size=torch.full((n, 2), 9))
    for hull in HULLS:
        moved, kept = move_boxes(
            torch.zeros(n, m, 4), torch.ones(n, m, dtype=torch.bool), between(view, view), hull=hull, drop_cut=2.0
        )
        assert moved.shape == (n, m, 4)
        assert kept.shape == (n, m)


def corner_maps(center, tilt):
    """Any map that keeps a center, magnifies by 0.5 to 2, turns, shears, and may be tilted."""
    return st.builds(
        lambda degrees, scale, shear, g, h: about(
            center, (torch.tensor(turn(degrees, scale)) @ torch.tensor([[1.0, shear], [0.0, 1.0]])).tolist(), (g, h)
        ),
        st.floats(-180, 180),
        st.floats(0.5, 2),
        st.floats(-0.5, 0.5),
        st.floats(-tilt, tilt),
        st.floats(-tilt, tilt),
    )


CENTER = 4096
CENTERED = st.tuples(*[st.integers(-100, 80)] * 2, *[st.integers(20, 60)] * 2).map(
    lambda b: [CENTER + b[0], CENTER + b[1], CENTER + b[0] + b[2], CENTER + b[1] + b[3]]
)


@settings(max_examples=60, deadline=None)
@given(matrix=corner_maps(CENTER, 2e-3), box=CENTERED)
def test_hulls_hold_every_point_of_the_box_or_of_its_ellipse_and_touch_them(matrix, box):
    angle = torch.linspace(0, 2 * math.pi, 20001, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin(), torch.ones_like(angle)])
    x1, y1, x2, y2 = box
    to_ellipse = torch.tensor([[(x2 - x1) / 2, 0, (x1 + x2 - 1) / 2], [0, (y2 - y1) / 2, (y1 + y2 - 1) / 2], [0, 0, 1]])
    points = torch.tensor(matrix, dtype=torch.float64) @ to_ellipse.double() @ circle
    places = points[:2] / points[2] + 0.5
    at = geometry(matrix, FAR)
    (tight,), (wide,) = move(box, at, hull="ellipse"), move(box, at)
    assert tight == pytest.approx([*places.amin(1).tolist(), *places.amax(1).tolist()], abs=1e-4)
    assert all(wide[side] <= tight[side] + 1e-8 for side in (0, 1))
    assert all(wide[side] >= tight[side] - 1e-8 for side in (2, 3))


@settings(max_examples=60, deadline=None)
@given(matrix=corner_maps(CENTER, 2e-3), box=CENTERED)
def test_corners_equal_kornias_through_pixel_edges(matrix, box):
    to_edges, to_centers = (torch.tensor(shift(t, t), dtype=torch.float64) for t in (0.5, -0.5))
    edges = to_edges @ torch.tensor(matrix, dtype=torch.float64) @ to_centers
    boxes = Boxes.from_tensor(torch.tensor([[box]], dtype=torch.float64), mode="xyxy_plus")
    expected = boxes.transform_boxes(edges[None]).to_tensor("xyxy_plus")
    moved = torch.tensor(move(box, geometry(matrix, FAR)), dtype=torch.float64)
    assert (moved - expected[0]).abs().max() <= 1e-5


@settings(max_examples=60, deadline=None)
@given(first=corner_maps(CENTER, 1e-3), second=corner_maps(CENTER, 5e-4), box=CENTERED)
def test_one_composed_move_is_never_larger_than_two(first, second, box):
    composed = torch.tensor(second, dtype=torch.float64) @ torch.tensor(first, dtype=torch.float64)
    (once,) = move(box, Geometry(composed[None], FAR))
    (twice,) = move(*move(box, geometry(first, FAR)), geometry(second, FAR))
    assert all(once[side] >= twice[side] - 1e-8 for side in (0, 1))
    assert all(once[side] <= twice[side] + 1e-8 for side in (2, 3))


def upright_maps(width):
    """Flips at a width, shifts by whole pixels, and magnifications by powers of two, which float32 holds exactly."""

    def matrix(flip_x, flip_y, scale, x, y):
        sign_x, sign_y = (-scale if flip else scale for flip in (flip_x, flip_y))
        origin_x, origin_y = (scale * width if flip else 0 for flip in (flip_x, flip_y))
        return (
            (sign_x, 0, (sign_x - 1) / 2 + origin_x + x),
            (0, sign_y, (sign_y - 1) / 2 + origin_y + y),
            (0, 0, 1),
        )

    flips, shifts = st.booleans(), st.integers(0, 16)
    return st.builds(matrix, flips, flips, st.sampled_from([0.5, 1.0, 2.0, 4.0]), shifts, shifts)


@pytest.mark.parametrize("hull", HULLS)
@settings(max_examples=60, deadline=None)
@given(
    first=upright_maps(64),
    second=upright_maps(512),
    box=st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(8, 14)] * 2).map(
        lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
    ),
)
def test_upright_moves_compose_and_return_exactly(hull, first, second, box):
    there, further = geometry(first, FAR), geometry(second, FAR)
    (moved,) = move(box, there, hull=hull)
    assert move(moved, Geometry(inverse(there.matrix), FAR), hull=hull) == [box]
    composed = Geometry(further.matrix @ there.matrix, FAR)
    assert move(box, composed, hull=hull) == move(moved, further, hull=hull)
    back_again = between(composed, there)
    assert move(*move(box, composed, hull=hull), back_again, hull=hull) == [moved]


def test_autocast_changes_nothing():
    boxes, present = torch.tensor([[[300.3, 411.7, 377.1, 459.9]]]), torch.ones(1, 1, dtype=torch.bool)
    via = geometry(about(400, turn(17)), (800, 800), source_size=torch.tensor([[800, 800]]))
    at = between(via, geometry(about(400, turn(-8), (1e-4, 0)), (800, 800)))
    for hull in HULLS:
        expected = move_boxes(boxes, present, at, hull=hull, drop_cut=2.0)[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(move_boxes(boxes, present, at, hull=hull, drop_cut=2.0)[0], expected)
        assert expected.any()


def test_nothing_waits_for_the_device():
    """On the meta device whatever looks at numbers raises: a synchronization would, and so would a forgotten copy."""
    via = geometry(shift(0, -5), (30, 30), source_size=torch.tensor([[40, 60]]))
    at = between(via, geometry(about(20, turn(17), (1e-4, 0)), (40, 60)))
    for hull in HULLS:
        boxes, present = torch.empty(1, 6, 4, device="meta"), torch.empty(1, 6, dtype=torch.bool, device="meta")
        moved, kept = move_boxes(boxes, present, at, hull=hull, drop_cut=2.0)
        assert {moved.device.type, kept.device.type} == {"meta"}
        assert moved.shape == (1, 6, 4)
