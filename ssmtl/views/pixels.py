"""Filters of brightness: what they do to a pixel depends on its neighbors, or on where it is.

Every row comes out the same alone or in company, bit by bit: there is no sum whose order depends on the batch, and
nothing waits for the device.
"""

import math
from functools import cache
from typing import ClassVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int16, Int64, UInt8
from pydantic import Field, FiniteFloat
from torch import Tensor
from torch.nn.functional import pad

from ssmtl.views.transform import Drawn, Filter, Graded, Images, Real, Size, Uniform, Values

CENTER, TOTAL = 5, 13
"""Weight of the center, and sum of all, of Pillow's 3x3 SMOOTH kernel, which is 1 elsewhere."""
REACH = 3.0
"""Standard deviations after which a Gaussian kernel ends; what is lost is 0.7 levels at most."""
WEIGHT_BITS, FRACTION_BITS = 13, 3
"""Weights are whole 2^-13ths and levels between the two passes whole 2^-3rds: with the 8 bits of a level, all sums are
exact in the 24 bits of float32, in whatever order a convolution adds them up."""
SEED_BITS = 53
"""Bits of a number drawn in [0, 1), all of which go into a seed."""
GOLDEN, FIRST, SECOND, STRIDE = (
    word - (1 << 64) for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD1342543DE82EF95)
)
LANES, LANE_LEVELS = 4, 1 << 16
"""A word of 64 bits makes four numbers, each one of 65536 quantiles."""


@final
class Sharpness(Graded, Filter):
    """Move away from a 3x3 smoothing by a factor, as Pillow's `ImageEnhance.Sharpness`; outermost pixels stay."""

    unit: ClassVar[str] = "factor, 1 changes nothing"
    kornia: ClassVar[str] = "RandomSharpness"
    limits: ClassVar[tuple[float, float]] = (0, 10)

    low: FiniteFloat = Field(default=0.1, kw_only=False)
    high: FiniteFloat = Field(default=1.9, kw_only=False)

    def apply(self, images: Images, values: Values, real: Bool[Tensor, "m h w"] | None) -> Images:
        changed = images.clone()
        if min(images.shape[-2:]) < 3:
            return changed
        levels = images.to(torch.int16)
        across = (levels[..., :-2] + levels[..., 1:-1]).add_(levels[..., 2:])
        around = (across[..., :-2, :] + across[..., 1:-1, :]).add_(across[..., 2:, :])
        inner = levels[..., 1:-1, 1:-1]
        # A whole number over 13 is at least 1/26 away from where rounding turns, so float32 rounds as integers would.
        smooth = around.add_(inner, alpha=CENTER - 1).float().mul_(1 / TOTAL).round_()
        sharp = blend_levels(smooth, inner, values[:, 0])
        if real is not None:
            # `where` on bytes is many times slower than exchanging them bit by bit.
            sharp ^= (sharp ^ images[..., 1:-1, 1:-1]) * ~_surrounded(real)[:, None]
        changed[..., 1:-1, 1:-1] = sharp
        return changed


@final
class GaussianBlur(Graded, Filter):
    """Average with Gaussian weights of 3 standard deviations of `high` at least, mirrored at the canvas' edges.

    The outermost pixels are not repeated, as in Kornia's "reflect". Where images end before the canvas does, the
    weights of the pixels that are there are scaled up to 1 (normalized convolution, Knutsson and Westin 1993).
    """

    unit: ClassVar[str] = "standard deviation in pixels"
    kornia: ClassVar[str] = "RandomGaussianBlur"
    limits: ClassVar[tuple[float, float]] = (0, 32)

    low: FiniteFloat = Field(default=0.1, kw_only=False)
    high: FiniteFloat = Field(default=2.0, kw_only=False)

    def apply(self, images: Images, values: Values, real: Bool[Tensor, "m h w"] | None) -> Images:
        if not len(images):
            return images
        if real is None and images.shape[:2] == (1, 1):
            # A convolution of one plane isn't depthwise to PyTorch, and may run in TF32 on a GPU, which isn't exact.
            real = torch.ones_like(images[:, 0], dtype=torch.bool)
        weights = gaussian_weights(values[:, 0], math.ceil(REACH * self.high))
        levels = images.to(torch.int16).float()
        if real is None:
            return _averaged(levels, weights).round_().to(torch.uint8)
        there = real[:, None]
        sums = _averaged(torch.cat([levels.mul_(there), 255.0 * there], 1), weights)
        # What a white image comes to: no sum exceeds it, and where all pixels are real it is 255 exactly.
        share = sums[:, -1:].clamp(min=0.5 ** (WEIGHT_BITS + FRACTION_BITS))
        return (sums[:, :-1] * (255 / share)).round_().to(torch.uint8)


@final
class GaussianNoise(Graded, Filter):
    """Add independent normal noise to every level, and round.

    A pixel's noise is a pure function of its row's seed and its place in the row, the same on every device: 16 bits of
    a splitmix64 stream (Steele, Lea, Flood 2014) look up a quantile of the normal distribution, which ends at 4.3
    standard deviations. (A logarithm and a cosine, as in Box-Muller, may differ in their last bit between devices, and
    between the places of a number in a batch.)
    """

    unit: ClassVar[str] = "standard deviation as a share of the range of levels, 0.05 is 12.75 of 255"
    kornia: ClassVar[str] = "RandomGaussianNoise"
    numbers: ClassVar[int] = 3
    limits: ClassVar[tuple[float, float]] = (0, 1)

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=0.05, kw_only=False)

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return the standard deviation, and the seed of the row's noise as a number in [0, 1)."""
        return np.concatenate([super().draw(uniform, size, real), uniform[:, 2:3]], 1)

    def apply(self, images: Images, values: Values, real: Bool[Tensor, "m h w"] | None) -> Images:
        seeds = (values[:, 1] * 2.0**SEED_BITS).to(torch.int64)
        noise = standard_normal(seeds, math.prod(images.shape[1:])).view_as(images)
        spread = (255 * values[:, 0]).float()[:, None, None, None]
        return noise.mul_(spread).add_(images.to(torch.int16)).round_().clamp_(0, 255).to(torch.uint8)


def blend_levels(
    toward: Float32[Tensor, "m #c h w"], levels: Int16[Tensor, "m c h w"], factor: Float64[Tensor, " m"]
) -> UInt8[Tensor, "m c h w"]:
    """Move levels (0 to 255) away from `toward` by a factor a row, truncated to whole levels, as Pillow blends."""
    factors = factor.float()[:, None, None, None]
    blended = levels.float().sub_(toward).mul_(factors).add_(toward).clamp_(0, 255)
    return blended.to(torch.int16).to(torch.uint8)  # faster than in one step, which doesn't vectorize


def gaussian_weights(sigmas: Float64[Tensor, " m"], radius: int) -> Float32[Tensor, "m taps"]:
    """Return weights of pixels from -radius to radius, in whole 8192ths that sum to 1, for sigmas of 0 pixels or more.

    None is negative for radii up to 96 and sigmas up to 32.
    """
    away = torch.arange(-radius, radius + 1, device=sigmas.device)
    # Below 0.01, neighbors weigh nothing in float64 either.
    weights = torch.exp(-0.5 * (away / sigmas.clamp(min=0.01)[:, None]) ** 2)
    parts = (weights / weights.sum(1, keepdim=True) * (1 << WEIGHT_BITS)).round_()
    parts[:, radius] += (1 << WEIGHT_BITS) - parts.sum(1)
    return (parts * 0.5**WEIGHT_BITS).float()


def standard_normal(seeds: Int64[Tensor, " m"], count: int) -> Float32[Tensor, "m count"]:
    """Return `count` independent standard normal numbers for each seed: the first ones are the same for any count."""
    words = splitmix64(seeds)[:, None] + STRIDE * torch.arange(-(-count // LANES), device=seeds.device)
    lanes = splitmix64(words).view(torch.int16)[:, :count].to(torch.int32)
    return _quantiles(seeds.device).index_select(0, lanes.flatten() + LANE_LEVELS // 2).view(len(seeds), count)


def splitmix64(x: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Mix 64-bit counters as `ssmtl.keyed.splitmix64` does, with the bits of unsigned numbers in signed ones."""
    z = x + GOLDEN
    z = (z ^ _shifted(z, 30)).mul_(FIRST)
    z = (z ^ _shifted(z, 27)).mul_(SECOND)
    return z ^ _shifted(z, 31)


def _shifted(x: Int64[Tensor, "..."], bits: int) -> Int64[Tensor, "..."]:
    """Shift to the right and fill with zeros: PyTorch's own shift fills with the sign."""
    return (x >> bits).bitwise_and_((1 << 64 - bits) - 1)


@cache
def _quantiles(device: torch.device) -> Float32[Tensor, " levels"]:
    """Return the normal distribution's quantiles in the middle of 65536 equal shares."""
    shares = (torch.arange(LANE_LEVELS, dtype=torch.float64) + 0.5) / LANE_LEVELS
    return torch.special.ndtri(shares).float().to(device)


def _averaged(levels: Float32[Tensor, "m c h w"], weights: Float32[Tensor, "m taps"]) -> Float32[Tensor, "m c h w"]:
    """Average along columns, then along rows, exactly; what lies between is rounded to `FRACTION_BITS`."""
    (rows, channels, _, width), radius = levels.shape, weights.shape[1] // 2
    kernels = weights[:, None].expand(-1, channels, -1).flatten(0, 1)[:, None]
    planes = _mirrored(levels, radius).view(1, rows * channels, -1, width + 2 * radius)
    planes = torch.conv2d(planes, kernels[..., None], groups=len(kernels))
    planes = planes.mul_(1 << FRACTION_BITS).round_().mul_(0.5**FRACTION_BITS)
    return torch.conv2d(planes, kernels[..., None, :], groups=len(kernels)).view_as(levels)


def _mirrored(levels: Float32[Tensor, "m c h w"], radius: int) -> Float32[Tensor, "m c H W"]:
    """Pad with reflections that don't repeat the outermost pixels; as many as it takes to fill `radius`."""
    if radius < min(levels.shape[-2:]):
        return pad(levels, (radius,) * 4, mode="reflect")
    for dim in (2, 3):
        last = levels.shape[dim] - 1
        place = torch.arange(-radius, last + 1 + radius, device=levels.device) % max(2 * last, 1)
        levels = levels.index_select(dim, torch.minimum(place, 2 * last - place).clamp(min=0))
    return levels


def _surrounded(real: Bool[Tensor, "m h w"]) -> Bool[Tensor, "m h-2 w-2"]:
    """Return which inner pixels are real and have real pixels above, below, left and right."""
    inner = real[:, 1:-1, 1:-1]
    return inner & real[:, :-2, 1:-1] & real[:, 2:, 1:-1] & real[:, 1:-1, :-2] & real[:, 1:-1, 2:]
