"""Pictures of boxes with what is in them."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from jaxtyping import UInt8
from PIL import ImageDraw, ImageFont
from torch import Tensor

from ssmtl.blocks import dashed, font
from ssmtl.palette import Color, ink_on
from ssmtl.pictures import from_tensor, to_tensor, unit_of

LETTERS = 11
"""Height of captions in pixels; like lines, they grow with large pictures."""
Place: TypeAlias = tuple[int, int, int, int]


class Frame(NamedTuple):
    """A box (left, top, right, bottom), half-open in pixels of the picture, in the color of its class."""

    box: tuple[float, float, float, float]
    color: Color
    caption: str
    crowd: bool = False
    """Around a group: dashed."""


def draw_frames(image: UInt8[Tensor, "3 h w"], frames: Sequence[Frame]) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` with frames on the outermost pixels inside of boxes, with a contrasting rim.

    The first frames are the most important: they lie on top, and captions that would hide theirs are left out.
    """
    picture, unit = from_tensor(image), unit_of(image)
    pen, face = ImageDraw.Draw(picture), font(LETTERS * unit)
    for frame in reversed(frames):
        _outline(pen, frame, unit)
    written: list[Place] = []
    for frame in frames:
        place = _free_place(pen, frame, face, picture.size, written)
        if place is not None:
            written.append(place)
            pen.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=frame.color)
            pen.text((place[0] + unit, place[1]), frame.caption, fill=ink_on(frame.color), font=face, anchor="la")
    return to_tensor(picture).to(image.device)


def _outline(pen: ImageDraw.ImageDraw, frame: Frame, unit: int) -> None:
    left, top, right, bottom = (round(side) for side in frame.box)
    inner = (left, top, max(left, right - 1), max(top, bottom - 1))
    if frame.crowd:
        dashed(pen, inner, frame.color, unit, unit=unit)
        return
    outer = (inner[0] - unit, inner[1] - unit, inner[2] + unit, inner[3] + unit)
    pen.rectangle(outer, outline=ink_on(frame.color), width=unit)
    pen.rectangle(inner, outline=frame.color, width=2 * unit)


def _free_place(
    pen: ImageDraw.ImageDraw, frame: Frame, face: ImageFont.FreeTypeFont, size: tuple[int, int], taken: list[Place]
) -> Place | None:
    """Return where a caption hides no other: above its box, below it, or inside at its top; None if nowhere."""
    width, height = round(pen.textlength(frame.caption, font=face)) + 2, sum(face.getmetrics())
    corner, upper, _, lower = (round(side) for side in frame.box)
    left = max(0, min(corner, size[0] - width))
    for top in (upper - height - 1, lower + 1, upper + 2):
        place = (left, top, left + width, top + height)
        if place[1] >= 0 and place[3] <= size[1] and not any(_overlap(place, other) for other in taken):
            return place
    return None


def _overlap(one: Place, other: Place) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
