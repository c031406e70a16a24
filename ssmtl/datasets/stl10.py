"""STL-10 (Coates et al. 2011): 5,000 labeled images of 96x96 pixels, and 100,000 whose classes nobody wrote down."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32, UInt8

from ssmtl.datasets.array_table import ArrayReader, ArrayTable, Part, class_indices
from ssmtl.datasets.base import Side
from ssmtl.datasets.files import listed
from ssmtl.errors import DataError

_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
_SHAPE = (3, 96, 96)
_BYTES = 3 * 96 * 96


class STL10(ArrayReader):
    """`stl10_binary/{train,test}_{X,y}.bin`, `unlabeled_X.bin` and, where it is there, `class_names.txt`.

    Unlabeled images also show animals and vehicles of other classes. The 2.8 GB stay on disk and are read as they are
    asked for.
    """

    canvas: tuple[Side, Side] = (96, 96)
    split: Literal["train", "test", "unlabeled", "train+unlabeled"] = "train"

    def classes(self, kind: str) -> tuple[str, ...]:
        return _NAMES if kind == "label" else ()

    def open(self) -> ArrayTable:
        root = self.folder("stl10_binary")
        _check_names(root / "class_names.txt")
        parts, columns = [], []
        for split in self.split.split("+"):
            images = _images(self.file(root, f"{split}_X.bin"))
            parts.append(Part(f"{split}_X", images))
            labeled = split != "unlabeled"
            columns.append(_labels(self.file(root, f"{split}_y.bin"), len(images)) if labeled else _unknown(images))
        return self.table(parts, columns)


@dataclass(frozen=True)
class ColumnMajor:
    """The `count` images of a file, mapped when the first one is asked for; pickles as the path, without a pixel.

    An image is stored color by color, and of each color column by column.
    """

    path: Path
    count: int

    @cached_property
    def _mapped(self) -> UInt8[np.ndarray, "n 3 96 96"]:
        return np.memmap(self.path, dtype=np.uint8, mode="r", shape=(self.count, *_SHAPE))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> UInt8[np.ndarray, "3 96 96"]:
        return np.asarray(self._mapped[row]).transpose(0, 2, 1)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "count": self.count}


def _images(path: Path) -> ColumnMajor:
    size = path.stat().st_size
    if not size or size % _BYTES:
        raise DataError(
            f"{path} has {size} bytes, but a multiple of {_BYTES} was expected (an image is 96x96 pixels in 3 colors); "
            "it is empty or cut short: fetch it again."
        )
    return ColumnMajor(path, size // _BYTES)


def _labels(path: Path, count: int) -> Int32[np.ndarray, " n"]:
    found = np.fromfile(path, dtype=np.uint8)
    if len(found) != count:
        raise DataError(f"{path} has {len(found)} labels for {count} images; fetch both files again.")
    return class_indices(path, found, 1, len(_NAMES))


def _unknown(images: ColumnMajor) -> Int32[np.ndarray, " n"]:
    return np.full(len(images), -1, dtype=np.int32)


def _check_names(path: Path) -> None:
    if path.is_file() and tuple(name for _, name in listed(path)) != _NAMES:
        raise DataError(
            f"{path} names other classes than STL-10's ({', '.join(_NAMES)}); restore the original file, so that "
            "labels mean what they say."
        )
