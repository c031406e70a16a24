"""Levels against Pillow: single ops, chains of them, and what counts as image."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from ssmtl.views.geometry import Geometry
from ssmtl.views.policy import Draw
from ssmtl.views.presets import POOL_MULTIMIX
from ssmtl.views.render import render
from ssmtl.views.transform import Graded, Stage, as_transform

PILLOW = {
    "AutoContrast": lambda image, value: ImageOps.autocontrast(image),
    "Brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    "Contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    "Equalize": lambda image, value: ImageOps.equalize(image),
    "Identity": lambda image, value: image,
    "Invert": lambda image, value: ImageOps.invert(image),
    "Posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "Sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
    "Solarize": lambda image, value: ImageOps.solarize(image, int(value)),
}
EXACT = {"Equalize", "Identity", "Invert", "Posterize", "Solarize"}
OPS = {op.kind: op for op in (*POOL_MULTIMIX, as_transform("Invert"))}
LEVELS = np.arange(1.0, 10.0)


def picture(channels, size=(37, 51), seed=0):
    """A smooth, low-contrast picture with noise, unlike in its channels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / 40
    planes = [70 + 40 * np.sin(3 * x + c) + 30 * y + rng.normal(0, 8 + 9 * c, size) for c in range(channels)]
    return np.clip(np.stack(planes), 12, 240).astype(np.uint8)


def pillow(image, name, value):
    before = Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, -1))
    after = np.asarray(PILLOW[name](before, value))
    return after[None] if after.ndim == 2 else np.moveaxis(after, -1, 0)


def retouched(images, *steps, sizes=None):
    """Render photometric (name, value) steps on all rows, and return levels."""
    images = torch.from_numpy(images)
    n, size = len(images), tuple(images.shape[-2:])
    eye = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
    stages = tuple(
        Stage(as_transform(name), torch.arange(n), torch.full((n, 1), value, dtype=torch.float64))
        for name, value in steps
    )
    draw = Draw(Geometry(eye, size, source_size=sizes), size, stages=stages)
    levels = render(images, draw).image * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    return levels.round().to(torch.uint8).numpy()


def values_of(name):
    op = OPS[name]
    uniform = np.stack([LEVELS / 10, np.ones(9)], 1)
    values = op.draw(uniform, (1, 1), np.ones((9, 2), dtype=np.int64))
    return sorted(set(values.ravel().tolist())) or [0.0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(PILLOW))
def test_levels_are_pillows(name, channels):
    image = picture(channels)
    for value in values_of(name):
        difference = np.abs(retouched(image[None], (name, value))[0].astype(int) - pillow(image, name, value))
        assert difference.max() <= (0 if name in EXACT else 1), value
    assert name == "Identity" or (retouched(image[None], (name, values_of(name)[0]))[0] != image).any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "chain",
    [
        [("Solarize", 103.0), ("Equalize", 0.0)],
        [("Sharpness", 0.14), ("AutoContrast", 0.0)],
        [("Posterize", 4.0), ("Sharpness", 0.5)],
        [("Brightness", 0.5), ("Contrast", 0.32), ("AutoContrast", 0.0)],
        [("Sharpness", 0.14), ("Sharpness", 0.86), ("Solarize", 52.0)],
    ],
)
def test_chains_are_pillows_chains(chain, channels):
    """Histograms are those of the image as it is by then; the 1 level of rounding may be stretched once."""
    image = expected = picture(channels)
    for name, value in chain:
        expected = pillow(expected, name, value)
    difference = np.abs(retouched(image[None], *chain)[0].astype(int) - expected)
    exact = all(name in EXACT for name, _ in chain)
    assert difference.max() <= (0 if exact else 3)
    assert (difference > 0).mean() < 0.02


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize", "Identity"])
def test_constant_channels_stay_as_they_are(name):
    image = np.stack([np.full((6, 5), 93, np.uint8), picture(1, (6, 5))[0], np.zeros((6, 5), np.uint8)])
    result = retouched(image[None], (name, 0.0))[0]
    assert np.array_equal(result, pillow(image, name, 0.0))
    assert (result[0] == 93).all()
    assert (result[2] == 0).all()


def test_equalize_clamps_when_the_top_level_is_rare():
    """300 pixels below the highest level: the step is 1 and Pillow's table runs past 255."""
    levels = np.concatenate([np.repeat(np.arange(100, 200, dtype=np.uint8), 3), np.full(1, 255, np.uint8)])
    image = np.append(levels, levels[:43]).reshape(1, 8, 43)
    assert np.array_equal(retouched(image[None], ("Equalize", 0.0))[0], pillow(image, "Equalize", 0.0))


def test_numbers_by_hand():
    image = np.array([[[[0, 10, 100, 200, 255]]]], dtype=np.uint8)
    assert retouched(image, ("Brightness", 0.5)).ravel().tolist() == [0, 5, 50, 100, 127]
    assert retouched(image, ("Solarize", 128.0)).ravel().tolist() == [0, 10, 100, 55, 0]
    assert retouched(image, ("Posterize", 4.0)).ravel().tolist() == [0, 0, 96, 192, 240]
    assert retouched(image, ("Contrast", 0.0)).ravel().tolist() == [113] * 5
    assert retouched(image[..., 1:4], ("AutoContrast", 0.0)).ravel().tolist() == [0, 120, 255]


def test_padding_neither_counts_nor_changes():
    """A film in the corner of its canvas looks as it does alone, and the canvas around it keeps its levels."""
    image = picture(3, (20, 26))
    canvas = np.zeros((3, 32, 40), np.uint8)
    canvas[:, :20, :26] = image
    for name in sorted(PILLOW):
        value = values_of(name)[0]
        result = retouched(canvas[None], (name, value), sizes=torch.tensor([[20, 26]]))[0]
        assert np.array_equal(result[:, :20, :26], retouched(image[None], (name, value))[0]), name
        assert not result[:, 20:].any()
        assert not result[:, :, 26:].any()


def test_four_channels_have_a_contrast():
    image = np.concatenate([picture(3), picture(1, seed=4)])
    mean = int(image.mean() + 0.5)
    assert np.abs(retouched(image[None], ("Contrast", 0.0))[0].astype(int) - mean).max() == 0


def test_level_maps_of_multimix():
    """Restated from the authors' program: v of 10, v in 1..9."""
    uniform = np.stack([np.array([0.1, 0.5, 0.9]), np.ones(3)], 1)
    real = np.ones((3, 2), dtype=np.int64)
    graded = [op for op in POOL_MULTIMIX if isinstance(op, Graded)]
    at = {op.kind: op.draw(uniform, (1, 1), real).ravel().tolist() for op in graded}
    for name in ("Brightness", "Contrast", "Sharpness"):
        assert at[name] == pytest.approx([0.14, 0.5, 0.86])
    assert at["Posterize"] == [4, 6, 7]
    assert at["Solarize"] == [231, 128, 26]
    assert at["Rotate"] == pytest.approx([3, 15, 27])
    for name in ("ShearX", "ShearY", "TranslateX", "TranslateY"):
        assert at[name] == pytest.approx([0.03, 0.15, 0.27])
    assert sorted(op.kind for op in graded if op.signed) == ["Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(set(PILLOW)))
def test_float_images_are_rounded_to_8_bits(name, channels):
    """A float image a little above the levels looks like the one on the levels."""
    image = torch.from_numpy(picture(channels))[None]
    op, size = OPS[name], tuple(image.shape[-2:])
    value = [op.low] if isinstance(op, Graded) else []
    stage = Stage(op, torch.arange(1), torch.tensor([value], dtype=torch.float64))
    draw = Draw(Geometry(torch.eye(3, dtype=torch.float64)[None], size), size, stages=(stage,))
    assert torch.equal(render((image + 0.3) / 255, draw).image, render(image, draw).image)
