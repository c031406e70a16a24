"""Moving pixels, in one resampling, and blanking them.

Rows that only flip, turn by quarters or shift by whole pixels are copied, bit by bit; the others are sampled
bilinearly. Which rows go where is read off the draw, which is on the CPU, so that nothing waits for the device.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Float64, Int64, Num
from torch import Tensor

from ssmtl.views.geometry import inverse, upload
from ssmtl.views.policy import Cut, Draw
from ssmtl.views.resample import Outside, bilinear, copy, covers, is_whole, shown, swapped
from ssmtl.views.retouch import slices

STILL, FLIPPED, SHIFTED, TURNED, SAMPLED = range(5)
FEW = 32


def move(
    images: Num[Tensor, "n c h w"], sizes: Int64[Tensor, "n 2"], draw: Draw
) -> tuple[Float[Tensor, "n c H W"], Bool[Tensor, "n H W"]]:
    """Return moved images in [0, 1], black outside of canvas and mirrored frame, and which pixels show the images.

    `sizes`, on the CPU, are the (height, width) of the images on their canvases.
    """
    moves = _Moves(sizes, draw)
    device, size = images.device, draw.geometry.size
    image = torch.empty((*images.shape[:2], *size), device=device)
    valid = torch.ones((len(images), *size), dtype=torch.bool, device=device)
    for rows, way in moves.groups(device):
        everything = len(rows) == len(images)
        place = slice(None) if everything else slice(int(rows[0]), int(rows[-1]) + 1)
        if everything or len(rows) == int(rows[-1]) - int(rows[0]) + 1:
            moves.run(images[place], rows, way, image[place], valid[place])
            continue
        index = upload(rows, device)
        part = torch.empty((len(rows), *image.shape[1:]), device=device)
        shows = torch.ones((len(rows), *size), dtype=torch.bool, device=device)
        moves.run(images[index], rows, way, part, shows)
        image.index_copy_(0, index, part)
        valid.index_copy_(0, index, shows)
    return image, valid


class _Moves:
    """How every row moves, planned on the CPU."""

    def __init__(self, sizes: Int64[Tensor, "n 2"], draw: Draw) -> None:
        self.size, self.canvas, self.sizes = draw.geometry.size, draw.canvas, sizes
        self.back = inverse(draw.geometry.matrix)
        self.ways = _ways(self.back, self.size, self.canvas)
        self.filled = covers(self.back, self.size, self.canvas)
        self.whole = (sizes == torch.tensor(self.canvas)).all(1)
        self.outside: Outside = "border"
        self.to_frame: Float64[Tensor, "n 3 3"] | None = None
        self.framed = self.filled
        if draw.framed is not None:
            self.outside, self.to_frame = "reflection", draw.framed @ self.back
            self.framed = self.filled | covers(self.to_frame, self.size, self.canvas)

    def groups(self, device: torch.device) -> Iterator[tuple[Int64[Tensor, " m"], int]]:
        """Yield rows that move alike, a few at a time on the CPU."""
        for some in slices(len(self.ways), self.size[0] * self.size[1], device):
            ways = self.ways[some]
            for way in sorted(set(ways.tolist())):
                yield torch.nonzero(ways == way)[:, 0] + some.start, way

    def run(
        self,
        images: Num[Tensor, "m c h w"],
        rows: Int64[Tensor, " m"],
        way: int,
        image: Float[Tensor, "m c H W"],
        valid: Bool[Tensor, "m H W"],
    ) -> None:
        """Fill in `image` and `valid`, which is all true, for rows that move alike."""
        back = self.back[rows]
        if way == SAMPLED:
            source = images.float().div_(255) if images.dtype == torch.uint8 else images.float()
            torch.clamp(bilinear(source, back, self.size, self.outside), 0, 1, out=image)
        else:
            if way == FLIPPED:
                images = images.flip(-1)
            elif way == TURNED:
                images = copy(images.mT, swapped(back), self.size, self.outside)
            elif way == SHIFTED:
                images = copy(images, back, self.size, self.outside)
            _to_float(images, image)
        filled, whole = bool(self.filled[rows].all()), bool(self.whole[rows].all())
        if not (filled and whole):
            valid.copy_(shown(self.sizes[rows], back, self.size, valid.device))
        if not bool(self.framed[rows].all()):
            canvas = torch.tensor([self.canvas]).expand(len(rows), 2)
            there = valid if whole else shown(canvas, back, self.size, valid.device)
            if self.to_frame is not None:
                there = there | shown(canvas, self.to_frame[rows], self.size, valid.device)
            image.mul_(there[:, None])


def _ways(back: Float64[Tensor, "n 3 3"], size: tuple[int, int], canvas: tuple[int, int]) -> Int64[Tensor, " n"]:
    ways = torch.where(is_whole(back), SHIFTED, torch.where(is_whole(swapped(back)), TURNED, SAMPLED))
    if size == canvas:
        still = torch.eye(3, dtype=torch.float64)
        flip = torch.tensor([[-1.0, 0, size[1] - 1], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
        for way, matrix in ((STILL, still), (FLIPPED, flip)):
            ways = torch.where((back == matrix).flatten(1).all(1), way, ways)
    return ways


def _to_float(images: Num[Tensor, "n c h w"], out: Float[Tensor, "n c h w"]) -> None:
    if images.dtype == torch.uint8:
        torch.div(images, 255, out=out)
    else:
        out.copy_(images)


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
        image.copy_(torch.where(blank[:, None], one.op.fill, image))
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
