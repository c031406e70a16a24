"""Boxes in the notation of a manifest whose numbers are no corners in pixels: fractions, or a corner and a size."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from ssmtl.datasets.box_columns import Numbers, as_written
from ssmtl.manifests.box_cells import box_flaws
from ssmtl.manifests.notations import Form, Order, are_fractions, corners, dump, fits, in_pixels
from ssmtl.manifests.pictures import Flaw

NamedBoxes: TypeAlias = tuple[tuple[str, Numbers], ...]

_EXPECTED = "left, top, right, bottom"
_SIZES = "left, top, width, height"


class Verdict(NamedTuple):
    """What is wrong with the boxes of a row, and their cell in pixels, None where that takes a person."""

    row: int
    flaw: Flaw
    text: str | None = None


class _Cell(NamedTuple):
    row: int
    boxes: NamedBoxes
    size: tuple[int, int]


def doubted(boxes: NamedBoxes, size: tuple[int, int]) -> bool:
    """Tell whether boxes of an image of (height, width) look like fractions, or like corners and sizes."""
    return _fractions(boxes, size) or _sizes(boxes, size)


@dataclass
class Doubts:
    """What the inline boxes of a column may be instead of corners; all its boxes are asked. `told` is what they are."""

    told: Order | None = None
    images: int = 0
    """Images that have boxes in pixels."""
    cornered: list[int] = field(default_factory=list)
    """Rows whose boxes lie in their image as corners only."""
    _cells: list[_Cell] = field(default_factory=list, repr=False)

    def add(self, row: int, boxes: NamedBoxes, size: tuple[int, int]) -> None:
        """Take note of the boxes of an image of (height, width), zeros where that is unknown."""
        if not boxes:
            return
        if not _fractions(boxes, size):
            self.images += 1
            if not _all_fit(boxes, "size", size) and _all_fit(boxes, "corners", size):
                self.cornered.append(row)
        if self.told == "size" or doubted(boxes, size):
            self._cells.append(_Cell(row, boxes, size))

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what is wrong with rows, once all are known."""
        fractions = [cell for cell in self._cells if _fractions(cell.boxes, cell.size)]
        whole = not any(_empty(box) for cell in fractions for _, box in cell.boxes)
        for cell in fractions:
            yield _of_fractions(cell, self.told or ("corners" if whole else None))
        for cell in self._cells:
            if _fractions(cell.boxes, cell.size):
                continue
            if self.told == "corners":
                yield from (Verdict(cell.row, flaw) for flaw in box_flaws(cell.boxes, cell.size)[0])
            elif self.told == "size":
                what = f"has boxes as {_SIZES}, which --box-numbers says, but {_EXPECTED} was expected"
                flaw = Flaw(what, f"write them as {_EXPECTED}.", repairable=True)
                yield Verdict(cell.row, flaw, _turned(cell, "size"))
            else:
                yield self._perhaps_sizes(cell)

    def _perhaps_sizes(self, cell: _Cell) -> Verdict:
        name, box = next(pair for pair in cell.boxes if _empty(pair[1]))
        what = f"has the box {as_written(box)} ('{name}'), which is empty as {_EXPECTED}, but fits as {_SIZES}"
        meant = as_written(corners(box, "coco", None, cell.size) or box)
        if self.cornered:
            fix = f"write {meant}, if it was meant so, and all boxes of the cell alike; or take it out."
        else:
            fix = (
                f"if all boxes of the column are {_SIZES}, use --fix with --box-numbers size, which writes {meant} "
                "here; otherwise correct the box, or take it out."
            )
        return Verdict(cell.row, Flaw(what, fix, repairable=False))


def _of_fractions(cell: _Cell, order: Order | None) -> Verdict:
    name, box = cell.boxes[0]
    height, width = cell.size
    shown = ", ".join(f"{side:.3g}" for side in box)
    what = (
        f"has the box [{shown}] ('{name}'), and all others within 0 and 1, too: they look like fractions of the "
        f"image's sides, but pixels of its {width}x{height} were expected"
    )
    if order is None:
        fix = (
            f"some are empty as {_EXPECTED}: if they are {_SIZES}, use --fix with --box-numbers size; if they are "
            "centers and sizes, write lines of class cx cy w h into the cells, which --fix turns."
        )
        return Verdict(cell.row, Flaw(what, fix, repairable=False))
    fix = f"multiply them by the sides, taken for {_SIZES if order == 'size' else _EXPECTED}."
    return Verdict(cell.row, Flaw(what, fix, repairable=True), _turned(cell, order))


def _turned(cell: _Cell, order: Order) -> str:
    """Return a cell with corners in pixels."""
    scale = _fractions(cell.boxes, cell.size)
    form: Form = "coco" if order == "size" else "corners"
    boxes = []
    for name, box in cell.boxes:
        numbers = in_pixels(box, cell.size) if scale else box
        boxes.append((name, corners(numbers, form, None, cell.size) or numbers))
    return dump(boxes)


def _fractions(boxes: NamedBoxes, size: tuple[int, int]) -> bool:
    return are_fractions([box for _, box in boxes], size)


def _sizes(boxes: NamedBoxes, size: tuple[int, int]) -> bool:
    return any(_empty(box) for _, box in boxes) and _all_fit(boxes, "size", size)


def _all_fit(boxes: NamedBoxes, order: Order, size: tuple[int, int]) -> bool:
    return all(size) and all(fits(box, order, size) for _, box in boxes)


def _empty(box: Numbers) -> bool:
    left, top, right, bottom = box
    return right <= left or bottom <= top
