"""Ops against Pillow (levels) and Kornia (matrices), and the table of ops itself."""

import kornia.augmentation
import kornia.enhance
import numpy as np
import pytest
import torch
from kornia.geometry.transform import warp_perspective
from PIL import Image, ImageEnhance, ImageOps

from ssmtl.errors import RecipeError
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import GEOMETRIC, OPS, PHOTOMETRIC, Filter, Framing, Graded, Warp, find
from ssmtl.views.policy import Draw, Stage
from ssmtl.views.render import render

PILLOW = {
    "AutoContrast": lambda image, value: ImageOps.autocontrast(image),
    "Brightness": lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    "Contrast": lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    "Equalize": lambda image, value: ImageOps.equalize(image),
    "Identity": lambda image, value: image,
    "Posterize": lambda image, value: ImageOps.posterize(image, int(value)),
    "Sharpness": lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
    "Solarize": lambda image, value: ImageOps.solarize(image, int(value)),
}
EXACT = {"Equalize", "Identity", "Posterize", "Solarize"}
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
        Stage(OPS[name], torch.arange(n), torch.full((n,), value, dtype=torch.float64)) for name, value in steps
    )
    sizes = torch.tensor([size] * n) if sizes is None else sizes
    levels = render(images, sizes, Draw(Geometry(eye, size), eye, stages)).image * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    return levels.round().to(torch.uint8).numpy()


def values_of(name):
    return sorted(set(OPS[name].magnitude(LEVELS).tolist()))


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
    at = {name: op.magnitude(np.array([1.0, 5.0, 9.0])).tolist() for name, op in OPS.items() if isinstance(op, Graded)}
    for name in ("Brightness", "Contrast", "Sharpness"):
        assert at[name] == pytest.approx([0.14, 0.5, 0.86])
    assert at["Posterize"] == [4, 6, 7]
    assert at["Solarize"] == [231, 128, 26]
    assert at["Rotate"] == [3, 15, 27]
    for name in ("ShearX", "ShearY", "TranslateX", "TranslateY"):
        assert at[name] == pytest.approx([0.03, 0.15, 0.27])
    assert sorted(name for name, op in OPS.items() if isinstance(op, Graded) and op.signed) == [
        "Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY",
    ]  # fmt: skip


AUGMENTATIONS = {
    "Rotate": lambda v, size: kornia.augmentation.RandomRotation((v, v), p=1.0),
    "ShearX": lambda v, size: kornia.augmentation.RandomShear((degrees(v), degrees(v), 0.0, 0.0), p=1.0),
    "ShearY": lambda v, size: kornia.augmentation.RandomShear((0.0, 0.0, degrees(v), degrees(v)), p=1.0),
    "TranslateX": lambda v, size: kornia.augmentation.RandomTranslate(translate_x=whole(v, size[1]), p=1.0),
    "TranslateY": lambda v, size: kornia.augmentation.RandomTranslate(translate_y=whole(v, size[0]), p=1.0),
    "HorizontalFlip": lambda v, size: kornia.augmentation.RandomHorizontalFlip(p=1.0),
}


def whole(fraction, side):
    return (round(fraction * side) / side,) * 2


def degrees(tangent):
    return float(np.degrees(np.arctan(tangent)))


@pytest.mark.parametrize("size", [(48, 80), (33, 33)])
@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_matrices_are_kornias(name, size):
    op = OPS[name]
    for value in op.magnitude(np.array([2.0, 9.0])) if isinstance(op, Warp) else [0.0]:
        augmentation = AUGMENTATIONS[name](float(value), size)
        pixel_free = torch.empty((), dtype=torch.float64).expand(1, 1, *size)
        params = augmentation.forward_parameters(torch.Size((1, 1, *size)))
        expected = augmentation.generate_transformation_matrix(pixel_free, params, augmentation.flags)
        if isinstance(op, Warp):
            matrix = op.matrix(torch.tensor([value]), size)
        else:
            matrix = op.matrix(np.zeros((1, 2)), 0.0, size)
        assert (matrix - expected).abs().max() < 1e-4


def test_a_rendered_rotation_is_kornias_inside():
    image = torch.from_numpy(picture(3, (64, 72)))[None]
    matrix = OPS["Rotate"].matrix(torch.tensor([27.0], dtype=torch.float64), (64, 72))
    draw = Draw(Geometry(matrix, (64, 72)), torch.eye(3, dtype=torch.float64)[None], ())
    view = render(image, torch.tensor([[64, 72]]), draw)
    expected = warp_perspective(image.double() / 255, matrix, (64, 72), align_corners=True)
    covered = warp_perspective(torch.ones_like(image).double(), matrix, (64, 72)) > 1 - 1e-9
    assert (view.image - expected)[covered].abs().max() < 1e-4
    assert (view.image[0, :, 0, 0] == 0).all()


def test_reflect_crop_reaches_every_shift_and_no_other():
    uniform = np.stack(np.meshgrid(np.linspace(0, 1, 50, endpoint=False), [0.0, 0.999]), -1).reshape(-1, 2)
    matrix = OPS["ReflectCrop"].matrix(uniform, 0.125, (16, 64))
    assert matrix[:, 0, 2].unique().tolist() == list(range(-8, 9))
    assert matrix[:, 1, 2].unique().tolist() == [-2, 2]
    assert OPS["ReflectCrop"].matrix(np.full((1, 2), 0.99), 0.125, (256, 256))[0, :2, 2].tolist() == [32, 32]


def test_names_split_into_the_two_kinds_of_symmetry():
    assert set(PHOTOMETRIC) | set(GEOMETRIC) == set(OPS)
    assert not set(PHOTOMETRIC) & set(GEOMETRIC)
    assert len(OPS) == 15
    for name in GEOMETRIC:
        assert isinstance(OPS[name], Warp | Framing)
    assert isinstance(OPS["Sharpness"], Filter)


def test_every_named_counterpart_exists_in_kornia():
    for op in OPS.values():
        assert not op.kornia or hasattr(kornia.augmentation, op.kornia) or hasattr(kornia.enhance, op.kornia), op.name


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(RecipeError, match="no transform 'Solarise'; did you mean 'Solarize'"):
        find("Solarise")
