"""Filters against Pillow, torchvision, SciPy and Kornia, and against numbers by hand."""

import kornia.enhance
import kornia.filters
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageEnhance
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from torchvision.transforms.v2.functional import adjust_hue

from ssmtl.views.color import ORDERS, ColorJitter, Grayscale, Hue, Saturation
from ssmtl.views.levels import Contrast
from ssmtl.views.pixels import GaussianBlur, GaussianNoise, Sharpness, gaussian_weights

SIZES = [(37, 51), (64, 32), (3, 3), (2, 9), (1, 1)]
FILTERS = [
    (Sharpness(), [0.1, 1.0, 1.9]),
    (GaussianBlur(), [0.1, 0.8, 2.0]),
    (GaussianNoise(), [0.05, 0.01, 0.2]),
    (Saturation(), [0.1, 1.0, 1.9]),
    (Hue(), [-0.1, 0.03, 0.5]),
    (Grayscale(), [0.0, 0.0, 0.0]),
]
EVERY = pytest.mark.parametrize(("op", "drawn"), FILTERS, ids=lambda part: getattr(part, "kind", ""))


def picture(channels=3, size=(37, 51), seed=0):
    """A smooth picture with noise, unlike in its channels, that touches both ends of the range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / 20
    planes = [120 + 90 * np.sin(3 * x + c) + 50 * y + rng.normal(0, 8 + 19 * c, size) for c in range(channels)]
    return np.clip(np.stack(planes), 0, 255).astype(np.uint8)


def batch(rows=3, channels=3, size=(37, 51)):
    return torch.from_numpy(np.stack([picture(channels, size, seed) for seed in range(3)]))[:rows]


def values(drawn):
    """Values of a row each; the second number, a seed, is for those that take one."""
    return torch.tensor([[value, 0.1 + 0.2 * row] for row, value in enumerate(drawn)], dtype=torch.float64)


def applied(op, image, value, real=None):
    """Apply an op to one image of levels (c, h, w), in NumPy."""
    return op.apply(torch.from_numpy(image)[None], values([value]), real)[0].numpy()


def as_pillow(image):
    return Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, -1))


def from_pillow(image):
    levels = np.asarray(image)
    return levels[None] if levels.ndim == 2 else np.moveaxis(levels, -1, 0)


def differences(result, expected):
    assert result.shape == expected.shape
    return np.abs(result.astype(int) - expected.astype(int))


def top_left(rows, size, sides):
    y, x = torch.arange(size[0])[:, None], torch.arange(size[1])
    return torch.stack([(y < height) & (x < width) for height, width in sides[:rows]])


@EVERY
def test_rows_do_not_see_each_other(op, drawn):
    """A row comes out the same alone, in another order, and beside rows drawn from another range."""
    images, numbers = batch(), values(drawn)
    together = op.apply(images, numbers, None)
    for row in range(3):
        alone = op.apply(images[row : row + 1], numbers[row : row + 1], None)
        assert torch.equal(alone[0], together[row])
    assert torch.equal(op.apply(images.flip(0), numbers.flip(0), None), together.flip(0))


@EVERY
def test_padding_never_shows(op, drawn):
    """Other levels where there is no image leave all real pixels as they are; the input is not written to."""
    images, numbers = batch(), values(drawn)
    real = top_left(3, (37, 51), [(37, 40), (20, 51), (11, 13)])
    painted = torch.where(real[:, None], images, 255 - images)
    before = painted.clone()
    assert not ((op.apply(images, numbers, real) != op.apply(painted, numbers, real)) & real[:, None]).any()
    assert torch.equal(painted, before)


@EVERY
def test_all_real_is_no_padding(op, drawn):
    images, numbers = batch(), values(drawn)
    real = torch.ones(3, 37, 51, dtype=torch.bool)
    assert torch.equal(op.apply(images, numbers, real), op.apply(images, numbers, None))


@EVERY
@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_stays(op, drawn, rows, size):
    images, numbers = batch(rows, size=size), values(drawn)[:rows]
    for real in (None, torch.ones(rows, *size, dtype=torch.bool)):
        result = op.apply(images, numbers, real)
        assert (result.shape, result.dtype) == (images.shape, torch.uint8)


@EVERY
def test_nothing_waits_for_the_device(op, drawn):
    """A tensor on the meta device has no numbers that anything could wait for."""
    images, numbers = batch().to("meta"), values(drawn).to("meta")
    for real in (None, torch.ones(3, 37, 51, dtype=torch.bool, device="meta")):
        result = op.apply(images, numbers, real)
        assert (result.device.type, result.shape, result.dtype) == ("meta", images.shape, torch.uint8)


@pytest.mark.parametrize(
    ("op", "value"),
    [(Sharpness(), 1.0), (Saturation(), 1.0), (Hue(), 0.0), (GaussianBlur(), 0.0), (GaussianNoise(), 0.0)],
    ids=lambda part: getattr(part, "kind", ""),
)
def test_the_neutral_value_changes_nothing(op, value):
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (3, 90, 81), dtype=np.uint8)
    assert np.array_equal(applied(op, image, value), image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 1.0, 1.37, 1.9, 10.0])
def test_sharpness_is_pillows(value, size, channels):
    image = picture(channels, size)
    expected = from_pillow(ImageEnhance.Sharpness(as_pillow(image)).enhance(value))
    difference = differences(applied(Sharpness(), image, value), expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.uint8, (1, 5, 4)))
def test_smoothing_rounds_as_whole_numbers_do(image):
    """At factor 0 only the smoothing is left: weights 5 and 1, over 13, rounded."""
    wide = image.astype(int)
    sums = sum(wide[0, y : y + 3, x : x + 2] for y in range(3) for x in range(3)) + 4 * wide[0, 1:4, 1:3]
    result = applied(Sharpness(), image, 0.0)
    assert np.array_equal(result[0, 1:4, 1:3], (2 * sums + 13) // 26)
    assert np.array_equal(result[0, [0, -1]], image[0, [0, -1]])
    assert np.array_equal(result[0][:, [0, -1]], image[0][:, [0, -1]])


def test_sharpness_keeps_the_outermost_real_pixels():
    """As if the image ended there: what Pillow makes of the real part alone."""
    image = picture()
    real = top_left(1, (37, 51), [(20, 33)])
    expected = from_pillow(ImageEnhance.Sharpness(as_pillow(image[:, :20, :33])).enhance(1.9))
    assert differences(applied(Sharpness(), image, 1.9, real)[:, :20, :33], expected).max() <= 1
    assert np.array_equal(applied(Sharpness(), image, 1.9, real)[:, 19, :33], image[:, 19, :33])


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 1.0, 1.37, 1.9, 10.0])
@pytest.mark.parametrize("size", SIZES)
def test_saturation_is_pillows_color(value, size):
    image = picture(size=size)
    expected = from_pillow(ImageEnhance.Color(as_pillow(image)).enhance(value))
    result = applied(Saturation(), image, value)
    assert differences(result, expected).max() <= 1
    assert (differences(result, expected) > 0).mean() < 0.01


@pytest.mark.parametrize("value", [0.1, 1.0, 1.9])
def test_saturation_is_kornias(value):
    image = picture()
    expected = kornia.enhance.adjust_saturation_with_gray_subtraction(torch.from_numpy(image)[None] / 255, value)
    result = applied(Saturation(), image, value)
    assert differences(result, (255 * expected[0]).round().numpy()).max() <= 1


def test_gray_is_pillows_on_a_grid_of_all_colors():
    steps = np.arange(0, 256, 3, dtype=np.uint8)
    image = np.stack(np.meshgrid(steps, steps, steps)).reshape(3, len(steps), -1)
    expected = np.asarray(as_pillow(image).convert("L"))
    result = applied(Grayscale(), image, 0.0)
    assert all(np.array_equal(channel, expected) for channel in result)


@pytest.mark.parametrize("value", [-0.5, -0.31, -0.1, 0.0, 0.05, 1 / 3, 0.5])
def test_hue_is_torchvisions(value):
    steps = np.array([0, 1, 2, 60, 61, 127, 128, 200, 254, 255], dtype=np.uint8)
    image = np.concatenate([np.stack(np.meshgrid(steps, steps, steps)).reshape(3, 10, 100), picture(size=(10, 77))], 2)
    expected = adjust_hue(torch.from_numpy(image), value).numpy()
    assert differences(applied(Hue(), image, value), expected).max() <= 1


def test_hue_by_hand():
    """Red, orange, gray: a third of a turn makes green, spring green, gray; half a turn cyan, azure, gray."""
    image = np.array([[200, 200, 70], [0, 100, 70], [0, 0, 70]], dtype=np.uint8)[:, None]
    assert applied(Hue(), image, 1 / 3)[:, 0].T.tolist() == [[0, 200, 0], [0, 200, 100], [70, 70, 70]]
    assert applied(Hue(), image, 0.5)[:, 0].T.tolist() == [[0, 200, 200], [0, 100, 200], [70, 70, 70]]
    assert applied(Hue(), image, -1 / 3)[:, 0].T.tolist() == [[0, 0, 200], [100, 0, 200], [70, 70, 70]]


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.uint8, (3, 4, 3)), st.floats(-0.5, 0.5))
def test_hue_keeps_the_extremes_and_turns_back(image, value):
    turned = applied(Hue(), image, value)
    assert np.array_equal(turned.max(0), image.max(0))
    assert np.array_equal(turned.min(0), image.min(0))
    # A whole level of the middle channel is all that rounding loses, both ways.
    assert differences(applied(Hue(), turned, -value), image).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("value", "high"), [(0.1, 2.0), (0.5, 2.0), (1.3, 2.0), (2.0, 2.0), (2.0, 9.0), (9.0, 9.0)])
def test_blur_is_scipys(value, high, size, channels):
    image = picture(channels, size)
    expected = gaussian_filter(image.astype(float), value, axes=(1, 2), mode="mirror")
    assert differences(applied(GaussianBlur(0.1, high), image, value), expected.round()).max() <= 1


@pytest.mark.parametrize("value", [0.5, 2.0, 32.0])
def test_blur_of_an_edge_is_scipys(value):
    """The hardest case, black beside white, is within a level too."""
    image = np.zeros((1, 260, 300), np.uint8)
    image[:, 100:, 170:] = 255
    expected = gaussian_filter(image.astype(float), value, axes=(1, 2), mode="mirror", truncate=6)
    assert differences(applied(GaussianBlur(0, value), image, value), expected.round()).max() <= 1


def test_blur_is_kornias():
    images, sigmas = batch(), torch.tensor([0.4, 1.1, 2.0], dtype=torch.float64)
    expected = kornia.filters.gaussian_blur2d(images.double() / 255, (21, 21), sigmas[:, None].expand(3, 2))
    result = GaussianBlur().apply(images, sigmas[:, None], None)
    assert differences(result.numpy(), (255 * expected).round().numpy()).max() <= 1


@pytest.mark.parametrize("high", [0.0, 0.3, 2.0, 9.9, 32.0])
def test_weights_are_whole_parts_of_one(high):
    radius = int(np.ceil(3 * high))
    parts = 8192 * gaussian_weights(torch.linspace(0, high, 301, dtype=torch.float64), radius).double()
    assert torch.equal(parts, parts.round())
    assert (parts.sum(1) == 8192).all()
    assert (parts >= 0).all()
    assert torch.equal(parts, parts.flip(1))
    assert parts[0].tolist() == [0.0] * radius + [8192.0] + [0.0] * radius


def test_blur_sums_exactly():
    """Bit by bit what whole numbers give, so that no order of summing, batch or device can matter."""
    image, sigma = picture(), 1.7
    parts = (8192 * gaussian_weights(torch.tensor([sigma], dtype=torch.float64), 6)[0].numpy()).astype(int)
    wide = np.pad(image.astype(int), [(0, 0), (6, 6), (6, 6)], mode="reflect")
    down = sum(part * wide[:, shift : shift + 37] for shift, part in enumerate(parts))
    eighths = np.round(down / 1024).astype(int)
    across = sum(part * eighths[:, :, shift : shift + 51] for shift, part in enumerate(parts))
    assert np.array_equal(applied(GaussianBlur(), image, sigma), np.round(across / 65536))


def test_blur_of_padded_images_is_a_weighted_mean_of_what_is_there():
    image, sigma = picture(), 1.5
    real = top_left(1, (37, 51), [(20, 33)])
    there = real[0].numpy().astype(float)
    sums = gaussian_filter(image * there, sigma, axes=(1, 2), mode="mirror")
    expected = sums / np.maximum(gaussian_filter(there, sigma, mode="mirror"), 1e-9)
    result = applied(GaussianBlur(), image, sigma, real)
    assert differences(result, expected.round())[:, :20, :33].max() <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 255), st.floats(0, 2), st.integers(1, 12), st.integers(1, 12))
def test_blur_leaves_flat_images_flat(level, sigma, height, width):
    """Also those that end before their canvas does."""
    image = np.full((1, 12, 12), level, np.uint8)
    real = top_left(1, (12, 12), [(height, width)])
    assert (applied(GaussianBlur(), image, sigma) == level).all()
    assert (applied(GaussianBlur(), image, sigma, real)[:, :height, :width] == level).all()


def test_hue_is_drawn_either_way():
    drawn = Hue(0.1, 0.3).draw(np.array([[0.5, 0.4], [0.5, 0.6]]), (4, 4), np.full((2, 2), 4))
    assert np.allclose(drawn, [[-0.2], [0.2]])


def drawn_jitter(op, uniform):
    return torch.from_numpy(op.draw(np.array(uniform), (37, 51), np.full((len(uniform), 2), 51)))


def test_jitter_draws_values_and_one_of_24_orders():
    op = ColorJitter(brightness=(0.5, 1.5), contrast=(1, 2), saturation=(0, 1), hue=(-0.5, 0.3))
    drawn = drawn_jitter(op, [[0, 0.5, 0.25, 1, 0], [0.5, 1, 0, 0, 1 - 2**-53]])
    assert np.allclose(drawn, [[0.5, 1.5, 0.25, 0.3, 0], [1, 2, 0, -0.5, 23]])
    assert len({tuple(order) for order in ORDERS.tolist()}) == 24


def test_jitter_applies_every_step_once_in_the_drawn_order():
    uniform = np.random.default_rng(1).random((50, 5))
    drawn = drawn_jitter(ColorJitter(), uniform)
    rows = torch.arange(100, 150)
    seen = {row: [] for row in rows.tolist()}
    for stage in ColorJitter().stages(rows, drawn):
        for row, value in zip(stage.rows.tolist(), stage.values[:, 0].tolist(), strict=True):
            seen[row].append((stage.op.kind, value))
    kinds = ("Brightness", "Contrast", "Saturation", "Hue")
    for steps, numbers in zip(seen.values(), drawn.tolist(), strict=True):
        assert steps == [(kinds[which], numbers[which]) for which in ORDERS[int(numbers[4])]]


def test_jitter_leaves_out_what_changes_nothing():
    op = ColorJitter(brightness=(1, 1), saturation=(1, 1), hue=(0, 0))
    stages = list(op.stages(torch.arange(9), drawn_jitter(op, np.random.default_rng(0).random((9, 5)))))
    assert {type(stage.op) for stage in stages} == {Contrast}
    assert sorted(row for stage in stages for row in stage.rows.tolist()) == list(range(9))


def test_jitter_reads_back():
    op = ColorJitter(hue=(-0.2, 0.3), p=0.8)
    assert ColorJitter.model_validate_json(op.model_dump_json()) == op
    assert op.names == ("ColorJitter",)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: Sharpness(1.9, 0.1), r"low=1.9 is above high=0.1: give the smaller factor, 1 changes nothing first"),
        (lambda: Saturation(-0.5, 1), r"\(-0.5, 1\) leaves the range of Saturation, 0 to 10"),
        (lambda: Hue(-0.1, 0.1), r"\(-0.1, 0.1\) leaves the range of Hue, 0 to 0.5 \(turns\)"),
        (lambda: GaussianBlur(0, 100), r"\(0, 100\) leaves the range of GaussianBlur, 0 to 32 \(standard deviation"),
        (lambda: GaussianNoise(0, 12.75), r"\(0, 12.75\) leaves the range of GaussianNoise, 0 to 1 \(standard dev"),
        (lambda: ColorJitter(contrast=(2, 1)), r"contrast=\(2, 1\) is empty: give the smaller number first"),
        (lambda: ColorJitter(hue=(-0.6, 0)), r"hue=\(-0.6, 0\) leaves its range, -0.5 to 0.5 \(turns\): narrow it"),
        (lambda: ColorJitter(brightness=(-1, 1)), r"brightness=\(-1, 1\) leaves its range, 0 to 10 \(factor, 1"),
        (lambda: ColorJitter(saturation=(0, float("nan"))), "should be a finite number"),
    ],
)
def test_bad_ranges_are_refused(build, sentence):
    with pytest.raises(ValidationError, match=sentence):
        build()


@pytest.mark.parametrize("op", [Saturation(), Hue(), Grayscale()], ids=lambda op: op.kind)
def test_gray_images_have_no_color_to_change(op):
    with pytest.raises(ValueError, match=rf"{op.kind} needs images of 3 channels, got 1: leave it out for gray images"):
        op.apply(batch(1, channels=1), values([0.1]), None)
