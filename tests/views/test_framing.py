"""Crops: matrices by hand and by Kornia, what they draw, and small images on large canvases."""

import re

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from warping import images_of, kornia_matrix, numbers_of, outside, sampled, shift, show

from ssmtl.errors import RecipeError
from ssmtl.views.framing import RandomResizedCrop, ReflectCrop, ScaleCrop
from ssmtl.views.geometry import Geometry
from ssmtl.views.moving import move_labels
from ssmtl.views.policy import Policy
from ssmtl.views.render import render

SIZES = [(32, 32), (24, 37), (33, 21)]
ROWS = np.arange(400)


def drawn(op, rows, size, real=None, seed=0):
    """Parameters for so many rows, and their matrices."""
    real = np.tile(np.array([size]), (rows, 1)) if real is None else np.array(real)
    values = torch.from_numpy(op.draw(numbers_of(op, rows, seed), size, real))
    return values, op.matrix(values, size)


def seen_through(policy, images, sizes=None, seed=0):
    """Render a policy's draw of the images, whose true (height, width) may be less than their canvas."""
    real = None if sizes is None else torch.tensor(sizes)
    draw = policy.sample(seed, np.arange(len(images)), tuple(images.shape[-2:]), shared=seed, real=real)
    return render(images, draw), draw


def resized_crop(left, top, wide, high, view):
    """Kornia's matrix for bringing parts of an image, in pixel edges, to a view of a size.

    With `align_corners=False` Kornia scales edges, as ssmtl does. Its default scales the centers of the outermost
    pixels, which is off by up to (s - 1) / 2 pixels at zoom s.
    """
    low, far = torch.stack([left, top], 1), torch.stack([left + wide - 1, top + high - 1], 1)
    part = torch.stack([low, torch.stack([far[:, 0], low[:, 1]], 1), far, torch.stack([low[:, 0], far[:, 1]], 1)], 1)
    right, bottom = view[1] - 1.0, view[0] - 1.0
    whole = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64)
    augmentation = K.RandomResizedCrop(view, align_corners=False, p=1.0)
    return kornia_matrix(augmentation, len(part), view, src=part, dst=whole.expand_as(part))


CROPS = {
    "RandomResizedCrop": (RandomResizedCrop((20, 27)), lambda v, view: resized_crop(*v.unbind(1), view)),
    "ScaleCrop": (
        ScaleCrop((20, 27), scale=(0.5, 2)),
        lambda v, view: resized_crop(v[:, 1] / v[:, 0], v[:, 2] / v[:, 0], view[1] / v[:, 0], view[0] / v[:, 0], view),
    ),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", sorted(CROPS))
def test_crops_are_kornias(name, size, dtype, channels):
    op, kornias = CROPS[name]
    view_size = op.view_size(size)
    values, matrix = drawn(op, 8, size)
    assert (matrix - kornias(values, view_size)).abs().max() < 1e-6
    images = images_of(8, channels, size)
    images = images if dtype == torch.uint8 else images / 255
    view = show(images, matrix, view_size)
    expected, covered = sampled(images, matrix, view_size)
    assert covered.float().mean() > 0.2
    assert (view.image - expected)[covered].abs().max() < 1e-5
    assert not view.image.movedim(1, -1)[outside(matrix, view_size, size)].any()


@pytest.mark.parametrize("size", SIZES)
def test_reflect_crop_is_kornias_random_crop(size):
    """Matrix and pixels: padding by reflection doesn't repeat the outermost pixels."""
    op, (height, width) = ReflectCrop(pad=0.125), size
    most_x, most_y = round(width / 8), round(height / 8)
    values, matrix = drawn(op, 20, size)
    left, top = most_x - values[:, 0], most_y - values[:, 1]
    corners = torch.tensor([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=torch.float64)
    crop = K.RandomCrop(size, padding=(most_x, most_y), padding_mode="reflect", p=1.0)
    source = corners + torch.stack([left, top], 1)[:, None]
    expected = kornia_matrix(crop, 20, size, src=source, dst=corners.expand(20, 4, 2))
    assert (matrix - expected).abs().max() < 1e-6
    images = images_of(20, 3, size)
    policy = Policy(always=(op,))
    view, draw = seen_through(policy, images)
    padded = torch.nn.functional.pad(images.float(), (most_x, most_x, most_y, most_y), mode="reflect")
    for row, (x, y) in enumerate(draw.geometry.matrix[:, :2, 2].long().tolist()):
        part = padded[row, :, most_y - y : most_y - y + height, most_x - x : most_x - x + width]
        assert torch.equal(view.image[row], part / 255)


def test_reflect_crop_reaches_every_shift_and_no_other():
    values, _ = drawn(ReflectCrop(pad=0.125), 2000, (16, 64))
    assert values[:, 0].unique().tolist() == list(range(-8, 9))
    assert values[:, 1].unique().tolist() == list(range(-2, 3))
    assert values[:, 1].long().add(2).bincount().min() > 320
    ends = torch.from_numpy(ReflectCrop().draw(np.array([[0.0, 0.9999]]), (256, 256), np.array([[256, 256]])))
    assert ends.tolist() == [[-32, 32]]


def test_mirrored_pixels_are_image_and_never_valid():
    images = images_of(12, 1, (16, 24))
    view, draw = seen_through(Policy(always=(ReflectCrop(pad=0.5),)), images)
    assert (view.image > 0).all()
    for row, (x, y) in enumerate(draw.geometry.matrix[:, :2, 2].long().tolist()):
        expected = torch.zeros(16, 24, dtype=torch.bool)
        expected[max(y, 0) : 16 + min(y, 0), max(x, 0) : 24 + min(x, 0)] = True
        assert torch.equal(view.valid[row], expected)


def test_scale_2_by_hand():
    """x' = 2 x + 1/2 - left: the edges 3 and 5 of the enlarged image are 1.5 and 2.5 of the image."""
    matrix = ScaleCrop((4, 4)).matrix(torch.tensor([[2.0, 3, 1]], dtype=torch.float64), (4, 4))
    assert matrix.tolist() == [[[2, 0, -2.5], [0, 2, -0.5], [0, 0, 1]]]
    images = torch.tensor([[[[0, 100, 200, 40]]]], dtype=torch.uint8).expand(1, 1, 4, 4)
    view = show(images, matrix, (4, 4))
    across = [125, 175, 160, 80]  # bilinear, at 1.25, 1.75, 2.25 and 2.75
    assert (view.image[0, 0] * 255 - torch.tensor(across)).abs().max() < 1e-4
    labels = move_labels(torch.tensor([[[0, 1, 2, 3]] * 4]), Geometry(matrix, (4, 4)))
    assert labels.tolist() == [[[1, 2, 2, 3]] * 4]


def test_a_view_at_half_the_scale_gives_every_pixel_its_share():
    """At factor 1/2 each pixel is the mean of the four that it covers."""
    images = images_of(1, 3, (8, 12))
    matrix = ScaleCrop((4, 6)).matrix(torch.tensor([[0.5, 0, 0]], dtype=torch.float64), (8, 12))
    view = show(images, matrix, (4, 6))
    expected = torch.nn.functional.avg_pool2d(images.double() / 255, 2)
    assert (view.image - expected).abs().max() < 1e-6


def test_scale_1_is_a_slice_bit_by_bit():
    images = images_of(30, 3, (24, 37))
    view, draw = seen_through(Policy(always=(ScaleCrop((16, 20)),)), images)
    assert view.valid.all()
    for row, (x, y) in enumerate((-draw.geometry.matrix[:, :2, 2]).long().tolist()):
        assert torch.equal(view.image[row], images[row, :, y : y + 16, x : x + 20] / 255)
        assert 0 <= x <= 17
        assert 0 <= y <= 8


def test_small_images_lie_anywhere_on_black():
    images = images_of(60, 3, (6, 9))
    view, draw = seen_through(Policy(always=(ScaleCrop((8, 12)),)), images)
    places = draw.geometry.matrix[:, :2, 2].long()
    assert set(places[:, 0].tolist()) == {0, 1, 2, 3}
    assert set(places[:, 1].tolist()) == {0, 1, 2}
    for row, (x, y) in enumerate(places.tolist()):
        expected = torch.zeros(3, 8, 12)
        expected[:, y : y + 6, x : x + 9] = images[row] / 255
        assert torch.equal(view.image[row], expected)
        assert torch.equal(view.valid[row], expected[0] > 0)


def test_the_longer_side_is_cut_and_the_shorter_one_padded():
    images = images_of(60, 1, (6, 20))
    view, draw = seen_through(Policy(always=(ScaleCrop((10, 12)),)), images)
    for row, (x, y) in enumerate(draw.geometry.matrix[:, :2, 2].long().tolist()):
        expected = torch.zeros(1, 10, 12)
        expected[:, y : y + 6] = images[row, :, :, -x : 12 - x] / 255
        assert -8 <= x <= 0 <= y <= 4
        assert torch.equal(view.image[row], expected)


def test_rows_know_their_own_size_on_the_canvas():
    """Images of different sizes, in the corner of one canvas: cuts lie on them, as far as they reach."""
    sizes = [(10, 20), (16, 9), (16, 20), (4, 4)] * 15
    images = images_of(60, 3, (16, 20))
    view, draw = seen_through(Policy(always=(ScaleCrop((8, 8)),)), images, sizes)
    for row, (x, y) in enumerate(draw.geometry.matrix[:, :2, 2].long().tolist()):
        height, width = sizes[row]
        fits = torch.zeros(8, 8, dtype=torch.bool)
        fits[max(y, 0) : height + y, max(x, 0) : width + x] = True
        assert fits.sum() == min(height, 8) * min(width, 8)
        assert torch.equal(view.valid[row], fits)
        alone = show(images[row : row + 1, :, :height, :width], shift(x, y), (8, 8))
        assert torch.equal(view.image[row][:, fits], alone.image[0][:, fits])


def test_sizes_count_once_scaled():
    """40 x 30 of a 50 x 60 canvas at factor 1.5 is 60 x 45: within the crop of 48 x 48 it is padded by 3 columns."""
    values, _ = drawn(ScaleCrop((48, 48), scale=(1.5, 1.5)), 300, (50, 60), [(40, 30)] * 300)
    assert values[:, 0].unique().tolist() == [1.5]
    assert values[:, 1].unique().tolist() == [-3, -2, -1, 0]
    assert values[:, 2].unique().tolist() == list(range(13))


def test_scales_are_uniform_and_every_place_is_reached():
    values, _ = drawn(ScaleCrop((20, 30), scale=(0.5, 2)), 4000, (40, 60))
    scale, left, top = values.unbind(1)
    bins = ((scale - 0.5) / 1.5 * 10).long()
    assert bins.bincount(minlength=10).min() > 330
    assert bins.max() == 9
    assert torch.equal(values[:, 1:], values[:, 1:].round())
    assert (left >= 0).all()
    assert (left <= (scale * 60).round() - 30).all()
    assert (top <= (scale * 40).round() - 20).all()
    values, _ = drawn(ScaleCrop((36, 50)), 4000, (40, 60))
    assert values[:, 1].long().bincount().shape == (11,)
    assert values[:, 1].long().bincount().min() > 280
    assert values[:, 2].long().bincount().shape == (5,)


def test_a_crop_without_a_size_keeps_the_size():
    for op in (ScaleCrop(scale=(0.5, 2)), RandomResizedCrop(), ReflectCrop()):
        assert op.view_size((24, 37)) == (24, 37)
        assert Policy(always=(op,)).sample(0, ROWS[:3], (24, 37)).geometry.size == (24, 37)
    assert Policy(always=(ScaleCrop((16, 20)), ReflectCrop())).view_size((24, 37)) == (16, 20)


@pytest.mark.parametrize("size", SIZES)
def test_the_whole_image_at_its_size_is_the_image(size):
    op = RandomResizedCrop(area=(1, 1), ratio=(size[1] / size[0],) * 2)
    images = images_of(5, 3, size)
    view, draw = seen_through(Policy(always=(op,)), images)
    assert draw.geometry.is_identity.all()
    assert torch.equal(view.image, images / 255)
    assert view.valid.all()


def test_resized_crops_fill_the_canvas():
    """All of the view is image, and its corners are the corners of the part: pixel edges, not centers."""
    values, matrix = drawn(RandomResizedCrop((20, 27)), 500, (33, 21))
    left, top, wide, high = values.unbind(1)
    for start, side, most, axis, canvas in ((left, wide, 21, 0, 27), (top, high, 33, 1, 20)):
        assert (start >= 0).all()
        assert (start + side <= most).all()
        edges = matrix[:, axis, axis] * (start - 0.5) + matrix[:, axis, 2] + 0.5
        assert edges.abs().max() < 1e-9
        edges = matrix[:, axis, axis] * (start + side - 0.5) + matrix[:, axis, 2] + 0.5
        assert (edges - canvas).abs().max() < 1e-9
    view = show(images_of(500, 1, (33, 21)), matrix, (20, 27))
    assert view.valid.all()
    assert (view.image > 0).all()


def test_areas_are_uniform_and_ratios_log_uniform():
    values, _ = drawn(RandomResizedCrop(area=(0.1, 0.4), ratio=(0.5, 2)), 5000, (1000, 1000))
    share = values[:, 2:].prod(1) / 1e6
    assert share.min() > 0.0995
    assert share.max() < 0.4005
    assert ((share - 0.1) / 0.03).long().clamp(0, 9).bincount().min() > 420
    logs = torch.log2(values[:, 2] / values[:, 3])
    assert logs.abs().max() < 1.005
    assert ((logs + 1) / 0.2).long().clamp(0, 9).bincount().min() > 420


def test_parts_are_shares_of_the_real_image():
    values, _ = drawn(RandomResizedCrop(area=(0.25, 0.25), ratio=(1, 1)), 300, (64, 64), [(32, 16)] * 300)
    assert values[:, 2:].unique().tolist() == [11]  # round(sqrt(0.25 * 32 * 16))
    assert values[:, 0].unique().tolist() == list(range(6))
    assert values[:, 1].unique().tolist() == list(range(22))


def test_parts_wider_than_the_image_are_as_wide_as_it():
    values, _ = drawn(RandomResizedCrop(area=(1, 1), ratio=(4, 4)), 5, (30, 40))
    assert values.tolist() == [[0, top, 40, 17] for top in values[:, 1].tolist()]


@pytest.mark.parametrize("op", [ScaleCrop((5, 7)), RandomResizedCrop((5, 7)), ReflectCrop()])
def test_no_rows_one_pixel_and_one_row(op):
    for rows, size in ((0, (9, 12)), (1, (9, 12)), (2, (1, 1)), (3, (1, 9))):
        view, _ = seen_through(Policy(always=(op,)), images_of(rows, 3, size))
        expected = op.view_size(size)
        assert view.image.shape == (rows, 3, *expected)
        assert bool(view.valid.flatten(1).any(1).all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScaleCrop((8, 8), scale=(2, 0.5)), "scale=(2.0, 0.5) is empty: give the smaller factor first"),
        (lambda: ScaleCrop((0, 8)), "greater than or equal to 1"),
        (lambda: ScaleCrop(scale=(0, 1)), "greater than 0"),
        (lambda: ScaleCrop(scale=(1, 17)), "less than or equal to 16"),
        (lambda: ScaleCrop(pad="reflect"), "'black' or 'none'"),
        (
            lambda: ScaleCrop(pad="none", follow="overlapping"),
            "may leave the image, and pad='none' forbids it",
        ),
        (lambda: ScaleCrop(crop=3), "ScaleCrop has no field 'crop'"),
        (lambda: RandomResizedCrop(area=(0.5, 0.2)), "area=(0.5, 0.2) is empty: give the smaller number first"),
        (lambda: RandomResizedCrop(ratio=(2, 1)), "ratio=(2, 1) is empty: give the smaller number first"),
        (lambda: RandomResizedCrop(area=(0.5, 2)), "area up to 2 is more than the image; 1 is all of it"),
        (lambda: RandomResizedCrop(follow="overlapping"), "RandomResizedCrop follows the weak view as 'same' or 'any'"),
        (lambda: ReflectCrop(follow="overlapping"), "ReflectCrop follows the weak view as 'same' or 'any'"),
        (lambda: ReflectCrop(pad=0.6), "less than or equal to 0.5"),
        (lambda: Policy(pool=(ScaleCrop(),), num_ops=1), "ScaleCrop happens once a view, before or after the pool"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        make()


def test_a_crop_that_may_not_pad_has_to_fit():
    op = ScaleCrop((32, 32), scale=(0.5, 2), pad="none")
    assert op.view_size((64, 64)) == (32, 32)
    with pytest.raises(RecipeError, match=r"cuts \(32, 32\).* out of images that are \(32, 30\) at the smallest scale"):
        op.view_size((64, 60))
    with pytest.raises(RecipeError, match="cut less, scale less, or pad='black'"):
        Policy(always=(op,)).view_size((63, 60))


def test_a_crop_that_may_not_pad_knows_each_image():
    op = ScaleCrop((32, 32), pad="none")
    draw = Policy(always=(op,)).sample(0, ROWS[:2], (64, 64), real=torch.tensor([[32, 40], [64, 32]]))
    assert (draw.geometry.matrix[0, 1, 2], draw.geometry.matrix[1, 0, 2]) == (0, 0)
    with pytest.raises(RecipeError, match=r"cuts \(32, 32\).* out of images that are \(31, 64\) at the smallest scale"):
        Policy(always=(op,)).sample(0, ROWS[:2], (64, 64), real=torch.tensor([[64, 64], [31, 64]]))


@pytest.mark.parametrize("op", [ScaleCrop((16, 16), p=0.5), RandomResizedCrop((16, 16), p=0.5)])
def test_images_of_a_batch_have_one_size(op):
    assert op.view_size((16, 16)) == (16, 16)
    with pytest.raises(RecipeError, match=rf"{op.kind} brings images of \(32, 32\).* set p=1 instead of p=0.5"):
        Policy(always=(op,)).view_size((32, 32))
    assert Policy(always=(op.replace(size=None),)).view_size((32, 32)) == (32, 32)
