"""Maps between pixels: known answers, and what composing and inverting them must preserve."""

import kornia.geometry.transform as kornia_transform
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmtl.views.geometry import Geometry, between, inverse
from ssmtl.views.moving import move_labels, move_points, move_soft, move_weights

SIZES = [(48, 80), (32, 32), (17, 9)]


def affine(*rows):
    return torch.tensor([[*rows[0]], [*rows[1]], [0, 0, 1]], dtype=torch.float64)[None]


def flip(width):
    return affine((-1, 0, width - 1), (0, 1, 0))


def shift(x, y):
    return affine((1, 0, x), (0, 1, y))


def rotation(degrees, size):
    center = torch.tensor([[(size[1] - 1) / 2, (size[0] - 1) / 2]], dtype=torch.float64)
    angle, scale = torch.tensor([degrees], dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    matrix = torch.eye(3, dtype=torch.float64)[None]
    matrix[:, :2] = kornia_transform.get_rotation_matrix2d(center, angle, scale)
    return matrix


def seen(geometry):
    """Where a view of a source of its own size shows something."""
    present = torch.ones((1, *geometry.size)) if geometry.valid is None else geometry.valid.float()
    return move_weights(present, geometry) > 0


def labels_of(size, n=1):
    return torch.randint(0, 5, (n, *size), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_identity_returns_exactly_what_came(size):
    geometry = Geometry(torch.eye(3, dtype=torch.float64)[None], size)
    labels, soft = labels_of(size), torch.rand(1, 3, *size)
    moved, valid = move_soft(soft, geometry)
    assert torch.equal(move_labels(labels, geometry), labels)
    assert torch.equal(move_weights(soft[:, 0], geometry), soft[:, 0])
    assert torch.equal(moved, soft)
    assert valid.all()


@pytest.mark.parametrize("size", SIZES)
def test_flip_is_flip_and_twice_is_nothing(size):
    labels, geometry = labels_of(size), Geometry(flip(size[1]), size)
    assert torch.equal(move_labels(labels, geometry), labels.flip(-1))
    assert torch.equal(move_labels(move_labels(labels, geometry), geometry), labels)


@pytest.mark.parametrize("size", SIZES)
def test_shift_is_a_slice_and_the_rest_is_ignored(size):
    labels = labels_of(size)
    moved = move_labels(labels, Geometry(shift(7, -3), size))
    expected = torch.full_like(labels, 255)
    expected[:, : size[0] - 3, 7:] = labels[:, 3:, : size[1] - 7]
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("size", SIZES)
def test_quarter_turn_of_a_non_square_map(size):
    """(x, y) goes to (y, w - 1 - x): a turn counterclockwise into a view of (w, h)."""
    labels = labels_of(size)
    turn = affine((0, 1, 0), (-1, 0, size[1] - 1))
    assert torch.equal(move_labels(labels, Geometry(turn, (size[1], size[0]))), torch.rot90(labels, 1, (1, 2)))


def test_fill_weights_and_validity_follow_the_same_pixels():
    size = (20, 30)
    valid = torch.zeros(1, *size, dtype=torch.bool)
    valid[:, :15, :22] = True
    geometry = Geometry(rotation(21.0, size), size, valid)
    labels = move_labels(labels_of(size), geometry, fill=-1)
    weights = move_weights(torch.ones(1, *size), geometry)
    assert torch.equal(labels >= 0, weights == 1)
    assert 0 < weights.sum() < valid.sum()


def test_identity_still_ignores_what_is_not_valid():
    valid = torch.tensor([[[True, False], [True, True]]])
    geometry = Geometry(torch.eye(3, dtype=torch.float64)[None], (2, 2), valid)
    labels = torch.tensor([[[1, 2], [3, 4]]])
    soft, kept = move_soft(torch.ones(1, 1, 2, 2), geometry)
    assert move_labels(labels, geometry).tolist() == [[[1, 255], [3, 4]]]
    assert move_weights(torch.ones(1, 2, 2), geometry).tolist() == [[[1, 0], [1, 1]]]
    assert torch.equal(kept, valid)
    assert soft.tolist() == [[[[1, 0], [1, 1]]]]


def test_nearest_matches_kornia_on_a_rotation():
    size = (40, 56)
    labels, matrix = labels_of(size), rotation(30.0, size)
    reference = kornia_transform.warp_perspective(labels[:, None].double() + 1, matrix, size, mode="nearest")
    moved = move_labels(labels, Geometry(matrix, size), fill=-1) + 1
    assert (moved != reference[:, 0].long()).float().mean() < 1e-3


def test_soft_maps_match_kornia_inside_and_are_renormalized_at_the_border():
    size = (40, 56)
    matrix = rotation(30.0, size)
    soft = torch.rand(1, 4, *size, generator=torch.Generator().manual_seed(1)).softmax(1)
    moved, valid = move_soft(soft, Geometry(matrix, size))
    reference = kornia_transform.warp_perspective(soft.double(), matrix, size)
    covered = reference.sum(1) > 1 - 1e-9
    assert (moved.double() - reference).abs().amax(1)[covered].max() < 1e-4
    assert (moved.sum(1)[valid] - 1).abs().max() < 1e-5
    assert (valid & ~covered).any()


def test_soft_maps_leave_out_invalid_neighbors():
    """Half a pixel to the right: the middle averages 0.2 and an invalid 0.9, hence is 0.2 with half the weight."""
    valid = torch.tensor([[[True, False, True]]])
    soft, kept = move_soft(torch.tensor([[[[0.2, 0.9, 0.6]]]]), Geometry(shift(0.25, 0.0), (1, 3), valid))
    assert soft[0, 0, 0].tolist() == pytest.approx([0.2, 0.2, 0.6])
    assert kept[0, 0].tolist() == [True, False, True]


def test_soft_maps_keep_identity_rows_exact_beside_others():
    soft = torch.rand(2, 2, 9, 7)
    matrix = torch.cat([torch.eye(3, dtype=torch.float64)[None], rotation(10.0, (9, 7))])
    moved, valid = move_soft(soft, Geometry(matrix, (9, 7)))
    assert torch.equal(moved[0], soft[0])
    assert valid[0].all()
    assert not torch.equal(moved[1], soft[1])


def test_soft_maps_do_not_change_under_autocast():
    soft, geometry = torch.rand(1, 2, 64, 64), Geometry(rotation(17.0, (64, 64)), (64, 64))
    expected = move_soft(soft, geometry)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(move_soft(soft, geometry)[0], expected)


def test_points_by_hand():
    points = torch.tensor([[[0.0, 0.0], [79.0, 5.0], [79.4, 5.0]]])
    moved, visible = move_points(points, Geometry(shift(-0.5, 2.0) @ flip(80), (48, 80)))
    assert moved[0, 0].tolist() == [78.5, 2.0]
    assert moved[0, 1].tolist() == [-0.5, 7.0]
    assert visible.tolist() == [[True, True, False]]


def test_points_on_padding_are_not_visible():
    valid = torch.ones(1, 4, 6, dtype=torch.bool)
    valid[:, :, 4:] = False
    points = torch.tensor([[[3.0, 1.0], [4.0, 1.0], [9.0, 1.0]]])
    _, visible = move_points(points, Geometry(shift(-4.0, 0.0), (4, 6), valid))
    assert visible.tolist() == [[False, False, False]]
    _, visible = move_points(points, Geometry(shift(-3.0, 0.0), (4, 6), valid))
    assert visible.tolist() == [[True, False, False]]


def test_between_carries_what_the_source_view_saw():
    """A pixel that is padding in the weak view must not teach the strong view, wherever it lands."""
    size = (8, 8)
    weak = Geometry(shift(3, 0), size)
    weak = Geometry(weak.matrix, size, seen(weak))
    strong = Geometry(flip(8), size)
    moved = move_labels(torch.ones(1, *size, dtype=torch.long), between(weak, strong))
    columns = (moved[0, 0] == 1).tolist()
    assert columns == [False, False, False, True, True, True, True, True]


def test_moving_once_by_the_product_is_moving_a_label_map_of_the_source():
    size = (30, 41)
    weak = Geometry(shift(4, -5) @ flip(41), size)
    weak = Geometry(weak.matrix, size, seen(weak))
    strong = Geometry(rotation(15.0, size), size)
    source = labels_of(size)
    through = move_labels(move_labels(source, Geometry(weak.matrix, size)), between(weak, strong))
    direct = move_labels(source, strong)
    kept = through != 255
    assert (through != direct)[kept].float().mean() < 3e-3  # float32 may decide a tie
    assert kept.float().mean() > 0.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6).filter(lambda m: abs(m[0] * m[4] - m[1] * m[3]) > 0.05))
def test_inverse_undoes_every_affine_map(entries):
    matrix = affine(entries[:3], entries[3:])
    assert torch.allclose(inverse(matrix) @ matrix, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(inverse(matrix), torch.linalg.inv(matrix), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    x=st.integers(-9, 9),
    y=st.integers(-9, 9),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    mirror=st.booleans(),
)
def test_whole_pixel_moves_come_back_exactly(x, y, height, width, mirror):
    size = (height, width)
    there = Geometry(shift(x, y) @ (flip(width) if mirror else torch.eye(3, dtype=torch.float64)), size)
    labels = labels_of(size)
    seen = move_labels(labels, there)
    back = move_labels(seen, between(there, Geometry(torch.eye(3, dtype=torch.float64)[None], size)))
    kept = back != 255
    assert torch.equal(back[kept], labels[kept])
    assert kept.sum() == max(height - abs(y), 0) * max(width - abs(x), 0)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 3), st.floats(-50, 50), st.floats(-180, 180))
def test_between_equal_views_nothing_moves(scale, x, degrees):
    """Exactly: a pseudo-box at the border of both must not be taken for one that moved."""
    zoom = torch.diag(torch.tensor([scale, scale, 1.0], dtype=torch.float64))[None]
    view = Geometry(shift(x, -x) @ zoom @ rotation(degrees, (9, 7)), (9, 7))
    assert between(view, view).is_identity.all()


def test_rows_select_matrix_and_validity_together():
    valid = torch.zeros(3, 2, 2, dtype=torch.bool)
    valid[2] = True
    geometry = Geometry(torch.cat([shift(i, 0) for i in range(3)]), (2, 2), valid).to("cpu")
    picked = geometry.rows(torch.tensor([2, 0]))
    assert picked.matrix[:, 0, 2].tolist() == [2, 0]
    assert picked.valid.flatten(1).all(1).tolist() == [True, False]
    assert geometry.is_identity.tolist() == [True, False, False]
    assert len(geometry.rows(torch.tensor([], dtype=torch.long))) == 0


def test_no_rows_are_fine():
    geometry = Geometry(torch.empty(0, 3, 3, dtype=torch.float64), (5, 6), torch.empty(0, 4, 3, dtype=torch.bool))
    assert move_labels(torch.empty(0, 4, 3, dtype=torch.long), geometry).shape == (0, 5, 6)
    soft, valid = move_soft(torch.empty(0, 2, 4, 3), geometry)
    assert (soft.shape, valid.shape) == ((0, 2, 5, 6), (0, 5, 6))
    assert between(geometry, geometry).matrix.shape == (0, 3, 3)


def test_mismatched_rows_and_sizes_are_refused_in_a_sentence():
    geometry = Geometry(shift(1, 1), (4, 4), torch.ones(1, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"2 rows .* geometry of 1: select the same rows"):
        move_labels(torch.zeros(2, 4, 4, dtype=torch.long), geometry)
    with pytest.raises(ValueError, match=r"maps of \(8, 8\) pixels .* \(4, 4\)"):
        move_weights(torch.zeros(1, 8, 8), geometry)


def test_maps_of_another_size_than_the_view_do_not_move_out_of_it():
    """A head's own resolution is the mistake to expect."""
    eye = torch.eye(3, dtype=torch.float64)[None]
    moved = between(Geometry(eye, (32, 32)), Geometry(flip(32), (32, 32)))
    with pytest.raises(ValueError, match=r"maps of \(8, 8\) pixels can't move out of a view or a canvas of \(32, 32\)"):
        move_labels(torch.zeros(1, 8, 8, dtype=torch.long), moved)


def test_points_that_are_no_numbers_are_not_visible():
    geometry = Geometry(shift(0, 0), (4, 4), torch.ones(1, 4, 4, dtype=torch.bool))
    points = torch.tensor([[[float("nan"), 1.0], [float("inf"), 1.0], [1.0, 1.0]]])
    assert move_points(points, geometry)[1].tolist() == [[False, False, True]]
