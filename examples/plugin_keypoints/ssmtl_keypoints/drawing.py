"""Points over an image: a green ring where a person marked one, a red cross where one was found."""

from collections.abc import Mapping
from typing import TypeAlias

from jaxtyping import UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from ssmtl.blocks import font
from ssmtl.palette import Color, ink_on
from ssmtl.pictures import SMALLEST, from_tensor, to_tensor, unit_of
from ssmtl_tasks.drawing import PREDICTED, REFERENCE

Place: TypeAlias = tuple[float, float]
LETTERS = 12
"""Height of names in pixels; like lines, they grow with large pictures."""
MARK = 96
"""How many times as long as half a cross a picture is, unless it is tiny."""
FINE = 2
"""Lines are drawn at this many times the size, and averaged: Pillow's own are ragged."""


def draw_points(
    image: UInt8[Tensor, "3 h w"], reference: Mapping[str, Place], found: Mapping[str, Place]
) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` with points by name, in pixel centers of the image, and lines between those of a name.

    Names stand beside the reference, or beside what was found where there is none; pictures that are too small for
    letters go without.
    """
    picture, unit = from_tensor(image), unit_of(image)
    sheet = picture.resize((FINE * picture.width, FINE * picture.height), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(sheet)
    size = FINE * max(2.0, max(picture.size) / MARK)
    at = {name: _scaled(place) for name, place in reference.items()}
    to = {name: _scaled(place) for name, place in found.items()}
    for name in at.keys() & to.keys():
        pen.line((*at[name], *to[name]), fill=PREDICTED, width=FINE * unit)
    for x, y in at.values():
        for width, color in ((FINE * unit * 2, ink_on(REFERENCE)), (FINE * unit, REFERENCE)):
            pen.ellipse((x - 1.5 * size, y - 1.5 * size, x + 1.5 * size, y + 1.5 * size), outline=color, width=width)
    for x, y in to.values():
        for width, color in ((3 * FINE * unit, ink_on(PREDICTED)), (FINE * unit, PREDICTED)):
            pen.line((x - size, y - size, x + size, y + size), fill=color, width=width)
            pen.line((x - size, y + size, x + size, y - size), fill=color, width=width)
    picture = sheet.resize(picture.size, Image.Resampling.BOX)
    if max(picture.size) >= SMALLEST:
        named = {name: (place, PREDICTED) for name, place in found.items()}
        _write(picture, named | {name: (place, REFERENCE) for name, place in reference.items()}, unit)
    return to_tensor(picture).to(image.device)


def _scaled(place: Place) -> Place:
    return FINE * (place[0] + 0.5), FINE * (place[1] + 0.5)


def _write(picture: Image.Image, names: Mapping[str, tuple[Place, Color]], unit: int) -> None:
    """Write names below their points, moved inward where the picture ends."""
    pen, face = ImageDraw.Draw(picture), font(LETTERS * unit)
    for name, ((x, y), color) in names.items():
        width, height = pen.textlength(name, font=face), sum(face.getmetrics())
        left = max(0.0, min(x - width / 2, picture.width - width))
        top = y + 6 * unit if y + 6 * unit + height <= picture.height else y - 6 * unit - height
        pen.text((left, top), name, fill=color, font=face, stroke_width=unit, stroke_fill=ink_on(color))
