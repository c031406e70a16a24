"""Annotations over pictures: regions, boxes, labels, and which pixels count."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.blocks import Key, Picture, corner, dashed
from ssmtl.datasets.base import Reader
from ssmtl.palette import IGNORED, Color, Colors, ink_on
from ssmtl.pictures import to_rgb
from ssmtl.report.seen import COUNTS, CUTOUT, EMPTY, UNSEEN, VOID, Marks
from ssmtl.task import IGNORE_INDEX, BoxList

CELL = 320
"""Longest side of a picture in a cell, in pixels; smaller images are enlarged by a whole factor."""
VOIDED = Key("ignored in masks", IGNORED)
FATES = {
    COUNTS: Key("target counts", (110, 220, 30)),
    VOID: VOIDED,
    CUTOUT: Key("ignored: blanked", (45, 45, 45)),
    EMPTY: Key("ignored: no pixel of the image is there", (155, 155, 155)),
    UNSEEN: Key("ignored: the weak view doesn't show it", (210, 210, 210)),
}
CUT = Key("box cut off by the weak view's border: as a pseudo-label, it is dropped", (20, 20, 20), dashed=True)


def scale_of(size: tuple[int, int]) -> float:
    """Return the factor by which an image of (height, width) is enlarged, or shrunk, to a cell."""
    longest = max(size)
    return float(CELL // longest) if longest <= CELL else CELL / longest


def plain(image: UInt8[Tensor, "c h w"]) -> Picture:
    """Return an image at the size of a cell: whole squares for pixels that are enlarged."""
    pixels = np.ascontiguousarray(to_rgb(image).permute(1, 2, 0).numpy())
    size = _cell_size(pixels.shape[:2])
    smaller = size[0] < pixels.shape[1]
    return Image.fromarray(pixels).resize(size, Image.Resampling.BOX if smaller else Image.Resampling.NEAREST)


def marked(image: UInt8[Tensor, "c h w"], marks: Marks, reader: Reader, colors: Colors) -> Picture:
    """Return an image in a cell with its annotations over it."""
    scale = scale_of((image.shape[1], image.shape[2]))
    for task, target in marks.others:
        image = task.draw(to_rgb(image), tree_map(lambda part: part[0], target), None, colors)
    picture = plain(image)
    if marks.mask is not None:
        picture = _with_mask(picture, marks.mask, reader.classes(marks.kinds.get("mask", "mask")), colors)
    names = reader.classes(marks.kinds.get("boxes", "boxes"))
    if marks.cut is not None:
        picture = _with_boxes(picture, marks.cut, scale, names, colors, cut=True)
    if marks.boxes is not None:
        picture = _with_boxes(picture, marks.boxes, scale, names, colors, cut=False)
    return (
        picture
        if marks.label is None
        else corner(picture, reader.classes(marks.kinds.get("label", "label"))[marks.label])
    )


def counted(image: UInt8[Tensor, "c h w"], fate: UInt8[np.ndarray, "h w"]) -> Picture:
    """Return an image in a cell, colored by what becomes of its pixels, and the share of those that count."""
    picture = plain(to_rgb(image).float().mean(0, keepdim=True).to(torch.uint8))
    regions = _enlarged(fate, picture)
    for value, key in FATES.items():
        picture = _tinted(picture, regions == value, key.color, 0.5 if value == COUNTS else 0.85)
    return corner(picture, f"{100 * (fate == COUNTS).mean():.0f} % counts")


def _with_mask(picture: Picture, mask: UInt8[np.ndarray, "h w"], names: Sequence[str], colors: Colors) -> Picture:
    regions = _enlarged(mask, picture)
    shown = [(index, name) for index, name in enumerate(names) if name in colors]
    for index, name in shown:
        picture = _tinted(picture, regions == index, colors[name], 0.4)
    picture = _tinted(picture, regions == IGNORE_INDEX, IGNORED, 0.85)
    edges = find_boundaries(regions, mode="inner")  # type: ignore[no-untyped-call]
    for index, name in shown:
        picture = _tinted(picture, edges & (regions == index), colors[name], 1.0)
    return picture


def _with_boxes(
    picture: Picture, boxes: BoxList, scale: float, names: Sequence[str], colors: Colors, *, cut: bool
) -> Picture:
    """Draw frames that lie on the outermost pixels of what is inside; a crowd's is crossed out."""
    copy = picture.copy()
    pen = ImageDraw.Draw(copy)
    for (left, top, right, bottom), label, crowd in zip(boxes.xyxy * scale, boxes.labels, boxes.crowd, strict=True):
        frame = (float(left), float(top), max(float(right) - 1, float(left)), max(float(bottom) - 1, float(top)))
        color = colors.get(names[label], IGNORED)
        pen.rectangle((frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1), outline=ink_on(color), width=1)
        if cut:
            dashed(pen, frame, color, 2)
            continue
        pen.rectangle(frame, outline=color, width=2)
        if crowd:
            pen.line(frame, fill=color, width=1)
    return copy


def _tinted(picture: Picture, where: Bool[np.ndarray, "h w"], color: Color, strength: float) -> Picture:
    solid = Image.new("RGB", picture.size, color)
    return Image.composite(Image.blend(picture, solid, strength), picture, Image.fromarray(where))


def _enlarged(values: UInt8[np.ndarray, "h w"], picture: Picture) -> UInt8[np.ndarray, "H W"]:
    return np.asarray(Image.fromarray(values).resize(picture.size, Image.Resampling.NEAREST))


def _cell_size(size: tuple[int, ...]) -> tuple[int, int]:
    scale = scale_of((size[0], size[1]))
    return max(1, round(scale * size[1])), max(1, round(scale * size[0]))
