"""From uint8 images and a draw to a view: levels by table lookup, then all movement in one resampling.

Photometric chains stay in 8 bits, as in Pillow: pointwise ops of a row compose into one table of 256 levels, looked up
once; what needs a histogram takes it through that table. Rows that only flip or shift by whole pixels are copied, bit
by bit; the others are sampled bilinearly. Which rows go where is read off the draw, which is on the CPU, so that
nothing waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import torch
from jaxtyping import Bool, Float, Float64, Int64, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from ssmtl.views.geometry import Geometry, coordinates, grid, inside, inverse, upload
from ssmtl.views.ops import Filter
from ssmtl.views.policy import Draw, Stage


@final
@dataclass(frozen=True)
class Rendered:
    """A view: images in [0, 1], how their pixels moved, and which pixels show a real pixel of the source.

    Mirrored pixels are part of the image and not `valid`: targets aren't mirrored. `geometry.valid` is `valid`, so that
    `between(this.geometry, other.geometry)` moves predictions made on this view, and `geometry.matrix` stays on the
    CPU. To move labels of the source itself, replace `geometry.valid` by the source's real pixels (or None).
    """

    image: Float[Tensor, "n c h w"]
    geometry: Geometry
    valid: Bool[Tensor, "n h w"]

    @classmethod
    def cat(cls, parts: Sequence["Rendered"]) -> "Rendered":
        """Join views of one size, rows in order; raises ValueError for none, or for different sizes."""
        sizes = sorted({part.geometry.size for part in parts})
        if len(sizes) != 1:
            raise ValueError(f"joining views needs one size, got {sizes or 'no views'}: render on one canvas")
        if len(parts) == 1:
            return parts[0]
        valid = torch.cat([part.valid for part in parts])
        matrix = torch.cat([part.geometry.matrix for part in parts])
        return cls(torch.cat([part.image for part in parts]), Geometry(matrix, sizes[0], valid), valid)


@torch.no_grad()
def render(images: UInt8[Tensor, "n c h w"], size_valid: Int64[Tensor, "n 2"], draw: Draw) -> Rendered:
    """Render the view that was drawn for each image, in float32 whatever the autocast, on the images' device.

    `size_valid` is the (height, width) of each canvas, from its top left corner, that shows the image. The rest of the
    canvas keeps its levels, doesn't enter histograms, moves along, and is never valid. Mirroring is at the edges of the
    canvas, without repeating the outermost pixels.

    Raises ValueError for images that aren't uint8, or don't fit the draw in number or size.
    """
    _check(images, draw)
    with torch.autocast(images.device.type, enabled=False):
        image, valid = _move(_retouch(images, size_valid, draw.stages), size_valid, draw)
    return Rendered(image, replace(draw.geometry, valid=valid), valid)


def _check(images: Tensor, draw: Draw) -> None:
    if images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 with levels 0..255, got {images.dtype}: keep them 8-bit until here")
    expected = (len(draw), *draw.geometry.size)
    if (images.shape[0], *images.shape[2:]) != expected:
        raise ValueError(
            f"images of shape {tuple(images.shape)} don't fit a draw of (rows, height, width) {expected}: sample the "
            "policy for these rows and this size"
        )


def _retouch(
    images: UInt8[Tensor, "n c h w"], size_valid: Int64[Tensor, "n 2"], stages: tuple[Stage, ...]
) -> UInt8[Tensor, "n c h w"]:
    """Apply photometric ops in their order; a row's table waits until a filter, or the end, needs its pixels."""
    if not stages:
        return images
    rows, channels, height, width = images.shape
    x, y = torch.arange(width, device=images.device), torch.arange(height, device=images.device)
    real = (y[:, None] < size_valid[:, 0, None, None]) & (x < size_valid[:, 1, None, None])
    fresh = torch.arange(256, device=images.device).expand(rows, channels, 256)
    tables, pixels = fresh.clone(), images
    for stage in stages:
        index, values = upload(stage.rows, images.device), upload(stage.values, images.device)
        now, where, table = pixels[index], real[index], tables[index]
        if isinstance(stage.op, Filter):
            sharp = stage.op.apply(_look_up(now, table), values, where)
            pixels = pixels.index_copy(0, index, sharp)
            tables.index_copy_(0, index, fresh[index])
        else:
            step = stage.op.table(values, partial(_histogram, now, table, where)).expand_as(table)
            tables.index_copy_(0, index, step.gather(2, table))
    index = upload(torch.unique(torch.cat([stage.rows for stage in stages])), images.device)
    changed = torch.where(real[index, None], _look_up(pixels[index], tables[index]), images[index])
    return images.index_copy(0, index, changed)


def _look_up(images: UInt8[Tensor, "n c h w"], table: Int64[Tensor, "n c 256"]) -> UInt8[Tensor, "n c h w"]:
    return table.to(torch.uint8).gather(2, images.flatten(2).long()).view_as(images)


def _histogram(
    images: UInt8[Tensor, "n c h w"], table: Int64[Tensor, "n c 256"], real: Bool[Tensor, "n h w"]
) -> Int64[Tensor, "n c 256"]:
    """Count the levels of real pixels as they are after the table."""
    levels = images.flatten(2).long()
    counts = torch.zeros_like(table).scatter_add_(2, levels, real[:, None].flatten(2).long().expand_as(levels))
    return torch.zeros_like(table).scatter_add_(2, table, counts)


def _move(
    images: UInt8[Tensor, "n c h w"], size_valid: Int64[Tensor, "n 2"], draw: Draw
) -> tuple[Float[Tensor, "n c h w"], Bool[Tensor, "n h w"]]:
    """Move copied and sampled rows apart, and put them back into their order."""
    back = inverse(draw.geometry.matrix)
    linear = back[:, :2, :2]
    upright = (linear[:, [0, 1], [1, 0]] == 0).all(1) & (linear[:, [0, 1], [0, 1]].abs() == 1).all(1)
    whole = upright & (back == back.round()).flatten(1).all(1)
    if bool(whole.all()) or not bool(whole.any()):
        return _move_alike(images, size_valid, back, draw.framed, copy=bool(whole.all()))
    moved = torch.empty(images.shape, device=images.device)
    valid = torch.empty((len(images), *draw.geometry.size), dtype=torch.bool, device=images.device)
    for copy in (True, False):
        rows = torch.nonzero(whole == copy)[:, 0]
        index = upload(rows, images.device)
        part = _move_alike(images[index], size_valid[index], back[rows], draw.framed[rows], copy=copy)
        moved.index_copy_(0, index, part[0])
        valid.index_copy_(0, index, part[1])
    return moved, valid


def _move_alike(
    images: UInt8[Tensor, "n c h w"],
    size_valid: Int64[Tensor, "n 2"],
    back: Float64[Tensor, "n 3 3"],
    framed: Float64[Tensor, "n 3 3"],
    *,
    copy: bool,
) -> tuple[Float[Tensor, "n c h w"], Bool[Tensor, "n h w"]]:
    """Move rows by `back`, from view to source; black is outside of the mirrored frame, except what came back to it."""
    height, width = images.shape[-2:]
    x, y = coordinates(back, (height, width), images.device)
    moved = _copy(images, back) if copy else _sample(images, x, y)
    to_frame = framed @ back
    if bool((to_frame != torch.eye(3, dtype=torch.float64)).any()):
        frame = inside(*coordinates(to_frame, (height, width), images.device), height, width)
        moved = moved * (frame | inside(x, y, height, width))[:, None]
    return moved, inside(x, y, size_valid[:, 0, None, None], size_valid[:, 1, None, None])


def _copy(images: UInt8[Tensor, "n c h w"], back: Float64[Tensor, "n 3 3"]) -> Float[Tensor, "n c h w"]:
    """Copy rows that flip or shift by whole pixels, mirrored where the source ends."""
    height, width = images.shape[-2:]
    x, y = coordinates(back, (height, width), torch.device("cpu"))
    column = upload(_mirror(x.long(), width), images.device)
    row = upload(_mirror(y.long(), height), images.device)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    return _float(images.movedim(1, 3)[each, row, column].movedim(3, 1).contiguous())


def _sample(images: UInt8[Tensor, "n c h w"], x: Tensor, y: Tensor) -> Float[Tensor, "n c h w"]:
    places = grid(x, y, images.shape[-2:])
    return grid_sample(_float(images), places, "bilinear", "reflection", align_corners=True).clamp(0, 1)


def _mirror(index: Int64[Tensor, "..."], side: int) -> Int64[Tensor, "..."]:
    """Reflect indices into 0..side-1, about the centers of the first and the last pixel."""
    period = max(2 * (side - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if side > 1 else torch.zeros_like(index)


def _float(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return images.float() / 255
