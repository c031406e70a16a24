"""Every transform that a view may apply, one entry each in OPS: its name, its range, and what it does.

The names are the vocabulary in which tasks declare their symmetries; `kornia` names the counterpart there, a class of
`kornia.augmentation` or, where those mean something else by the word, a function of `kornia.enhance`.
Photometric ops follow Pillow on 8-bit levels (rounding included), geometric ops follow Kornia's matrices: source pixel
centers to view pixel centers, about the center of the canvas.

Magnitudes come from levels v between 1 and 9 out of 10, as in FixMatch's RandAugment in its common PyTorch port, which
MultiMix uses (Sohn et al. 2020; Haque et al. 2021). To add an op, add an entry.
"""

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias, final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from kornia.geometry.transform import get_rotation_matrix2d, get_shear_matrix2d
from torch import Tensor

from ssmtl.errors import RecipeError, nearest

Numbers: TypeAlias = Float64[np.ndarray, " n"]
Matrices: TypeAlias = Float64[Tensor, "n 3 3"]
Size: TypeAlias = tuple[int, int]
Values: TypeAlias = Float64[Tensor, " n"]
Table: TypeAlias = Int64[Tensor, "n c 256"]
Counts: TypeAlias = Callable[[], Int64[Tensor, "n c 256"]]

SMOOTH_CENTER, SMOOTH_SUM = 5, 13
GRAY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Op(ABC):
    """What all ops share: a name, and what does the nearest thing in Kornia (empty: nothing)."""

    name: str
    kornia: str


@dataclass(frozen=True, kw_only=True)
class Graded(Op, ABC):
    """An op with a magnitude, which RandAugment can put into its pool.

    `magnitude` turns levels into values of `unit`; a `signed` op applies it in a random direction.
    """

    unit: str
    magnitude: Callable[[Numbers], Numbers]
    signed: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class Pointwise(Graded):
    """A new level for each of the 256 levels of a channel.

    `table(values, counts)` returns it per row; channels may be left to broadcast. `counts()` is the histogram of the
    real pixels of the current image, computed only when asked for.
    """

    table: Callable[[Values, Counts], Table]


@final
@dataclass(frozen=True, kw_only=True)
class Filter(Graded):
    """A function of pixels and their neighbors: `apply(images, values, real)`, rows first."""

    apply: Callable[[UInt8[Tensor, "n c h w"], Values, Bool[Tensor, "n h w"]], UInt8[Tensor, "n c h w"]]


@final
@dataclass(frozen=True, kw_only=True)
class Warp(Graded):
    """An affine map about the center of the canvas; what comes in from outside is black."""

    matrix: Callable[[Values, Size], Matrices]


@final
@dataclass(frozen=True, kw_only=True)
class Framing(Op):
    """Which part of the image the view shows, mirrored at the edges: tried first, with its own `probability`.

    `matrix(uniform, pad, size)` takes two uniform numbers a row and the largest shift as a fraction of each side.
    """

    probability: float
    matrix: Callable[[Float64[np.ndarray, "n 2"], float, Size], Matrices]


def _unused(level: Numbers) -> Numbers:
    return np.zeros_like(level)


def _factor(level: Numbers) -> Numbers:
    return 0.09 * level + 0.05


def _blend(toward: Tensor, levels: Tensor, factor: Tensor) -> Tensor:
    """Move `levels` away from `toward` by a factor, in float32 and truncated to whole levels, as Pillow blends."""
    return (toward + factor.float() * (levels - toward)).clamp(0, 255).to(torch.int64)


def _ramp(values: Values) -> Table:
    return torch.arange(256, device=values.device).expand(len(values), 1, 256)


def _identity(values: Values, _counts: Counts) -> Table:
    return _ramp(values)


def _brightness(values: Values, _counts: Counts) -> Table:
    ramp = _ramp(values)
    return _blend(torch.zeros_like(ramp), ramp, values[:, None, None])


def _posterize(values: Values, _counts: Counts) -> Table:
    lost = 8 - values.to(torch.int64)[:, None, None]
    return (_ramp(values) >> lost) << lost


def _solarize(values: Values, _counts: Counts) -> Table:
    ramp = _ramp(values)
    return torch.where(ramp < values[:, None, None], ramp, 255 - ramp)


def _contrast(values: Values, counts: Counts) -> Table:
    """Blend with the mean of the gray image, a whole level; other than 3 channels weigh the same."""
    histogram = counts().double()
    ramp = _ramp(values)
    means = (histogram * ramp).sum(-1) / histogram.sum(-1).clamp(min=1)
    channels = means.shape[1]
    weights = GRAY if channels == len(GRAY) else (1 / channels,) * channels
    gray = sum(weight * means[:, channel] for channel, weight in enumerate(weights))
    return _blend(torch.floor(torch.as_tensor(gray) + 0.5)[:, None, None].float(), ramp, values[:, None, None])


def _autocontrast(values: Values, counts: Counts) -> Table:
    """Stretch each channel's range to 0..255; a constant channel stays as it is."""
    seen = counts() > 0
    ramp = _ramp(values)
    low = torch.where(seen, ramp, 255).amin(-1, keepdim=True)
    high = torch.where(seen, ramp, 0).amax(-1, keepdim=True)
    scale = 255.0 / (high - low).clamp(min=1).double()
    stretched = (ramp * scale - low * scale).clamp(0, 255).to(torch.int64)
    return torch.where(high > low, stretched, ramp)


def _equalize(values: Values, counts: Counts) -> Table:
    """Flatten each channel's histogram; a channel with too few pixels below its highest level stays as it is."""
    histogram = counts()
    ramp = _ramp(values)
    highest = torch.where(histogram > 0, ramp, 0).amax(-1, keepdim=True)
    step = (histogram.sum(-1, keepdim=True) - histogram.gather(-1, highest)) // 255
    below = histogram.cumsum(-1) - histogram
    flat = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, flat, ramp)


def _sharpness(
    images: UInt8[Tensor, "n c h w"], values: Values, real: Bool[Tensor, "n h w"]
) -> UInt8[Tensor, "n c h w"]:
    """Blend with a 3x3 smoothing, weight 5 in its center and 1 around; the outermost real pixels are not smoothed."""
    pixels = images.to(torch.int32)
    padded = torch.nn.functional.pad(pixels, (1, 1, 1, 1))
    height, width = images.shape[-2:]
    around = (SMOOTH_CENTER - 1) * pixels
    for dy in range(3):
        for dx in range(3):
            around = around + padded[..., dy : dy + height, dx : dx + width]
    smooth = (2 * around + SMOOTH_SUM) // (2 * SMOOTH_SUM)
    edges = torch.nn.functional.pad(real, (1, 1, 1, 1))
    inner = real & edges[:, :-2, 1:-1] & edges[:, 2:, 1:-1] & edges[:, 1:-1, :-2] & edges[:, 1:-1, 2:]
    smooth = torch.where(inner[:, None], smooth, pixels)
    return _blend(smooth.float(), pixels, values[:, None, None, None]).to(torch.uint8)


def _eye(n: int) -> Matrices:
    return torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)


def _center(values: Values, size: Size) -> Float64[Tensor, "n 2"]:
    height, width = size
    return torch.tensor([[(width - 1) / 2, (height - 1) / 2]], dtype=torch.float64).expand(len(values), 2)


def _rotate(values: Values, size: Size) -> Matrices:
    matrix = _eye(len(values))
    scale = torch.ones(len(values), 2, dtype=torch.float64)
    matrix[:, :2] = get_rotation_matrix2d(_center(values, size), values, scale)
    return matrix


def _shear_x(values: Values, size: Size) -> Matrices:
    return _shear(torch.atan(values), torch.zeros_like(values), size)


def _shear_y(values: Values, size: Size) -> Matrices:
    return _shear(torch.zeros_like(values), torch.atan(values), size)


def _shear(x: Values, y: Values, size: Size) -> Matrices:
    matrix: Matrices = get_shear_matrix2d(_center(x, size), x, y)
    return matrix


def _translate_x(values: Values, size: Size) -> Matrices:
    return _shift(torch.round(values * size[1]), torch.zeros_like(values))


def _translate_y(values: Values, size: Size) -> Matrices:
    return _shift(torch.zeros_like(values), torch.round(values * size[0]))


def _shift(x: Values, y: Values) -> Matrices:
    matrix = _eye(len(x))
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def _flip(uniform: Float64[np.ndarray, "n 2"], _pad: float, size: Size) -> Matrices:
    matrix = _eye(len(uniform))
    matrix[:, 0, 0], matrix[:, 0, 2] = -1, size[1] - 1
    return matrix


def _reflect_crop(uniform: Float64[np.ndarray, "n 2"], pad: float, size: Size) -> Matrices:
    """Shift by whole pixels, every shift up to the padding equally likely."""
    height, width = size
    most = np.array([round(pad * width), round(pad * height)])
    shift = torch.from_numpy(np.floor(uniform * (2 * most + 1)) - most)
    return _shift(shift[:, 0], shift[:, 1])


_ENTRIES: tuple[Op, ...] = (
    Framing(name="HorizontalFlip", kornia="RandomHorizontalFlip", probability=0.5, matrix=_flip),
    Framing(name="ReflectCrop", kornia="RandomCrop", probability=1.0, matrix=_reflect_crop),
    Pointwise(name="AutoContrast", kornia="RandomAutoContrast", unit="", magnitude=_unused, table=_autocontrast),
    Pointwise(
        name="Brightness", kornia="adjust_brightness_accumulative", unit="factor", magnitude=_factor, table=_brightness
    ),
    Pointwise(
        name="Contrast",
        kornia="adjust_contrast_with_mean_subtraction",
        unit="factor",
        magnitude=_factor,
        table=_contrast,
    ),
    Pointwise(name="Equalize", kornia="RandomEqualize", unit="", magnitude=_unused, table=_equalize),
    Pointwise(name="Identity", kornia="", unit="", magnitude=_unused, table=_identity),
    Pointwise(
        name="Posterize",
        kornia="RandomPosterize",
        unit="bits kept",
        magnitude=lambda level: np.floor(0.4 * level) + 4,
        table=_posterize,
    ),
    Warp(
        name="Rotate",
        kornia="RandomRotation",
        unit="degrees, positive is counterclockwise",
        magnitude=lambda level: 3 * level,
        signed=True,
        matrix=_rotate,
    ),
    Filter(name="Sharpness", kornia="RandomSharpness", unit="factor", magnitude=_factor, apply=_sharpness),
    Warp(
        name="ShearX",
        kornia="RandomShear",
        unit="pixels to the left per pixel down",
        magnitude=lambda level: 0.03 * level,
        signed=True,
        matrix=_shear_x,
    ),
    Warp(
        name="ShearY",
        kornia="RandomShear",
        unit="pixels up per pixel to the right",
        magnitude=lambda level: 0.03 * level,
        signed=True,
        matrix=_shear_y,
    ),
    Pointwise(
        name="Solarize",
        kornia="RandomSolarize",
        unit="level from which on levels are inverted",
        magnitude=lambda level: 256 - np.floor(25.6 * level),
        table=_solarize,
    ),
    Warp(
        name="TranslateX",
        kornia="RandomTranslate",
        unit="fraction of the width to the right, rounded to whole pixels",
        magnitude=lambda level: 0.03 * level,
        signed=True,
        matrix=_translate_x,
    ),
    Warp(
        name="TranslateY",
        kornia="RandomTranslate",
        unit="fraction of the height down, rounded to whole pixels",
        magnitude=lambda level: 0.03 * level,
        signed=True,
        matrix=_translate_y,
    ),
)

OPS: Mapping[str, Op] = MappingProxyType({op.name: op for op in _ENTRIES})
PHOTOMETRIC: tuple[str, ...] = tuple(op.name for op in _ENTRIES if isinstance(op, Pointwise | Filter))
"""Names of the ops that leave every pixel where it is."""
GEOMETRIC: tuple[str, ...] = tuple(op.name for op in _ENTRIES if isinstance(op, Warp | Framing))
"""Names of the ops that move pixels."""


def find(name: str) -> Op:
    """Return the op of a name; raises RecipeError with the nearest one for an unknown name."""
    if name not in OPS:
        raise RecipeError(f"there is no transform '{name}'{nearest(name, OPS)}")
    return OPS[name]
