"""Cells of boxes: what they say, in which notation, and what is wrong with the boxes."""

import math
from typing import NamedTuple

from ssmtl.datasets.box_columns import Numbers, as_written
from ssmtl.errors import DataError, nearest
from ssmtl.manifests.cells import BOXES_LOOK_LIKE, parse_boxes
from ssmtl.manifests.notations import (
    Notation,
    Order,
    Written,
    are_fractions,
    corners,
    dump,
    fits,
    in_pixels,
    recognize,
)
from ssmtl.manifests.pictures import Flaw

REPAIR = "boxes"

_EDGE = 1.0


class BoxLook(NamedTuple):
    """What a cell of boxes holds: names and boxes where it is in the right notation, the notation otherwise."""

    boxes: tuple[tuple[str, Numbers], ...] = ()
    notation: Notation | None = None
    flaws: tuple[Flaw, ...] = ()


def look_at_boxes(text: str) -> BoxLook:
    """Read a cell of inline boxes; a notation that isn't that of a manifest is recognized, not yet turned."""
    try:
        return BoxLook(tuple(parse_boxes(text)))
    except DataError as error:
        try:
            notation = recognize(text)
        except DataError as unclear:
            what, _, fix = str(unclear).partition("; ")
            return BoxLook(flaws=(Flaw(f"has boxes that can be read in two ways: {what}", fix, repairable=False),))
        if notation is not None:
            return BoxLook(notation=notation)
        if text.strip()[:1] not in ("[", "{", "("):
            return BoxLook(flaws=(_no_boxes(text),))
        what = f"has boxes that can't be understood: {str(error).partition('; ')[0]}"
        return BoxLook(flaws=(Flaw(what, f"write them as {BOXES_LOOK_LIKE}, and [] for none.", repairable=False),))


def _no_boxes(text: str) -> Flaw:
    """Tell a person who wrote something else than boxes what a cell of them may hold."""
    shown = text[:60] + "..." * (len(text) > 60)
    what = f"has '{shown}' for boxes, but a JSON list, [] for nothing there, or a COCO file (.json) was expected"
    fix = f"write {BOXES_LOOK_LIKE}, or [] if there is nothing; empty the cell if nobody looked."
    if text.strip().lower().endswith((".txt", ".xml")):
        fix = f"write {BOXES_LOOK_LIKE} here; `ssmtl data init` does it for folders of YOLO and Pascal VOC files."
    return Flaw(what, fix, repairable=False)


def box_flaws(boxes: tuple[tuple[str, Numbers], ...], size: tuple[int, int]) -> tuple[list[Flaw], list[Flaw]]:
    """Return what is wrong, and what is odd, about boxes of an image of (height, width); zeros where it's unknown."""
    wrong, odd = [], []
    height, width = size
    for name, box in boxes:
        left, top, right, bottom = box
        said = f"has the box {as_written(box)} ('{name}')"
        if not all(map(math.isfinite, box)):
            wrong.append(Flaw(f"{said}, whose numbers aren't all finite", "correct the box, or take it out.", False))
        elif right <= left or bottom <= top:
            fix = "give left, top, right, bottom, with right and bottom behind the last pixel, or take the box out."
            wrong.append(Flaw(f"{said}, which is empty: left < right and top < bottom were expected", fix, False))
        elif all(size) and (right <= 0 or bottom <= 0 or left >= width or top >= height):
            fix = "give the box in pixels of this image, x before y, or take it out."
            wrong.append(Flaw(f"{said}, which lies outside of its image of {width}x{height} pixels", fix, False))
        elif all(size) and (min(left, top) < -_EDGE or right > width + _EDGE or bottom > height + _EDGE):
            fix = "training cuts it off at the border; look whether the image is the one that it was drawn on."
            odd.append(Flaw(f"{said}, which sticks out of its image of {width}x{height} pixels", fix, False))
    return wrong, odd


class Evidence:
    """Whether the bare numbers of a column are corners, or a corner and a size: all boxes are asked."""

    def __init__(self, told: Order | None = None) -> None:
        self._told = told
        self.boxes = 0
        self._fit = {"corners": 0, "size": 0}

    def add(self, boxes: tuple[Written, ...], size: tuple[int, int]) -> None:
        """Count the boxes of one image that fit into it, read one way and the other."""
        self.boxes += len(boxes)
        for order in ("corners", "size"):
            self._fit[order] += sum(fits(box.numbers, order, size) for box in boxes)

    @property
    def order(self) -> Order | None:
        """Return the one way in which all boxes lie in their images, None where that is both or neither."""
        if self._told:
            return self._told
        corners_fit, sizes_fit = (self._fit[order] == self.boxes for order in ("corners", "size"))
        return None if corners_fit == sizes_fit else "corners" if corners_fit else "size"

    def question(self) -> str:
        """Return why the order isn't known."""
        both = self._fit["corners"] == self._fit["size"] == self.boxes
        return "fit their images both ways" if both else "fit their images neither way"


def turned(
    notation: Notation, classes: tuple[str, ...], order: Order | None, size: tuple[int, int]
) -> tuple[str | None, Flaw]:
    """Return a cell in the notation of a manifest, None where that needs a person, and what to tell about it."""
    what = f"has boxes in another notation ({notation.name}), but JSON was expected: {BOXES_LOOK_LIKE}"
    boxes = []
    scale = notation.form != "yolo" and are_fractions([box.numbers for box in notation.boxes], size)
    for label, written in notation.boxes:
        numbers = in_pixels(written, size) if scale else written
        name = _name(label, classes, numbered=notation.form == "yolo")
        if name is None:
            return None, Flaw(what, _which_class(label, classes), repairable=False)
        box = corners(numbers, notation.form, order, size) if all(size) or notation.form != "yolo" else None
        if box is None:
            return None, Flaw(what, "", repairable=False)
        boxes.append((name, box))
    taken = ""
    if notation.form == "numbers":
        taken = f", the numbers taken for left, top, {'right, bottom' if order == 'corners' else 'width, height'}"
    return dump(boxes), Flaw(what, f"write them as JSON{taken}.", repairable=True)


def _name(label: str | None, classes: tuple[str, ...], *, numbered: bool) -> str | None:
    """Return the class that a label means: a name, a place in the classes file, or the only class there is."""
    if label is None:
        return classes[0] if len(classes) == 1 else None
    if label in classes:
        return label
    if label.isdecimal():
        return classes[int(label)] if numbered and int(label) < len(classes) else None
    return None if classes else label


def _which_class(label: str | None, classes: tuple[str, ...]) -> str:
    if label is None:
        return "write them as JSON, with their classes; where all are of one class, name it in the classes file."
    if label.isdecimal():
        return f"name the classes in the classes file, in their order, so that number {label} is one of them."
    return f"correct the class '{label}', which the classes file doesn't name{nearest(label, classes)}"
