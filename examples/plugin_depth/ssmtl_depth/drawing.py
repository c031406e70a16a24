"""Pictures of depth: near is bright, unknown is gray, and a scale tells the meters."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from matplotlib import colormaps
from PIL import Image, ImageDraw
from ssmtl.blocks import BODY, INK, PAPER, Picture, corner, font, stack
from ssmtl.palette import IGNORED
from ssmtl.pictures import SMALLEST, from_tensor, side_by_side, to_tensor, unit_of
from torch import Tensor

from ssmtl_depth.maps import DepthMap

COLORS = "magma"
"""A map of matplotlib that grows evenly brighter, also for people who see fewer colors."""
TICKS = 5
BAR = 12


class Range(NamedTuple):
    """What the colors span, as logarithms of meters."""

    near: float
    far: float

    @classmethod
    def of(cls, log_depth: Float[Tensor, " k"]) -> "Range":
        """Return the range of some pixels, without the outermost two percent; at least a factor of 1.1."""
        near, far = log_depth.float().quantile(torch.tensor([0.02, 0.98])).tolist()
        return cls(near, max(far, near + math.log(1.1)))

    def words(self) -> str:
        """Return the range as people say it."""
        return f"{meters(self.near)} to {meters(self.far)} m"


def meters(log_depth: float) -> str:
    """Return meters with two significant digits."""
    return f"{float(f'{math.exp(log_depth):.2g}'):g}"


def paint(log_depth: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"] | None, colors: Range) -> UInt8[Tensor, "3 h w"]:
    """Return depth in color: the nearest brightest, gray where it isn't valid (None: all is)."""
    level = ((colors.far - log_depth.float().cpu()) / (colors.far - colors.near)).clamp(0, 1)
    painted = torch.from_numpy(_rgb(level.numpy())).permute(2, 0, 1)
    return painted if valid is None else torch.where(valid.cpu(), painted, painted.new_tensor(IGNORED)[:, None, None])


def draw_depth(
    image: UInt8[Tensor, "3 h w"], target: DepthMap, log_depth: Float[Tensor, "h w"] | None
) -> UInt8[Tensor, "3 _ _"]:
    """Return reference and prediction beside each other above a scale; the only one of them, or the image.

    Both have the colors of the reference's range.
    """
    known = target.trusted > 0
    if log_depth is None and not known.any():
        return image
    colors = Range.of(target.log_depth[known].cpu() if known.any() or log_depth is None else log_depth.cpu().flatten())
    reference = paint(target.log_depth, known, colors) if known.any() else None
    prediction = None if log_depth is None else paint(log_depth, None, colors)
    if reference is not None and prediction is not None:
        panels = from_tensor(side_by_side(reference, prediction, ()))
        return to_tensor(stack([panels, scale_bar(colors, panels.width, unit_of(image))], 6 * unit_of(image)))
    alone = reference if prediction is None else prediction
    assert alone is not None
    if max(alone.shape) < SMALLEST:  # words would hide it
        return alone
    return to_tensor(corner(from_tensor(alone), colors.words()))


def scale_bar(colors: Range, width: int, unit: int) -> Picture:
    """Return the colors from near to far with meters below, `width` pixels wide."""
    face, margin = font(BODY * unit), 2 * BODY * unit
    bar = Image.new("RGB", (width, (BAR + 2 * BODY) * unit), PAPER)
    length = width - 2 * margin
    stripe = _rgb(np.linspace(1, 0, length)[None].repeat(BAR * unit, axis=0))
    bar.paste(Image.fromarray(stripe), (margin, 0))
    pen = ImageDraw.Draw(bar)
    for tick in range(TICKS):
        share = tick / (TICKS - 1)
        x = margin + share * (length - 1)
        words = meters(colors.near + share * (colors.far - colors.near)) + " m"
        pen.line((x, BAR * unit, x, (BAR + 3) * unit), fill=INK, width=unit)
        pen.text((x, (BAR + 4) * unit), words, fill=INK, font=face, anchor="ma")
    return bar


def _rgb(level: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    rgba: Float[np.ndarray, "h w 4"] = colormaps[COLORS](level)
    return (rgba[..., :3] * 255).round().astype(np.uint8)
