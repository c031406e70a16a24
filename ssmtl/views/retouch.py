"""Photometric chains, in 8 bits as in Pillow: pointwise ops of a row compose into one table, looked up once.

What needs a histogram takes it through that table; what needs neighboring pixels looks the table up first.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import torch
from jaxtyping import Bool, Float64, Int32, Int64, Num, UInt8
from torch import Tensor

from ssmtl.views.geometry import real_pixels, upload
from ssmtl.views.transform import Filter, Pointwise, Stage

LEVELS_AT_ONCE = 2**16


def retouch(
    images: Num[Tensor, "n c h w"], sizes: Int64[Tensor, "n 2"], stages: Sequence[Stage]
) -> Num[Tensor, "n c h w"]:
    """Apply photometric ops in their order; a row's table waits until a filter, or the end, needs its pixels.

    `sizes`, on the CPU, are the (height, width) of the images on their canvases; the rest keeps its levels.
    """
    if not stages:
        return images
    changed = _Retouching(images, sizes)
    for stage in stages:
        index = None if len(images) == 1 else upload(stage.rows, images.device)
        changed.apply(stage.op, index, upload(stage.values, images.device))
    result = changed.finish()
    if images.dtype == torch.uint8 or len(images) == 1:
        return result
    rows = upload(torch.unique(torch.cat([stage.rows for stage in stages])), images.device)
    return images.index_copy(0, rows, result[rows])  # rows that drew no op aren't rounded


def split(stages: Sequence[Stage], rows: int) -> dict[int, list[Stage]]:
    """Return the stages of every part of `rows` rows that has any, with rows counted from the start of the part."""
    parts: dict[int, list[Stage]] = {}
    for stage in stages:
        start = 0
        for part, group in groupby((stage.rows.numpy() // rows).tolist()):
            end = start + len(tuple(group))
            mine = Stage(stage.op, stage.rows[start:end] - part * rows, stage.values[start:end])
            parts.setdefault(part, []).append(mine)
            start = end
    return parts


class _Retouching:
    """Images on their way through photometric ops: pixels, and tables that they have yet to go through.

    Tables are per row, and per channel once an op treats channels differently; None: the pixels are up to date.
    """

    def __init__(self, images: Num[Tensor, "n c h w"], sizes: Int64[Tensor, "n 2"]) -> None:
        self.pixels = images if images.dtype == torch.uint8 else (images * 255).round_().to(torch.uint8)
        self.before = images
        self.real = real_pixels(sizes, (images.shape[2], images.shape[3]), images.device)
        self.tables: Int64[Tensor, "n _ 256"] | None = None

    def apply(
        self, op: Pointwise | Filter, index: Int64[Tensor, " m"] | None, values: Float64[Tensor, "m values"]
    ) -> None:
        """Apply an op to the rows of an index, None for all."""
        table = None if self.tables is None else _rows(self.tables, index)
        if isinstance(op, Pointwise):
            step = op.table(values, partial(self._counts, index, table))
            self._look_up_later(index, step if table is None else _composed(table, step))
            return
        pixels = _rows(self.pixels, index)
        done = op.apply(pixels if table is None else look_up(pixels, table), values, self._real(index))
        if index is None:
            self.pixels, self.tables = done, None
            return
        if self.pixels is self.before:
            self.pixels = self.pixels.clone()
        self.pixels.index_copy_(0, index, done)
        if self.tables is not None:
            self._look_up_later(index, _fresh(done))

    def finish(self) -> Num[Tensor, "n c h w"]:
        """Return the images in their first type, with their first levels where they aren't real."""
        result = self.pixels if self.tables is None else look_up(self.pixels, self.tables)
        if self.before.dtype != torch.uint8:
            result = result.to(self.before.dtype) / 255
        return result if self.real is None else torch.where(self.real[:, None], result, self.before)

    def _look_up_later(self, index: Int64[Tensor, " m"] | None, table: Int64[Tensor, "m _ 256"]) -> None:
        if index is None:
            self.tables = table
            return
        if self.tables is None:
            self.tables = torch.arange(256, device=table.device).repeat(*self.pixels.shape[:2], 1)
        self.tables.index_copy_(0, index, table.expand(-1, self.pixels.shape[1], -1))

    def _real(self, index: Int64[Tensor, " m"] | None) -> Bool[Tensor, "m h w"] | None:
        return None if self.real is None else _rows(self.real, index)

    def _counts(
        self, index: Int64[Tensor, " m"] | None, table: Int64[Tensor, "m _ 256"] | None
    ) -> Int64[Tensor, "m c 256"]:
        """Count the levels of real pixels as they are after the table."""
        counts = histogram(_rows(self.pixels, index), self._real(index))
        return counts if table is None else torch.zeros_like(counts).scatter_add_(2, table.expand_as(counts), counts)


def _rows(tensor: Tensor, index: Int64[Tensor, " m"] | None) -> Tensor:
    return tensor if index is None else tensor.index_select(0, index)


def _fresh(images: UInt8[Tensor, "n c h w"]) -> Int64[Tensor, "n 1 256"]:
    return torch.arange(256, device=images.device).expand(len(images), 1, 256)


def _composed(first: Int64[Tensor, "m _ 256"], then: Int64[Tensor, "m _ 256"]) -> Int64[Tensor, "m _ 256"]:
    channels = max(first.shape[1], then.shape[1])
    return then.expand(-1, channels, -1).gather(2, first.expand(-1, channels, -1))


def look_up(images: UInt8[Tensor, "n c h w"], table: Int64[Tensor, "n _ 256"]) -> UInt8[Tensor, "n c h w"]:
    """Replace every level by its entry in the table of its row, or of its row and channel."""
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    source, target = (part.reshape(table.shape[0] * table.shape[1], -1) for part in (images, result))
    levels = table.to(torch.uint8).flatten(0, 1)
    for planes, pixels in _strips(source):
        bins = _bins(source[planes, pixels]).flatten()
        torch.index_select(levels[planes].flatten(), 0, bins, out=target[planes, pixels].view(-1))
    return result


def histogram(images: UInt8[Tensor, "n c h w"], real: Bool[Tensor, "n h w"] | None) -> Int64[Tensor, "n c 256"]:
    """Count the levels of every row and channel, of real pixels."""
    source = images.flatten(2).flatten(0, 1)
    kept = None if real is None else real[:, None].expand(images.shape).flatten(2).flatten(0, 1)
    counts = torch.zeros((len(source), 256), dtype=torch.int64, device=images.device)
    for planes, pixels in _strips(source):
        bins = _bins(source[planes, pixels])
        counted = 256 * len(bins)
        if kept is not None:
            bins = torch.where(kept[planes, pixels], bins, counted)
        counts[planes] += _count(bins.flatten(), counted + 1)[:counted].view(-1, 256)
    return counts.view(*images.shape[:2], 256)


def _count(bins: Int32[Tensor, " m"], length: int) -> Int64[Tensor, " length"]:
    if bins.device.type == "cpu":
        return torch.bincount(bins, minlength=length)
    ones = torch.ones((), dtype=torch.int64, device=bins.device).expand(bins.numel())
    counts = torch.zeros(length, dtype=torch.int64, device=bins.device)
    return counts.scatter_add_(0, bins.long(), ones)  # outside of the CPU `bincount` waits for the device


def _bins(levels: UInt8[Tensor, "planes pixels"]) -> Int32[Tensor, "planes pixels"]:
    """Return a number for every (plane, level)."""
    bins = levels.to(torch.int32)
    if len(levels) > 1:
        bins += 256 * torch.arange(len(levels), device=levels.device, dtype=torch.int32)[:, None]
    return bins


def _strips(planes: UInt8[Tensor, "planes pixels"]) -> Iterator[tuple[slice, slice]]:
    """Yield planes and pixels to treat at once: on the CPU as many as stay in its cache."""
    count, size = planes.shape
    if planes.device.type != "cpu":
        yield slice(None), slice(None)
        return
    at_once = max(1, LEVELS_AT_ONCE // max(size, 1))
    for plane in range(0, count, at_once):
        for pixel in range(0, size, LEVELS_AT_ONCE):
            yield slice(plane, plane + at_once), slice(pixel, pixel + LEVELS_AT_ONCE)
