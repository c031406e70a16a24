"""Pictures of one row: outlines of one class, regions of several in the classes' colors, lines of text."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Integer, UInt8
from PIL import ImageDraw
from skimage.segmentation import find_boundaries
from torch import Tensor

from ssmtl.blocks import BODY, Key, font
from ssmtl.palette import IGNORED, Color, Colors, class_colors
from ssmtl.pictures import from_tensor, side_by_side, to_tensor, unit_of
from ssmtl.task import IGNORE_INDEX

REFERENCE = (0, 200, 0)
PREDICTED = (230, 0, 0)
FILL, VEIL = 0.6, 0.85
"""Share of a class's color in its region, and of gray where pixels are ignored."""


def colors_for(classes: Sequence[str], given: Colors | None) -> Colors:
    """Return the colors of a task's classes: those that are given, and its own for the rest."""
    return {**class_colors(classes), **(given or {})}


def draw_contours(
    image: UInt8[Tensor, "3 h w"], labels: Integer[Tensor, "h w"], color: Color
) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` with the inner outline of every region of `labels` that isn't 0."""
    regions = labels.cpu().numpy()
    edges = find_boundaries(regions, mode="inner", background=0)  # type: ignore[no-untyped-call]
    return torch.where(torch.from_numpy(edges).to(image.device), image.new_tensor(color)[:, None, None], image)


def draw_ignored(image: UInt8[Tensor, "3 h w"], ignored: Bool[Tensor, "h w"]) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` that is nearly gray where pixels are ignored."""
    return _tinted(image, ignored, IGNORED, VEIL)


def fill_classes(
    image: UInt8[Tensor, "3 h w"], labels: Integer[Tensor, "h w"], names: Sequence[str], colors: Colors
) -> UInt8[Tensor, "3 h w"]:
    """Return `image` in gray with every class's pixels in its color; gray alone where they are ignored.

    Over colors of the image itself, those of classes could not be told apart.
    """
    luma = image.float().mean(0).round().to(torch.uint8)
    picture = luma.expand(3, -1, -1)
    for index, name in enumerate(names):
        if name in colors:
            picture = _tinted(picture, labels == index, colors[name], FILL)
    return draw_ignored(picture, labels == IGNORE_INDEX)


def draw_maps(
    image: UInt8[Tensor, "3 h w"],
    reference: Integer[Tensor, "h w"] | None,
    prediction: Integer[Tensor, "h w"] | None,
    classes: Sequence[str],
    given: Colors | None,
) -> UInt8[Tensor, "3 _ _"]:
    """Return maps of class indices over `image`; two of them beside each other, with a legend of what occurs."""
    colors = colors_for(classes, given)
    maps = [labels for labels in (reference, prediction) if labels is not None]
    found = sorted({label for labels in maps for label in labels.unique().tolist()})
    keys = [Key(classes[label], colors[classes[label]]) for label in found if _has_color(label, classes, colors)]
    if IGNORE_INDEX in found:
        keys.append(Key("ignored", IGNORED))
    panels = [
        None if labels is None else fill_classes(image, labels, classes, colors) for labels in (reference, prediction)
    ]
    return compared(image, panels[0], panels[1], keys)


def compared(
    image: UInt8[Tensor, "3 h w"],
    reference: UInt8[Tensor, "3 h w"] | None,
    prediction: UInt8[Tensor, "3 h w"] | None,
    keys: Sequence[Key],
) -> UInt8[Tensor, "3 _ _"]:
    """Return reference and prediction beside each other, the only one that there is, or else the image."""
    if reference is not None and prediction is not None:
        return side_by_side(reference, prediction, keys)
    return next((panel for panel in (reference, prediction) if panel is not None), image)


def write_lines(image: UInt8[Tensor, "3 h w"], lines: list[tuple[str, Color]]) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` with lines of colored text on black in its top left corner."""
    picture = from_tensor(image)
    pen, face = ImageDraw.Draw(picture), font(BODY * unit_of(image))
    top = 0.0
    for text, color in lines:
        box = pen.textbbox((2, top + 1), text, font=face)
        pen.rectangle((0, top, box[2] + 2, box[3] + 1), fill=(0, 0, 0))
        pen.text((2, top + 1), text, fill=color, font=face)
        top = box[3] + 1
    return to_tensor(picture).to(image.device)


def _has_color(label: int, names: Sequence[str], colors: Colors) -> bool:
    return label < len(names) and names[label] in colors


def _tinted(
    image: UInt8[Tensor, "3 h w"], where: Bool[Tensor, "h w"], color: Color, strength: float
) -> UInt8[Tensor, "3 h w"]:
    solid = torch.tensor(color, dtype=torch.float32)[:, None, None]
    mixed = (image * (1 - strength) + solid * strength).round().to(torch.uint8)
    return torch.where(where, mixed, image)
