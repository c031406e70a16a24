"""Pickles as Python 2 wrote them, which is how the public batches of small images came to be."""

import pickle
import struct
from pathlib import Path

import numpy as np


def python2_pickle(path: Path, entries: dict[str, object]) -> Path:
    """Write a dict of uint8 arrays, texts, and lists of numbers or texts, in the opcodes of Python 2's protocol 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items = b"".join(_text(name) + _value(value) for name, value in entries.items())
    path.write_bytes(b"\x80\x02}(" + items + b"u.")
    return path


def _value(value: object) -> bytes:
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, list):
        return b"](" + b"".join(_value(item) for item in value) + b"e"
    return _text(value) if isinstance(value, str) else _number(value)


def _text(text: str) -> bytes:
    return _string(text.encode("latin1"))


def _string(raw: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(raw)) + raw


def _number(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _array(array: np.ndarray) -> bytes:
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNN" + _number(-1) * 2 + b"K\x00tb"
    shape = b"(" + b"".join(map(_number, array.shape)) + b"t"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + _string(array.tobytes()) + b"tb"


def pickled(path: Path, value: object, protocol: int = 4) -> Path:
    """Write a pickle as Python 3 does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path
