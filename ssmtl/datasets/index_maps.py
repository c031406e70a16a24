"""Images whose pixels are numbers, not colors: maps of classes (8 bits) and of instances (16 bits)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8

from ssmtl.datasets.decode import Mask, load_image
from ssmtl.errors import DataError
from ssmtl.task import IGNORE_INDEX


@dataclass(frozen=True, eq=False)
class ClassMap:
    """Decodes masks whose pixel values stand for classes: `meaning` of each value, where it is `known`."""

    meaning: UInt8[np.ndarray, "256"]
    known: Bool[np.ndarray, "256"]

    @classmethod
    def of(cls, meaning: Mapping[int, int]) -> Self:
        """Return the map for {value in the file: class index, or 255 for ignore}."""
        values = np.array(list(meaning), dtype=np.int64)
        table, known = np.full(256, IGNORE_INDEX, dtype=np.uint8), np.zeros(256, dtype=np.bool_)
        table[values], known[values] = list(meaning.values()), True
        return cls(table, known)

    @classmethod
    def plain(cls, classes: int, *ignored: int) -> Self:
        """Return the map for files that hold class indices as they are, and `ignored` values."""
        return cls.of({**{index: index for index in range(classes)}, **dict.fromkeys(ignored, IGNORE_INDEX)})

    def __call__(self, path: Path) -> Mask:
        """Return the class indices in an 8-bit gray or palette image, whose colors don't matter.

        Raises DataError for colored pixels and for values that stand for nothing.
        """
        values = _numbers(path, ("L", "P"), "8-bit gray or palette")
        unknown = np.setdiff1d(numbers_in(values), np.flatnonzero(self.known))
        if len(unknown):
            raise DataError(
                f"{path} has the unknown value {', '.join(map(str, unknown[:4]))}{', ...' * (len(unknown) > 4)}, but "
                f"only {_ranges(np.flatnonzero(self.known))} mean something here; correct the mask, or take it out."
            )
        return self.meaning[values]


def decode_ids(path: Path) -> Int32[np.ndarray, "h w"]:
    """Return the numbers in a 16-bit gray image; raises DataError for any other."""
    return _numbers(path, ("I;16",), "16-bit gray").astype(np.int32)


def numbers_in(values: np.ndarray[tuple[int, int], np.dtype[Any]]) -> Int64[np.ndarray, " k"]:
    """Return which numbers from 0 to 65535 a map holds, ascending; several times faster than sorting its pixels."""
    seen = np.zeros(65_536, dtype=np.bool_)
    seen[values] = True
    return np.flatnonzero(seen)


def _numbers(
    path: Path, modes: tuple[str, ...], expected: str
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8 | np.uint16]]:
    image = load_image(path, deep="I;16" in modes)
    if image.mode not in modes:
        raise DataError(
            f"{path} has pixels of mode {image.mode}, but a map of numbers was expected ({expected}); a colored or "
            "converted picture of the map can't stand in for it: use the original file."
        )
    return np.asarray(image)


def _ranges(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    """Return numbers as text, runs of them as "first..last"."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
