"""Moving pixels, in one resampling, and blanking them.

Rows that only flip, turn by quarters or shift by whole pixels are copied, bit by bit; the others are sampled
bilinearly. Which rows go where is read off the draw, which is on the CPU, so that nothing waits for the device.
"""

from typing import final

import torch
from jaxtyping import Bool, Float, Float64, Int64, Num
from torch import Tensor

from ssmtl.views.geometry import inverse, is_affine, upload
from ssmtl.views.policy import Cut, Draw
from ssmtl.views.resample import Outside, bilinear, copy, covers, is_whole, shown, swapped

STILL, FLIPPED, SHIFTED, TURNED, SAMPLED, PROJECTED = range(6)
FEW = 32
ROUNDING = 2.0**-22
"""The four weights of a bilinear sample may sum to a little more than 1; no pixel may."""


@final
class Movement:
    """How the rows of a draw move, planned on the CPU; `sizes` are the (height, width) of images on their canvases."""

    def __init__(self, draw: Draw, sizes: Int64[Tensor, "n 2"], device: torch.device) -> None:
        self.size = draw.geometry.size
        self.back = inverse(draw.geometry.matrix)
        self.ways = _ways(self.back, self.size, draw.canvas)
        self.outside: Outside = "border" if draw.framed is None else "reflection"
        canvas = torch.tensor([draw.canvas]).expand(len(draw), 2)
        filled, whole = covers(self.back, self.size, draw.canvas), (sizes == canvas).all(1)
        self.valid: Bool[Tensor, "n H W"] | None = None
        """Which pixels show the images; None for all."""
        if not bool((filled & whole).all()):
            self.valid = shown(sizes, self.back, self.size, device)
        if draw.framed is not None:
            to_frame = draw.framed @ self.back
            filled = filled | covers(to_frame, self.size, draw.canvas)
        self.lit, self.filled = self.valid, filled
        if not bool(filled.all()) and not (self.valid is not None and bool(whole.all())):
            self.lit = shown(canvas, self.back, self.size, device)
        if not bool(filled.all()) and self.lit is not None and draw.framed is not None:
            self.lit = self.lit | shown(canvas, to_frame, self.size, device)

    def run(self, images: Num[Tensor, "m c h w"], rows: slice, image: Float[Tensor, "m c H W"]) -> None:
        """Fill in the moved images of some rows, in [0, 1], black outside of canvas and mirrored frame."""
        back, ways = self.back[rows], self.ways[rows]
        kinds = sorted(set(ways.tolist()))
        if len(kinds) > 1:  # few and large groups: all copies in one
            ways = torch.where(ways < SHIFTED, SHIFTED, ways)
            kinds = sorted(set(ways.tolist()))
        lit = None if self.lit is None or bool(self.filled[rows].all()) else self.lit[rows, None]
        if len(kinds) == 1:
            self._fill(image, images, back, kinds[0], lit)
            return
        for way in kinds:
            some = torch.nonzero(ways == way)[:, 0]
            index = upload(some, images.device)
            part = torch.empty((len(some), *image.shape[1:]), device=images.device)
            self._fill(part, images[index], back[some], way, None if lit is None else lit[index])
            image.index_copy_(0, index, part)

    def _fill(
        self,
        image: Float[Tensor, "m c H W"],
        images: Num[Tensor, "m c h w"],
        back: Float64[Tensor, "m 3 3"],
        way: int,
        lit: Bool[Tensor, "m 1 H W"] | None,
    ) -> None:
        """Fill in the pixels of rows that move alike, black where they aren't `lit`."""
        levels = images.dtype == torch.uint8
        if way in (SAMPLED, PROJECTED):
            images = images.float()
        elif way == FLIPPED:
            images = images.flip(-1)
        elif way == TURNED:
            images, back = images.mT, swapped(back)
        if way in (SAMPLED, PROJECTED):
            unit = (1 - ROUNDING) / 255 if levels else 1 - ROUNDING
            torch.mul(bilinear(images, back, self.size, self.outside), _dimmed(lit, unit), out=image)
            return
        moved = copy(images, back, self.size, self.outside) if way in (SHIFTED, TURNED) else images
        if levels:
            torch.div(moved, 255, out=image)
        else:
            image.copy_(moved)
        if lit is not None:
            image.mul_(lit)


def _dimmed(light: Bool[Tensor, "m 1 H W"] | None, unit: float) -> Float[Tensor, "m 1 H W"] | float:
    return unit if light is None else light * unit


def _ways(back: Float64[Tensor, "n 3 3"], size: tuple[int, int], canvas: tuple[int, int]) -> Int64[Tensor, " n"]:
    ways = torch.where(is_affine(back), SAMPLED, PROJECTED)  # a row must not depend on the formula of others
    ways = torch.where(is_whole(back), SHIFTED, torch.where(is_whole(swapped(back)), TURNED, ways))
    if size == canvas:
        still = torch.eye(3, dtype=torch.float64)
        flip = torch.tensor([[-1.0, 0, size[1] - 1], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
        for way, matrix in ((STILL, still), (FLIPPED, flip)):
            ways = torch.where((back == matrix).flatten(1).all(1), way, ways)
    return ways


def cut(
    image: Float[Tensor, "n c H W"], cuts: tuple[Cut, ...]
) -> tuple[Float[Tensor, "n c H W"], Bool[Tensor, "n H W"] | None]:
    """Blank rectangles, in place where it pays, and tell which pixels no target belongs on any more (None: all may)."""
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
        image = torch.where(blank[:, None], one.op.fill, image)
        if ignore and erased is not None:
            erased |= blank
    return image, erased


def _blank(one: Cut, image: Float[Tensor, "n c H W"]) -> Bool[Tensor, "n H W"]:
    limits = torch.zeros(len(image), 4, dtype=torch.int64)
    limits[one.rows] = one.rectangles
    left, top, right, bottom = upload(limits, image.device)[..., None, None].unbind(1)
    x = torch.arange(image.shape[3], device=image.device)
    y = torch.arange(image.shape[2], device=image.device)[:, None]
    return ((x >= left) & (x < right)) & ((y >= top) & (y < bottom))
