"""SVHN, cropped: digits of house numbers (Netzer et al. 2011), 73,257 for training and 531,131 easier ones extra."""

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.io import loadmat, whosmat
from scipy.io.matlab import matfile_version

from ssmtl.datasets.array_table import ArrayReader, ArrayTable, Part, class_indices
from ssmtl.errors import DataError

_DIGITS = tuple("0123456789")
_MOST_IMAGES = 1_000_000
_REAL = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))

# Of the format of MATLAB's files ("MAT-File Level 5"): types of elements, then classes and a flag of arrays.
_HEADER, _HEAD = 128, 4096
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)
_NUMERIC, _COMPLEX = range(6, 16), 0x800


class SVHN(ArrayReader):
    """`{train,test,extra}_32x32.mat`: images [32, 32, 3, n] and labels 1 to 10, of which 10 is the digit 0.

    Classes are the digits "0" to "9". Other code makes class 9 of the digit 0; tasks compare names, so that the two
    can't be mixed up. Semi-supervised studies train without "extra", whose 1.6 GB are held in memory.
    """

    split: Literal["train", "test", "extra", "train+extra"] = "train"

    def classes(self, kind: str) -> tuple[str, ...]:
        return _DIGITS if kind == "label" else ()

    def open(self) -> ArrayTable:
        root = self.folder()
        parts, columns = [], []
        for split in self.split.split("+"):
            path = self.file(root, f"{split}_32x32.mat")
            found = _load(path)
            columns.append((class_indices(path, found["y"].ravel(), 1, 10) + np.int32(1)) % np.int32(10))
            parts.append(Part(path.stem, found["X"].transpose(3, 2, 0, 1)))
        return self.table(parts, columns)


def _load(path: Path) -> dict[str, Any]:
    """Return X and y of a file; raises DataError for one that is damaged, of version 7.3, or of other shapes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            version, _ = matfile_version(path, appendmat=False)
            if version == 2:
                raise DataError(
                    f"{path} is a MATLAB file of version 7.3 (HDF5), but version 5 was expected, as SVHN is published; "
                    "fetch the original file, or save it with -v7."
                )
            if version != 1:
                raise ValueError("it is of version 4")
            _check_types(path)
            _check_shapes(path, whosmat(path, appendmat=False))
            return loadmat(path, appendmat=False, variable_names=("X", "y"))
    except DataError:
        raise
    except Exception as error:  # damaged files end in errors of nearly every type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} is no MATLAB file of version 5, or damaged ({reason}); fetch the original file again."
        ) from error


def _check_types(path: Path) -> None:
    """Raise ValueError for X or y of anything but real numbers.

    scipy looks any other type of element up past the end of a table, which ends Python without a word.
    """
    with path.open("rb") as file:
        order = "<" if file.read(_HEADER)[-2:] == b"IM" else ">"
        while tag := file.read(8):
            kind, size = struct.unpack(f"{order}II", tag)
            after = file.tell() + size
            head = file.read(min(size, _HEAD))
            if kind == _COMPRESSED:
                head = zlib.decompressobj().decompress(head, _HEAD)
                (kind, _), head = struct.unpack_from(f"{order}II", head), head[8:]
            if kind != _MATRIX:
                raise ValueError(f"an element of type {kind} for a variable")
            _check_variable(head, order)
            file.seek(after)


def _check_variable(head: bytes, order: str) -> None:
    """Check the first bytes of a variable: flags, shape, name and numbers, each an element of its own."""
    if struct.unpack_from(f"{order}II", head) != (_UINT32, 8):
        raise ValueError("a variable without flags")
    (flags,) = struct.unpack_from(f"{order}I", head, 8)
    shape, _, place = _element(head, order, 16)
    name_type, name, place = _element(head, order, place)
    if (shape, name_type) != (_INT32, _INT8):
        raise ValueError("a variable without a shape or a name")
    if name not in (b"X", b"y") or flags & 0xFF not in _NUMERIC:
        return  # scipy won't be asked for it
    numbers, _, _ = _element(head, order, place)
    if flags & _COMPLEX or numbers not in _NUMBERS:
        what = "complex numbers" if flags & _COMPLEX else f"elements of type {numbers}"
        raise ValueError(f"{name.decode()} as {what}")


def _element(head: bytes, order: str, place: int) -> tuple[int, bytes, int]:
    """Return type and content of the element at `place`, cut off at the end of `head`, and the next one's place."""
    word, size = struct.unpack_from(f"{order}II", head, place)
    if word >> 16:  # up to four bytes are packed into the tag
        return word & 0xFFFF, head[place + 4 : place + 4 + (word >> 16)], place + 8
    return word, head[place + 8 : place + 8 + size], place + 8 + -(-size // 8) * 8


def _check_shapes(path: Path, variables: Sequence[tuple[str, tuple[int, ...], str]]) -> None:
    """Refuse other variables than SVHN's before any of them is unpacked into memory."""
    names = [name for name, _, _ in variables if name in ("X", "y")]
    if len(set(names)) < len(names):
        raise ValueError(f"it holds {' and '.join(names)}, but each of X and y once was expected")
    found = {name: (shape, kind) for name, shape, kind in variables}
    images, kind = found.get("X", ((), "nothing"))
    labels, of = found.get("y", ((), "nothing"))
    n = images[-1] if images else 0
    right = images == (32, 32, 3, n) and kind == "uint8" and n <= _MOST_IMAGES
    if not right or labels not in ((n, 1), (1, n)) or of not in _REAL:
        raise DataError(
            f"{path} holds X as {kind} {list(images)} and y as {of} {list(labels)}, but uint8 [32, 32, 3, n] and "
            f"numbers [n, 1] were expected, with at most {_MOST_IMAGES} images; fetch the original file of cropped "
            "digits."
        )
