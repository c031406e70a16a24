"""Transforms that give every level of a channel a new one: a row's chain of them is one look-up table.

They follow Pillow on 8-bit levels, rounding included. Default ranges are those of the program of Dense FixMatch
(Martí i Rabadán et al. 2022).
"""

from typing import ClassVar, final

import torch
from pydantic import Field, FiniteFloat
from torch import Tensor

from ssmtl.views.transform import Counts, Graded, Pointwise, Table, Values

GRAY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the gray of an image (ITU-R 601-2)."""


@final
class Identity(Pointwise):
    """Nothing: the op of RandAugment's pool that leaves the image alone."""

    def table(self, values: Values, counts: Counts) -> Table:
        return _ramp(values)


@final
class Invert(Pointwise):
    """Light becomes dark."""

    kornia: ClassVar[str] = "RandomInvert"

    def table(self, values: Values, counts: Counts) -> Table:
        return 255 - _ramp(values)


@final
class AutoContrast(Pointwise):
    """Stretch each channel's range to 0..255; a constant channel stays as it is."""

    kornia: ClassVar[str] = "RandomAutoContrast"

    def table(self, values: Values, counts: Counts) -> Table:
        seen, ramp = counts() > 0, _ramp(values)
        low = torch.where(seen, ramp, 255).amin(-1, keepdim=True)
        high = torch.where(seen, ramp, 0).amax(-1, keepdim=True)
        scale = 255.0 / (high - low).clamp(min=1).double()
        stretched = (ramp * scale - low * scale).clamp(0, 255).to(torch.int64)
        return torch.where(high > low, stretched, ramp)


@final
class Equalize(Pointwise):
    """Flatten each channel's histogram; a channel with too few pixels below its highest level stays as it is."""

    kornia: ClassVar[str] = "RandomEqualize"

    def table(self, values: Values, counts: Counts) -> Table:
        histogram, ramp = counts(), _ramp(values)
        highest = torch.where(histogram > 0, ramp, 0).amax(-1, keepdim=True)
        step = (histogram.sum(-1, keepdim=True) - histogram.gather(-1, highest)) // 255
        below = histogram.cumsum(-1) - histogram
        flat = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
        return torch.where(step > 0, flat, ramp)


@final
class Solarize(Graded, Pointwise):
    """Invert the levels from a threshold on; 256 inverts none."""

    unit: ClassVar[str] = "level from which on levels are inverted"
    kornia: ClassVar[str] = "RandomSolarize"
    limits: ClassVar[tuple[float, float]] = (0, 256)
    falls: ClassVar[bool] = True
    whole: ClassVar[bool] = True

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=256.0, kw_only=False)

    def table(self, values: Values, counts: Counts) -> Table:
        ramp = _ramp(values)
        return torch.where(ramp < values[:, :, None], ramp, 255 - ramp)


@final
class Posterize(Graded, Pointwise):
    """Keep the highest bits of every level; fewer than 4 destroy most images."""

    unit: ClassVar[str] = "bits kept"
    kornia: ClassVar[str] = "RandomPosterize"
    limits: ClassVar[tuple[float, float]] = (1, 8)
    whole: ClassVar[bool] = True

    low: FiniteFloat = Field(default=4.0, kw_only=False)
    high: FiniteFloat = Field(default=8.0, kw_only=False)

    def table(self, values: Values, counts: Counts) -> Table:
        lost = 8 - values.to(torch.int64)[:, :, None]
        return (_ramp(values) >> lost) << lost


@final
class Brightness(Graded, Pointwise):
    """Multiply levels by a factor."""

    unit: ClassVar[str] = "factor, 1 changes nothing"
    kornia: ClassVar[str] = "adjust_brightness_accumulative"
    limits: ClassVar[tuple[float, float]] = (0, 10)

    low: FiniteFloat = Field(default=0.1, kw_only=False)
    high: FiniteFloat = Field(default=1.9, kw_only=False)

    def table(self, values: Values, counts: Counts) -> Table:
        ramp = _ramp(values)
        return blend(torch.zeros_like(ramp), ramp, values[:, :, None])


@final
class Contrast(Graded, Pointwise):
    """Move levels away from the mean of the gray image by a factor; other than 3 channels weigh the same."""

    unit: ClassVar[str] = "factor, 1 changes nothing"
    kornia: ClassVar[str] = "adjust_contrast_with_mean_subtraction"
    limits: ClassVar[tuple[float, float]] = (0, 10)

    low: FiniteFloat = Field(default=0.1, kw_only=False)
    high: FiniteFloat = Field(default=1.9, kw_only=False)

    def table(self, values: Values, counts: Counts) -> Table:
        histogram, ramp = counts().double(), _ramp(values)
        means = (histogram * ramp).sum(-1) / histogram.sum(-1).clamp(min=1)
        channels = means.shape[1]
        weights = GRAY if channels == len(GRAY) else (1 / channels,) * channels
        gray = sum(weight * means[:, channel] for channel, weight in enumerate(weights))
        return blend(torch.floor(torch.as_tensor(gray) + 0.5)[:, None, None].float(), ramp, values[:, :, None])


def blend(toward: Tensor, levels: Tensor, factor: Tensor) -> Tensor:
    """Move `levels` away from `toward` by a factor, in float32 and truncated to whole levels, as Pillow blends."""
    return (toward + factor.float() * (levels - toward)).clamp(0, 255).to(torch.int64)


def _ramp(values: Values) -> Table:
    return torch.arange(256, device=values.device).expand(len(values), 1, 256)
