"""Batches of images in pickles that strangers made: arrays come out, and no code of theirs runs."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from ssmtl.datasets.array_table import class_indices
from ssmtl.errors import DataError

SIDE = 32
MOST_BYTES = 2**30
"""Size of the largest file, unpacked: the largest original batch, of ImageNet, has 0.4 GB."""
Planes: TypeAlias = UInt8[np.ndarray, "n 3 32 32"]


class _Dtype:
    """Stands in for numpy.dtype, whose own state can be made to take bytes for pointers: plain integers only."""

    def __init__(self, code: str | bytes = "", *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]

    def real(self) -> np.dtype[Any]:
        if self.code not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
            what = f"type {self.code[:20]!r}" if isinstance(self.code, str) else "no type"
            raise pickle.UnpicklingError(f"an array of {what}")
        if self.order not in ("|", "<", ">", "="):
            raise pickle.UnpicklingError("an array without an order of bytes")
        return np.dtype(self.order + self.code)


class _Array:
    """Stands in for numpy.ndarray and for the function that makes an empty one to be filled."""

    array: np.ndarray[Any, np.dtype[Any]]

    def __new__(cls, *_: Any) -> Self:  # a pickle can leave out __init__, and the state too
        made = super().__new__(cls)
        made.array = np.empty(0, dtype=np.uint8)
        return made

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, columns_first, content = state
        real = dtype.real()
        raw = content if isinstance(content, bytes) else content.encode("latin1")
        self.array = np.frombuffer(raw, real).reshape(shape, order="F" if columns_first else "C")


class _Buffered(_Array):
    """Stands in for the function that makes an array of the bytes in a pickle of protocol 5."""

    def __init__(self, content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> None:
        if not isinstance(content, bytes | bytearray):
            raise pickle.UnpicklingError("an array of something else than bytes")
        _Array.__setstate__(self, (1, shape, dtype, order == "F", bytes(content)))


class _Encoded(bytes):
    """Stands in for codecs.encode, as which Python 3 writes bytes into old pickles."""

    def __new__(cls, text: str, _: str = "latin1") -> "_Encoded":
        return super().__new__(cls, text.encode("latin1"))

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("bytes with a state")


_NUMPY = {"_reconstruct": _Array, "_frombuffer": _Buffered}
_KNOWN: Mapping[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Encoded,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffered for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for '{module}.{name}', which no batch of images needs")
        return _KNOWN[module, name]


def read_pickle(path: Path) -> dict[str, Any]:
    """Return the dict in a pickle of Python 2 or 3, arrays as read-only numpy arrays, keys as text.

    Only dicts, lists, tuples, texts, numbers and arrays of numbers are made; nothing that the file names is imported or
    called. Raises DataError for a file that asks for anything else, is larger than `MOST_BYTES`, damaged, cut short, or
    no pickle of a dict. Lists may be nested so that they are endless to go through: ask for types before contents.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise pickle.UnpicklingError(f"it has {path.stat().st_size} bytes, more than {MOST_BYTES}")
        with path.open("rb") as file:
            found = _Unpickler(file, encoding="bytes").load()
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}); check the file and its permissions.") from error
    except Exception as error:  # damaged pickles end in errors of nearly every type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{path} can't be read as a pickle of images ({reason}); nothing of it was run: fetch the original "
            "file again."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(name, str | bytes) for name in found):
        raise DataError(f"{path} holds a {type(found).__name__}, but a dict of images and labels was expected.")
    texts = {name.decode("latin1") if isinstance(name, bytes) else name: value for name, value in found.items()}
    return {name: value.array if isinstance(value, _Array) else value for name, value in texts.items()}


def images_of(
    path: Path, batch: Mapping[str, Any], key: str, classes: int, first: int = 0
) -> tuple[Planes, Int32[np.ndarray, " n"]]:
    """Return a batch's images (without copying) and its labels under `key`, which count `classes` from `first`.

    `data` is uint8 [n, 3072]: a row holds 1,024 red, 1,024 green and 1,024 blue pixels, line by line. Raises DataError
    when an entry is missing or of another shape, and for a label outside the classes.
    """
    for name in ("data", key):
        if name not in batch:
            there = ", ".join(map(repr, sorted(batch)))[:200] or "nothing"
            raise DataError(
                f"{path} has no entry '{name}' (only {there}); it is not the file that its name says: fetch the "
                "original again."
            )
    data, found = batch["data"], batch[key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * SIDE * SIDE,):
        what = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(
            f"{path} has images as {what}, but uint8 [n, {3 * SIDE * SIDE}] was expected (32x32 pixels in 3 colors); "
            "fetch the original file again."
        )
    labels = _numbers(found)
    if labels.shape != (len(data),):
        raise DataError(
            f"{path} has {len(data)} images, but its '{key}' are no list of as many numbers; fetch the original file "
            "again."
        )
    return data.reshape(-1, 3, SIDE, SIDE), class_indices(path, labels, first, classes)


def _numbers(found: object) -> Shaped[np.ndarray, "..."]:
    """Return numbers of usual size as an array, an empty one for whatever is no array and no flat list of such."""
    if isinstance(found, np.ndarray):
        return found
    flat = isinstance(found, list | tuple) and all(isinstance(number, int | float) for number in found)
    numbers = np.array(found if flat else ())
    return numbers if numbers.dtype != np.object_ else np.empty(0)
