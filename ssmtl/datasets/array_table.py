"""Tables of small images that are held in memory, and what the readers of such sets share."""

import os
from abc import ABC
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np
from jaxtyping import Bool, Int32, Shaped, UInt8
from PIL import Image
from pydantic import Field, model_validator

from ssmtl.batch import Sample
from ssmtl.datasets.base import Reader, Side
from ssmtl.datasets.canvas import place_image
from ssmtl.errors import DataError


class Images(Protocol):
    """RGB images by row, as an array [n, 3, h, w] of uint8 gives them; each access may make a view or a copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> UInt8[np.ndarray, "3 h w"]: ...


class Part(NamedTuple):
    """The images of one file; `name` is what their names begin with: the file's, wherever its folder lies."""

    name: str
    images: Images


@dataclass(frozen=True, eq=False)
class ArrayTable:
    """A table over images that need no decoding, file by file, with their class indices (-1: not annotated).

    A row is named after its file and its place in it: "data_batch_1/00012". `table[row]` raises IndexError outside.
    """

    parts: tuple[Part, ...]
    column: Int32[np.ndarray, " n"]
    canvas: tuple[int, int] = (32, 32)
    channels: int = 3

    in_memory: ClassVar[bool] = True
    """A memory of decoded samples in front of this table would hold them twice."""

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(part.images) for part in self.parts)][:-1]

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, row: int) -> Sample:
        part, place = self._place(row)
        pixels, label = part.images[place], int(self.column[row])
        source = (pixels.shape[1], pixels.shape[2])
        if source == self.canvas and self.channels == 3:
            image = np.array(pixels, order="C")
        else:
            picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
            image = place_image(picture, self.canvas, self.channels, self.canvas)
        return Sample(_name(part, place), image, self.canvas, source, {"label": label} if label >= 0 else {})

    def name(self, row: int) -> str:
        return _name(*self._place(row))

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return self.column >= 0 if kind == "label" else np.zeros(len(self), dtype=np.bool_)

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        return self.column if kind == "label" else None

    def made_of(self, row: int, kind: str) -> tuple[bytes, ...]:
        """Return the pixels as they are stored, and the label: a file holds too many images to stand for one."""
        part, place = self._place(row)
        return part.images[place].tobytes(), str(self.column[row]).encode()

    def patients(self) -> None:
        """Return None: these sets don't say which images belong together."""

    def _place(self, row: int) -> tuple[Part, int]:
        index = range(len(self))[row]
        part = bisect_right(self._starts, index) - 1
        return self.parts[part], index - self._starts[part]


def _name(part: Part, place: int) -> str:
    return f"{part.name}/{place:05d}"


class ArrayReader(Reader, ABC):
    """A set of small RGB images, packed into a few files in the folder `root`.

    On another canvas the images are stretched, with one channel they become gray.
    """

    root: Path = Field(kw_only=False)
    canvas: tuple[Side, Side] = (32, 32)
    channels: int = 3

    @model_validator(mode="after")
    def _gray_or_rgb(self) -> Self:
        if self.channels not in (1, 3):
            raise ValueError(f"{self.kind} reads 1 channel (gray) or 3 (RGB), got channels={self.channels}")
        return self

    def folder(self, *inside: str) -> Path:
        """Return the folder that holds the set: `root`, or one of the usual names in it.

        Raises DataError when there is no such folder.
        """
        root = self.root.expanduser().resolve()
        if not root.is_dir():
            raise DataError(f"{self.kind} found no folder {root}; set `root` to the folder that holds its files.")
        return next((root / name for name in inside if (root / name).is_dir()), root)

    def file(self, folder: Path, *names: str) -> Path:
        """Return the first of some files that is there; raises DataError naming all that were tried."""
        found = next((folder / name for name in names if (folder / name).is_file()), None)
        if found is None:
            tried = " or ".join(f"'{name}'" for name in names)
            raise DataError(
                f"{self.kind} looked for {tried} in {folder} and found none; unpack the original download there, or "
                "set `root` to where it is."
            )
        if not os.access(found, os.R_OK):
            raise DataError(f"{found} may not be read; check its permissions.")
        return found

    def table(self, parts: Sequence[Part], labels: Sequence[Int32[np.ndarray, " m"]]) -> ArrayTable:
        """Return the table of some files, one after the other; raises DataError for one without an image."""
        for part in parts:
            if not len(part.images):
                raise DataError(f"{self.kind} found no image in {part.name}; fetch the original file again.")
        return ArrayTable(tuple(parts), np.concatenate(labels), self.canvas, self.channels)


def class_indices(path: Path, found: Shaped[np.ndarray, " n"], first: int, count: int) -> Int32[np.ndarray, " n"]:
    """Return labels counted from `first` as indices from 0; raises DataError for one outside the `count` classes."""
    labels = np.asarray(found)
    right = np.zeros(labels.shape, dtype=np.bool_)
    if labels.dtype.kind in "iuf":
        right = (labels >= first) & (labels < first + count) & (labels == np.floor(labels))
    if not right.all():
        raise DataError(
            f"{path} has the label {labels[~right][0]!s}, but whole numbers from {first} to {first + count - 1} were "
            "expected; fetch the original file again."
        )
    return (labels.astype(np.int64) - first).astype(np.int32)
