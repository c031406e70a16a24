"""The annotation columns of a manifest: what a row says, read when it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int32

from ssmtl.datasets.box_columns import BoxColumns, Listing, SourceBoxes
from ssmtl.datasets.canvas import place_mask
from ssmtl.datasets.coco_json import read_coco
from ssmtl.datasets.index_maps import ClassMap
from ssmtl.datasets.remote import fetch, is_uri
from ssmtl.errors import DataError, nearest
from ssmtl.manifests.cells import parse_boxes, parse_labels
from ssmtl.task import IGNORE_INDEX, Annotation, BoxList

_UNLISTED = -1


class Frame(NamedTuple):
    """Where the annotations of one image go: sizes as (height, width).

    The file's, that of the canvas, and the part of the canvas that shows the image.
    """

    image: str
    source: tuple[int, int]
    canvas: tuple[int, int]
    shown: tuple[int, int]


@dataclass(frozen=True)
class Places:
    """Where the files that cells name lie: below `root`, its real path, unless more is allowed."""

    root: Path
    allow_outside: bool
    remote: bool

    def find(self, text: str) -> Path:
        """Return the local file that a cell names; raises DataError for one that leads to where it may not."""
        if is_uri(text):
            if not self.remote:
                raise DataError(
                    f"'{text}' lies behind a protocol, and nothing is fetched unasked; set remote=True in the "
                    "Manifest, or copy the files in and name their paths."
                )
            return fetch(text)
        path = self.root / text
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"the path '{text}' leads nowhere ({error}); correct it, or replace its links.") from error
        if not self.allow_outside and not real.is_relative_to(self.root):
            raise DataError(
                f"'{text}' leads out of {self.root}; copy the file in, or set allow_outside=True in the Manifest."
            )
        return path


class Cells(Protocol):
    """One annotation column."""

    def annotated(self) -> Bool[np.ndarray, " n"]:
        """Return which rows are annotated, be it with nothing, without opening files."""

    def has(self, row: int) -> bool:
        """Tell whether a row is annotated."""

    def read(self, row: int, frame: Frame) -> Annotation:
        """Return what an annotated row says; raises DataError for what can't be read or doesn't fit the image."""

    def made_of(self, row: int) -> tuple[Path | bytes, ...]:
        """Return the files behind an annotated row, or as bytes what the manifest itself says."""


@dataclass(frozen=True, eq=False)
class LabelCells:
    """One class a row, as an index; -1 where there is none."""

    index: Int32[np.ndarray, " n"]
    names: tuple[str, ...]

    def annotated(self) -> Bool[np.ndarray, " n"]:
        return self.index >= 0

    def has(self, row: int) -> bool:
        return bool(self.index[row] >= 0)

    def read(self, row: int, frame: Frame) -> int:
        return int(self.index[row])

    def made_of(self, row: int) -> tuple[bytes]:
        return (self.names[self.index[row]].encode(),)


@dataclass(frozen=True, eq=False)
class SeveralCells:
    """Several classes a row."""

    texts: pa.ChunkedArray
    names: tuple[str, ...]

    def annotated(self) -> Bool[np.ndarray, " n"]:
        return filled(self.texts)

    def has(self, row: int) -> bool:
        return bool(self.texts[row].is_valid)

    def read(self, row: int, frame: Frame) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """Return 0 or 1 for each of the column's classes."""
        shown = np.zeros(len(self.names), dtype=np.uint8)
        for name in parse_labels(self.texts[row].as_py()):
            shown[index_of(name, self.names)] = 1
        return shown

    def made_of(self, row: int) -> tuple[bytes]:
        return ("|".join(sorted(parse_labels(self.texts[row].as_py()))).encode(),)


@dataclass(frozen=True, eq=False)
class MaskCells:
    """The path of a mask a row."""

    texts: pa.ChunkedArray
    places: Places
    decode: ClassMap

    @classmethod
    def of(cls, texts: pa.ChunkedArray, places: Places, names: tuple[str, ...]) -> Self:
        """Return the cells of masks whose pixels are indices of classes, or 255 to be ignored."""
        return cls(texts, places, ClassMap.plain(len(names), IGNORE_INDEX))

    def annotated(self) -> Bool[np.ndarray, " n"]:
        return filled(self.texts)

    def has(self, row: int) -> bool:
        return bool(self.texts[row].is_valid)

    def read(self, row: int, frame: Frame) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        (path,) = self.made_of(row)
        mask = self.decode(path)
        if mask.shape != frame.source:
            raise DataError(
                f"{path} is {mask.shape[1]}x{mask.shape[0]} pixels, but its image {frame.image} is "
                f"{frame.source[1]}x{frame.source[0]}; a mask must have the size of its image: export it again."
            )
        return place_mask(mask, frame.canvas, frame.shown)

    def made_of(self, row: int) -> tuple[Path]:
        return (self.places.find(self.texts[row].as_py()),)


@dataclass(frozen=True, eq=False)
class BoxCells:
    """Boxes as JSON a row, or the path of a COCO file, which is read once, when this is built.

    `listed` holds those files by their cells, and `entry` which of a file's images a row's is, -1 for none of them;
    it is None where all boxes stand in their cells.
    """

    texts: pa.ChunkedArray
    names: tuple[str, ...]
    listed: Mapping[str, BoxColumns]
    entry: Int32[np.ndarray, " n"] | None

    @classmethod
    def of(cls, texts: pa.ChunkedArray, images: pa.ChunkedArray, places: Places, names: tuple[str, ...]) -> Self:
        """Read every COCO file, and find the images in them by the names of their files."""
        coco = pc.fill_null(pc.ends_with(texts, ".json", ignore_case=True), False)
        if not pc.any(coco).as_py():
            return cls(texts, names, {}, None)
        listed: dict[str, BoxColumns] = {}
        entry = np.full(len(texts), _UNLISTED, dtype=np.int32)
        for text in pc.unique(texts.filter(coco)).to_pylist():
            path = places.find(text)
            listing = read_coco(path, names)
            rows = np.flatnonzero(as_array(pc.fill_null(pc.equal(texts, text), False)))
            entry[rows] = _entries(path, listing, images.take(pa.array(rows)))
            listed[text] = listing.columns(listing.images, path.parent)
        return cls(texts, names, listed, entry)

    def annotated(self) -> Bool[np.ndarray, " n"]:
        return filled(self.texts)

    def has(self, row: int) -> bool:
        return bool(self.texts[row].is_valid)

    def read(self, row: int, frame: Frame) -> BoxList:
        return self._boxes(row, frame.image).placed(frame.source, frame.shown)

    def made_of(self, row: int) -> tuple[Path | bytes, ...]:
        text = self.texts[row].as_py()
        if text in self.listed:
            return self.listed[text].made_of(self._entry(row, text))
        return (repr(sorted(parse_boxes(text))).encode(),)

    def _boxes(self, row: int, image: str) -> SourceBoxes:
        text = self.texts[row].as_py()
        if text in self.listed:
            return self.listed[text].read(self._entry(row, text), PurePosixPath(image).name)
        boxes = parse_boxes(text)
        return SourceBoxes(
            "its boxes",
            np.array([box.edges for box in boxes], dtype=np.float64).reshape(-1, 4),
            np.array([index_of(box.label, self.names) for box in boxes], dtype=np.int64),
            np.zeros(len(boxes), dtype=np.bool_),
        )

    def _entry(self, row: int, text: str) -> int:
        if self.entry is None or self.entry[row] == _UNLISTED:
            raise DataError(
                f"{self.listed[text].path} doesn't list the image, so nobody knows what it shows; add its entry to "
                "that file, or empty the cell if it was not annotated."
            )
        return int(self.entry[row])


def _entries(path: Path, listing: Listing, images: pa.ChunkedArray) -> Int32[np.ndarray, " k"]:
    """Return which of a file's images each of some rows shows; raises DataError where two rows show the same."""
    files = pc.replace_substring_regex(images, r"^.*[/\\]", "")
    found = as_array(pc.fill_null(pc.index_in(files, value_set=pa.array(listing.images, pa.string())), _UNLISTED))
    shown, counts = np.unique(found[found != _UNLISTED], return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f"{path} has one entry for {listing.images[shown[np.argmax(counts > 1)]]}, but several rows that refer to "
            "it have images of that name; give them different names, or write their boxes into the table."
        )
    return found


def index_of(name: str, names: Sequence[str]) -> int:
    """Return the index of a class; raises DataError for one that isn't there, naming the nearest."""
    if name not in names:
        raise DataError(
            f"it has the class '{name}', which is none of the column's; correct it, or name it in the classes file"
            f"{nearest(name, names)}"
        )
    return names.index(name)


def filled(texts: pa.ChunkedArray) -> Bool[np.ndarray, " n"]:
    """Return which cells aren't empty."""
    return as_array(texts.is_valid())


def as_array(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[Any]]:
    """Return a column of numbers or truths without gaps as an array."""
    return column.to_numpy()
