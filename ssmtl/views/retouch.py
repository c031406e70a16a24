"""Photometric chains, in 8 bits as in Pillow: pointwise ops of a row compose into one table, looked up once.

What needs a histogram takes it through that table; what needs neighboring pixels looks the table up first.
"""

from collections.abc import Iterator
from functools import partial

import torch
from jaxtyping import Bool, Float64, Int64, Num, UInt8
from torch import Tensor

from ssmtl.views.geometry import upload
from ssmtl.views.transform import Filter, Pointwise, Stage

PIXELS_AT_ONCE = 2**16
"""On the CPU rows are treated a few at a time, so that what they pass through stays in its cache."""


def slices(rows: int, pixels: int, device: torch.device) -> Iterator[slice]:
    """Yield the rows to treat at once, of images with so many pixels."""
    step = max(1, PIXELS_AT_ONCE // max(pixels, 1)) if device.type == "cpu" else max(rows, 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def retouch(
    images: Num[Tensor, "n c h w"], sizes: Int64[Tensor, "n 2"], stages: tuple[Stage, ...]
) -> Num[Tensor, "n c h w"]:
    """Apply photometric ops in their order; a row's table waits until a filter, or the end, needs its pixels."""
    if not stages:
        return images
    device = images.device
    rows = torch.unique(torch.cat([stage.rows for stage in stages]))
    index = upload(rows, device)
    chosen = images if len(rows) == len(images) else images[index]
    pixels = chosen if images.dtype == torch.uint8 else (chosen * 255).round_().to(torch.uint8)
    whole = bool((sizes[rows] == torch.tensor(images.shape[-2:])).all())
    real = None if whole else _real(upload(sizes[rows], device), images.shape[-2:])
    place = torch.zeros(len(images), dtype=torch.int64)
    place[rows] = torch.arange(len(rows))
    changed = _Retouching(pixels, real)
    for stage in stages:
        mine = place[stage.rows]
        everything = torch.equal(mine, torch.arange(len(rows)))
        changed.apply(stage.op, None if everything else upload(mine, device), upload(stage.values, device))
    result = changed.finish()
    result = result if images.dtype == torch.uint8 else result.to(images.dtype) / 255
    if real is not None:
        result = torch.where(real[:, None], result, chosen)
    return result if len(rows) == len(images) else images.index_copy(0, index, result)


class _Retouching:
    """Images on their way through photometric ops: pixels, and a table per row that they have yet to go through."""

    def __init__(self, pixels: UInt8[Tensor, "n c h w"], real: Bool[Tensor, "n h w"] | None) -> None:
        self.pixels, self.real = pixels, real
        self.fresh = torch.arange(256, device=pixels.device).expand(*pixels.shape[:2], 256)
        self.tables = self.fresh

    def apply(
        self, op: Pointwise | Filter, index: Int64[Tensor, " m"] | None, values: Float64[Tensor, "m values"]
    ) -> None:
        """Apply an op to the rows of an index, None for all of them in their order."""
        pixels, table, real = self.pixels, self.tables, self.real
        if index is not None:
            pixels, table, real = pixels[index], table[index], None if real is None else real[index]
        if isinstance(op, Pointwise):
            step = op.table(values, partial(_counts, pixels, table, real)).expand_as(table).gather(2, table)
            self.tables = step if index is None else self.tables.index_copy(0, index, step)
            return
        done = op.apply(look_up(pixels, table), values, real)
        self.pixels = done if index is None else self.pixels.index_copy(0, index, done)
        self.tables = self.fresh if index is None else self.tables.index_copy(0, index, self.fresh[index])

    def finish(self) -> UInt8[Tensor, "n c h w"]:
        return look_up(self.pixels, self.tables)


def _counts(
    pixels: UInt8[Tensor, "m c h w"], table: Int64[Tensor, "m c 256"], real: Bool[Tensor, "m h w"] | None
) -> Int64[Tensor, "m c 256"]:
    """Count the levels of real pixels as they are after the table."""
    return torch.zeros_like(table).scatter_add_(2, table, histogram(pixels, real))


def look_up(images: UInt8[Tensor, "n c h w"], table: Int64[Tensor, "n c 256"]) -> UInt8[Tensor, "n c h w"]:
    """Replace every level by its entry in the table of its row and channel."""
    result = torch.empty_like(images)
    levels = table.to(torch.uint8)
    for rows in slices(len(images), images.shape[2] * images.shape[3], images.device):
        part = images[rows]
        result[rows] = levels[rows].flatten().index_select(0, _bins(part).flatten()).view_as(part)
    return result


def histogram(images: UInt8[Tensor, "n c h w"], real: Bool[Tensor, "n h w"] | None) -> Int64[Tensor, "n c 256"]:
    """Count the levels of every row and channel, of real pixels."""
    rows, channels = images.shape[:2]
    bins, counted = _bins(images), rows * channels * 256
    if real is not None:
        bins = torch.where(real[:, None], bins, counted)
    if images.device.type == "cpu":
        counts = torch.bincount(bins.flatten(), minlength=counted + 1)
    else:  # elsewhere `bincount` waits for the device
        ones = torch.ones((), dtype=torch.int64, device=images.device).expand(bins.numel())
        counts = torch.zeros(counted + 1, dtype=torch.int64, device=images.device)
        counts.scatter_add_(0, bins.flatten().long(), ones)
    return counts[:counted].view(rows, channels, 256)


def _bins(images: UInt8[Tensor, "n c h w"]) -> Tensor:
    rows, channels = images.shape[:2]
    first = torch.arange(rows * channels, device=images.device, dtype=torch.int32) * 256
    return images.to(torch.int32) + first.view(rows, channels, 1, 1)


def _real(sizes: Int64[Tensor, "n 2"], canvas: torch.Size) -> Bool[Tensor, "n h w"]:
    y = torch.arange(canvas[0], device=sizes.device)[:, None]
    x = torch.arange(canvas[1], device=sizes.device)
    return (y < sizes[:, 0, None, None]) & (x < sizes[:, 1, None, None])
