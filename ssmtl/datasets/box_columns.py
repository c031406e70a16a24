"""Boxes of many images: flat columns for what one file lists, files for what stands beside each image."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int32, Int64

from ssmtl.errors import DataError
from ssmtl.task import BoxList
from ssmtl.views.boxes import check_boxes

Numbers: TypeAlias = tuple[float, float, float, float]
"""The four numbers of a box, whatever a format takes them for."""


class SourceBoxes(NamedTuple):
    """The boxes of one image as its file gives them: half-open pixel edges of the source image, not yet checked."""

    where: str
    """In which file and for which image they stand; messages begin with it."""
    xyxy: Float64[np.ndarray, "m 4"]
    labels: Int64[np.ndarray, " m"]
    crowd: Bool[np.ndarray, " m"]
    size: tuple[int, int] = (0, 0)
    """The (height, width) that the file says the image has; zeros where it doesn't say."""
    terms: str = ""
    """What the four edges are made of, where the file holds other numbers; messages say it."""

    def placed(self, source: tuple[int, int], shown: tuple[int, int]) -> BoxList:
        """Return the boxes on a canvas of which the image of `source` (height, width) fills `shown`.

        What sticks out of the image is cut off. Raises DataError for boxes that aren't finite, are empty or don't touch
        the image, and for an image of another size than the boxes were drawn in.
        """
        if all(self.size) and self.size != source:
            raise DataError(
                f"{self.where}: it says {self.size[1]}x{self.size[0]} pixels, but the image has "
                f"{source[1]}x{source[0]}, and boxes are in pixels of their image; use the original image, or scale "
                "its boxes."
            )
        check_boxes(self.xyxy, self.where, source, terms=self.terms)
        edges, scale = np.tile(source[::-1], 2), np.tile(np.divide(shown, source)[::-1], 2)
        placed = (np.clip(self.xyxy, 0, edges) * scale).astype(np.float32)
        check_boxes(placed, self.where, shown, terms="on the canvas")
        return BoxList(placed, self.labels, self.crowd)


class BoxSource(Protocol):
    """Where the boxes of a table's rows come from."""

    def annotated(self) -> Bool[np.ndarray, " n"]:
        """Return which rows have been annotated with boxes, be it with none, without opening files."""

    def read(self, row: int, image: str) -> SourceBoxes:
        """Return the boxes of a row that is annotated, whose image is `image`."""

    def made_of(self, row: int) -> tuple[Path | bytes, ...]:
        """Return the files behind a row's boxes, or as bytes what a file shared by many rows says of it."""


@dataclass(frozen=True, eq=False)
class BoxColumns:
    """The boxes that `path` lists for n images: row i has those from `starts[i]` to `starts[i + 1]`.

    35 bytes a box. Rows that aren't `listed` are not annotated; `sizes` and `terms` are as in `SourceBoxes`.
    """

    path: Path
    xyxy: Float64[np.ndarray, "m 4"]
    labels: Int16[np.ndarray, " m"]
    crowd: Bool[np.ndarray, " m"]
    starts: Int64[np.ndarray, " n_and_1"]
    listed: Bool[np.ndarray, " n"]
    sizes: Int32[np.ndarray, "n 2"]
    terms: str = ""

    def annotated(self) -> Bool[np.ndarray, " n"]:
        return self.listed

    def made_of(self, row: int) -> tuple[Path | bytes, ...]:
        part = slice(self.starts[row], self.starts[row + 1])
        return tuple(column[part].tobytes() for column in (self.xyxy, self.labels, self.crowd))

    def read(self, row: int, image: str) -> SourceBoxes:
        part = slice(self.starts[row], self.starts[row + 1])
        height, width = self.sizes[row].tolist()
        labels = self.labels[part].astype(np.int64)
        crowd = self.crowd[part].copy()
        return SourceBoxes(f"{self.path}, image {image}", self.xyxy[part], labels, crowd, (height, width), self.terms)


class Row(NamedTuple):
    """One box of a list: which image (its place in the list), which class, a crowd or not, and its edges."""

    owner: int
    label: int
    crowd: bool
    x1: float
    y1: float
    x2: float
    y2: float


class Listing(NamedTuple):
    """What an annotation file says, in its own order: its images, and which image each box belongs to."""

    path: Path
    images: tuple[str, ...]
    sizes: Int32[np.ndarray, "k 2"]
    rows: Float64[np.ndarray, "m 7"]
    terms: str = ""

    @classmethod
    def of(
        cls,
        path: Path,
        images: tuple[str, ...],
        rows: Sequence[Row],
        sizes: Sequence[tuple[int, int]] = (),
        terms: str = "",
    ) -> Self:
        """Return a listing; `sizes` (height, width) are those that the file says its images have, 0 where it doesn't.

        `terms` are as in `SourceBoxes`.

        Raises DataError for an image that is listed twice.
        """
        if len(set(images)) < len(images):
            twice = next(image for place, image in enumerate(images) if image in images[:place])
            raise DataError(f"{path} lists the image {twice} twice; give every image one entry.")
        stated = np.array(sizes or [(0, 0)] * len(images), dtype=np.int32).reshape(-1, 2)
        return cls(path, images, stated, np.array(rows, dtype=np.float64).reshape(-1, 7), terms)

    def refuse_unlisted(self, names: Sequence[str], otherwise: str = "take the image out") -> None:
        """Raise DataError for the first of `names` that isn't listed; `otherwise` is the way out."""
        listed = set(self.images)
        for name in names:
            if name not in listed:
                raise DataError(
                    f"{self.path} doesn't list the image {name}, so nobody knows what it shows; add its entry, or "
                    f"{otherwise}."
                )

    def columns(self, names: Sequence[str], folder: Path) -> BoxColumns:
        """Return the boxes in the order of `names`, the files in `folder`.

        Raises DataError for a listed image that isn't there.
        """
        places = {name: row for row, name in enumerate(names)}
        for image in self.images:
            if image not in places:
                raise DataError(
                    f"{self.path} lists the image {image}, which is not in {folder}; restore the image, or take its "
                    "entry out."
                )
        place = np.array([places[image] for image in self.images], dtype=np.int64)
        owner = place[self.rows[:, 0].astype(np.int64)]
        order = np.argsort(owner, kind="stable")
        listed, sizes = np.zeros(len(names), dtype=np.bool_), np.zeros((len(names), 2), dtype=np.int32)
        listed[place], sizes[place] = True, self.sizes
        return BoxColumns(
            path=self.path,
            xyxy=self.rows[order, 3:],
            labels=self.rows[order, 1].astype(np.int16),
            crowd=self.rows[order, 2].astype(np.bool_),
            starts=np.searchsorted(owner[order], np.arange(len(names) + 1)),
            listed=listed,
            sizes=sizes,
            terms=self.terms,
        )


def four_numbers(where: str, name: str, found: Any) -> Numbers:
    """Return a box of a file as it is; raises DataError for anything but four finite numbers."""
    if not isinstance(found, list | tuple) or len(found) != 4 or not all(_finite(side) for side in found):
        raise DataError(
            f"{where} has {str(found)[:60]} for its '{name}', but four finite numbers were expected; correct the "
            "entry, or take it out."
        )
    a, b, c, d = (float(side) for side in found)
    return a, b, c, d


def _finite(value: Any) -> bool:
    """Tell whether a value is a number that a float can hold; whole numbers in JSON may have thousands of digits."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def as_written(numbers: Numbers) -> str:
    """Return the numbers of a box as a file has them: whole ones without a point."""
    return f"[{', '.join(repr(number).removesuffix('.0') for number in numbers)}]"


def half_open(where: str, corners: Numbers, first: int, size: tuple[int, int] | None = None) -> Numbers:
    """Return the edges of a box (x1, y1, x2, y2) that names its first and last pixels, counted from `first`.

    Half-open edges are a pixel longer, so the file's own numbers are looked at. Raises DataError for a box that ends
    before it begins, and for one outside its image, whose `size` is (height, width) where the file says it.
    """
    x1, y1, x2, y2 = corners
    if x2 < x1 or y2 < y1:
        raise DataError(
            f"{where} has the box {as_written(corners)}, but x2 and y2 name its last pixel, which can't come before "
            "its first; exchange them, or take it out."
        )
    height, width = size or (sys.maxsize, sys.maxsize)
    if x2 < first or y2 < first or x1 >= first + width or y1 >= first + height:
        extent = f" of {width}x{height} pixels" if size else ""
        raise DataError(
            f"{where} has the box {as_written(corners)}, which lies outside its image{extent}; give x1, y1, x2 and y2 "
            "in pixels of that image, or take it out."
        )
    return x1 - first, y1 - first, x2 + (1 - first), y2 + (1 - first)
