"""Moving pixels, in one resampling, and blanking them.

Rows that only flip, turn by quarters or shift by whole pixels are copied, bit by bit; the others are sampled
bilinearly. Which rows go where is read off the draw, which is on the CPU, so that nothing waits for the device.
"""

from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64, Num
from torch import Tensor

from ssmtl.views.geometry import inverse, is_affine, upload
from ssmtl.views.policy import Cut, Draw
from ssmtl.views.resample import Outside, as_floats, bilinear, copy, covers, is_whole, shown, slide, slides, swapped

SHIFTED, TURNED, SAMPLED, PROJECTED = range(4)
FEW = 32
"""Rectangles up to which blanking one after the other beats masks of the whole batch."""
ROUNDING = 2.0**-22
"""The four weights of a bilinear sample may sum to a little more than 1; no pixel may."""


@final
class Movement:
    """How the rows of a draw move, planned on the CPU; `sizes` are the (height, width) of images on their canvases."""

    def __init__(self, draw: Draw, sizes: Int64[Tensor, "n 2"], device: torch.device) -> None:
        self.size = draw.geometry.size
        self.back = inverse(draw.geometry.matrix)
        whole, turned = is_whole(self.back), is_whole(swapped(self.back))
        sampled = np.where(is_affine(self.back), SAMPLED, PROJECTED)  # no row depends on the formula of others
        self.ways = np.where(whole, SHIFTED, np.where(turned, TURNED, sampled))
        self.outside: Outside = "border" if draw.framed is None else "reflection"
        self.covered = covers(self.back, self.size, draw.canvas)
        full = (sizes.numpy() == draw.canvas).all(1)
        self.valid: Bool[Tensor, "n H W"] | None = None
        """Which pixels show the images; None for all."""
        if not (self.covered & full).all():
            self.valid = shown(sizes, self.back, self.size, device)
        self.lit, self.filled = self.valid, self.covered
        canvas = torch.tensor([draw.canvas]).expand(len(draw), 2)
        if draw.framed is not None:
            to_frame = draw.framed @ self.back
            self.filled = self.filled | covers(to_frame, self.size, draw.canvas)
        if not self.filled.all() and not (self.valid is not None and full.all()):
            self.lit = shown(canvas, self.back, self.size, device)
        if not self.filled.all() and self.lit is not None and draw.framed is not None:
            self.lit = self.lit | shown(canvas, to_frame, self.size, device)

    def run(self, images: Num[Tensor, "m c h w"], rows: slice, image: Float[Tensor, "m c H W"]) -> None:
        """Fill in the moved images of some rows, in [0, 1], black outside of canvas and mirrored frame."""
        back, ways = self.back[rows], self.ways[rows]
        lit = None if self.lit is None or self.filled[rows].all() else self.lit[rows, None]
        kinds = sorted(set(ways.tolist()))
        if len(kinds) == 1:
            self._fill(image, images, back, kinds[0], lit, bool(self.covered[rows].all()))
            return
        order = torch.from_numpy(np.argsort(ways, kind="stable"))
        parts, start = torch.empty_like(image), 0
        for way, count in zip(*np.unique(ways, return_counts=True), strict=True):
            some = order[start : start + count]
            index, covered = upload(some, images.device), bool(self.covered[rows][some].all())
            light = None if lit is None else lit.index_select(0, index)
            part = parts[start : start + count]
            self._fill(part, images.index_select(0, index), back[some], int(way), light, covered)
            start += count
        torch.index_select(parts, 0, upload(order.argsort(), images.device), out=image)

    def _fill(
        self,
        image: Float[Tensor, "m c H W"],
        images: Num[Tensor, "m c h w"],
        back: Float64[Tensor, "m 3 3"],
        way: int,
        lit: Bool[Tensor, "m 1 H W"] | None,
        covered: bool,
    ) -> None:
        """Fill in the pixels of rows that move alike, black where they aren't `lit`; all are where `covered`."""
        top = 255 if images.dtype == torch.uint8 else 1
        if way in (SAMPLED, PROJECTED):
            moved, unit = bilinear(images.float(), back, self.size, self.outside), (1 - ROUNDING) / top
            torch.mul(moved, unit if lit is None else as_floats(lit).mul_(unit), out=image)
            return
        if way == TURNED:
            images, back = images.mT, swapped(back)
        if slides(back) and (covered or self.outside == "border"):
            if not covered:
                image.zero_()
            slide(images, back[0], image)
        else:
            image.copy_(copy(images, back, self.size, self.outside))
            if lit is not None:
                image.mul_(as_floats(lit))
        if top != 1:
            image.div_(top)


def cut(image: Float[Tensor, "n c H W"], cuts: tuple[Cut, ...]) -> Bool[Tensor, "n H W"] | None:
    """Blank rectangles in place, and return which pixels no target belongs on any more (None: all may)."""
    erased = None
    for one in cuts:
        ignore = one.op.on_target == "ignore"
        if ignore and erased is None:
            erased = torch.zeros((len(image), *image.shape[2:]), dtype=torch.bool, device=image.device)
        if len(one.rows) <= FEW:
            for row, (left, top, right, bottom) in zip(one.rows.tolist(), one.rectangles.tolist(), strict=True):
                image[row, :, top:bottom, left:right] = one.op.fill
                if ignore and erased is not None:
                    erased[row, top:bottom, left:right] = True
            continue
        blank = _blank(one, image)
        image.mul_(as_floats(~blank)[:, None]).add_(one.op.fill * as_floats(blank)[:, None])
        if ignore and erased is not None:
            erased |= blank
    return erased


def _blank(one: Cut, image: Float[Tensor, "n c H W"]) -> Bool[Tensor, "n H W"]:
    limits = torch.zeros(len(image), 4, dtype=torch.int64)
    limits[one.rows] = one.rectangles
    left, top, right, bottom = upload(limits, image.device)[..., None, None].unbind(1)
    x = torch.arange(image.shape[3], device=image.device)
    y = torch.arange(image.shape[2], device=image.device)[:, None]
    return ((x >= left) & (x < right)) & ((y >= top) & (y < bottom))
