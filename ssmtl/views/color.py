"""Filters of color: a pixel's new channels depend on its old ones, and on no other pixel."""

from collections.abc import Iterable
from itertools import permutations
from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from pydantic import Field, FiniteFloat, model_validator
from torch import Tensor

from ssmtl.views.levels import Brightness, Contrast
from ssmtl.views.pixels import blend_levels
from ssmtl.views.transform import (
    Drawn,
    Filter,
    Graded,
    Images,
    Photometric,
    Pointwise,
    Real,
    Size,
    Stage,
    Uniform,
    Values,
)

Range: TypeAlias = tuple[FiniteFloat, FiniteFloat]

RED, GREEN, BLUE = 19595, 38470, 7471
"""Weights of ITU-R 601-2 in 65536ths, as Pillow has them."""


@final
class Grayscale(Filter):
    """Show the gray of a color image in all three channels, as Pillow's `convert("L")` has it."""

    kornia: ClassVar[str] = "RandomGrayscale"
    color: ClassVar[bool] = True

    def apply(self, images: Images, values: Values, real: Bool[Tensor, "m h w"] | None) -> Images:
        return _gray(_channels(self, images)).to(torch.uint8).repeat(1, 3, 1, 1)


@final
class Saturation(Graded, Filter):
    """Move colors away from their gray by a factor, as Pillow's `ImageEnhance.Color`."""

    unit: ClassVar[str] = "factor, 1 changes nothing"
    kornia: ClassVar[str] = "adjust_saturation_with_gray_subtraction"
    color: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0, 10)

    low: FiniteFloat = Field(default=0.1, kw_only=False)
    high: FiniteFloat = Field(default=1.9, kw_only=False)

    def apply(self, images: Images, values: Values, real: Bool[Tensor, "m h w"] | None) -> Images:
        levels = _channels(self, images)
        return blend_levels(_gray(levels), levels, values[:, 0])


@final
class Hue(Graded, Filter):
    """Turn colors around the hue circle, either way, and keep the largest and the smallest channel (HSV, Smith 1978).

    A third of a turn makes red green, and green blue.
    """

    unit: ClassVar[str] = "turns"
    kornia: ClassVar[str] = "RandomHue"
    color: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0, 0.5)
    signed: ClassVar[bool] = True

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=0.1, kw_only=False)

    def apply(self, images: Images, values: Values, real: Bool[Tensor, "m h w"] | None) -> Images:
        red, green, blue = _channels(self, images).float().unbind(1)
        most = torch.maximum(torch.maximum(red, green), blue)
        chroma = most - torch.minimum(torch.minimum(red, green), blue)
        hue = _sixths(red, green, blue, most, chroma) + (6 * values[:, 0]).float()[:, None, None]
        # A channel is largest up to a sixth of a turn from its color (0 red, 2 green, 4 blue), smallest from two on.
        peaks = 2.0 * torch.arange(3, device=images.device)[:, None, None]
        away = hue[:, None] - peaks
        away.sub_((away / 6).round_().mul_(6)).abs_()
        drop = away.sub_(1).clamp_(0, 1).mul_(chroma[:, None])
        return (most[:, None] - drop).round_().to(torch.uint8)


STEPS: tuple[Graded, ...] = (Brightness(), Contrast(), Saturation(), Hue())
NEUTRAL = (1.0, 1.0, 1.0, 0.0)
"""The steps of a color jitter, and the value at which each changes nothing."""
ORDERS = torch.tensor(list(permutations(range(len(STEPS)))))


@final
class ColorJitter(Photometric):
    """Change brightness, contrast, saturation and hue, in an order of its own for every image (Howard 2013).

    Factors and turns are uniform in their ranges. The steps are `Brightness`, `Contrast`, `Saturation` and `Hue`, each
    rounded to whole levels.
    """

    unit: ClassVar[str] = "three factors, of which 1 changes nothing, and turns of hue"
    kornia: ClassVar[str] = "ColorJitter"
    color: ClassVar[bool] = True
    numbers: ClassVar[int] = 5

    brightness: Range = (0.6, 1.4)
    contrast: Range = (0.6, 1.4)
    saturation: Range = (0.6, 1.4)
    hue: Range = (-0.1, 0.1)

    @model_validator(mode="after")
    def _in_order(self) -> "ColorJitter":
        for step, (low, high) in zip(STEPS, self._ranges(), strict=True):
            name, (least, most) = step.kind.lower(), step.limits
            least = -most if step.signed else least
            if low > high:
                raise ValueError(f"{name}=({low:g}, {high:g}) is empty: give the smaller number first")
            if low < least or high > most:
                raise ValueError(
                    f"{name}=({low:g}, {high:g}) leaves its range, {least:g} to {most:g} ({step.unit}): narrow it"
                )
        return self

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return the four values, and the number of the order that they come in."""
        low, high = np.array(self._ranges()).T
        order = np.floor(uniform[:, 4:5] * len(ORDERS))
        return np.concatenate([low + (high - low) * uniform[:, :4], order], 1)

    def stages(self, rows: Int64[Tensor, " m"], values: Values) -> Iterable[Stage]:
        orders = ORDERS[values[:, 4].to(torch.int64)]
        for now in orders.unbind(1):
            for which, (step, neutral) in enumerate(zip(STEPS, NEUTRAL, strict=True)):
                drawn = values[:, which]
                chosen = (now == which) & (drawn != neutral)
                if bool(chosen.any()):
                    assert isinstance(step, Pointwise | Filter)
                    yield Stage(step, rows[chosen], drawn[chosen, None])

    def _ranges(self) -> tuple[Range, Range, Range, Range]:
        return self.brightness, self.contrast, self.saturation, self.hue


def _channels(op: Filter, images: Images) -> Tensor:
    """Return levels as int16; raises ValueError for images that have other than three channels."""
    if images.shape[1] != 3:
        raise ValueError(f"{op.kind} needs images of 3 channels, got {images.shape[1]}: leave it out for gray images")
    return images.to(torch.int16)


def _gray(levels: Tensor) -> Float32[Tensor, "m 1 h w"]:
    """Round as Pillow's integers do: no sum here exceeds 2^24, so float32 is exact."""
    red, green, blue = levels.float().split(1, 1)
    total = (red * RED).add_(green, alpha=GREEN).add_(blue, alpha=BLUE)
    return total.add_(1 << 15).mul_(2.0**-16).floor_()


def _sixths(red: Tensor, green: Tensor, blue: Tensor, most: Tensor, chroma: Tensor) -> Float32[Tensor, "m h w"]:
    """Return hues in sixths of a turn from red, on the way to green; 0 for grays."""
    span = chroma.clamp(min=1)
    near_red, near_green, near_blue = (green - blue) / span, (blue - red) / span + 2, (red - green) / span + 4
    return torch.where(most == red, near_red, torch.where(most == green, near_green, near_blue))
