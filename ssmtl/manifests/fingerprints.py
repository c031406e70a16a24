"""What an image is, in two hashes: one for the same bytes, one for the same picture saved again."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.fft
from jaxtyping import Bool, Int64, UInt64
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ssmtl.errors import DataError
from ssmtl.keyed import splitmix64

SAME_PICTURE = 12
"""Bits, of 256, in which the hashes of two copies of a picture may differ.

Measured: 588 chest films of four hospitals and 150 video frames all stay within 8 bits of themselves after JPEG at
quality 70, at half size and at twice the size, and 95% of the films within 12 after being brightened by 15%. Of 555,000
pairs of different films the nearest are 40 bits apart. Of 72 million pairs of small photographs (12,000 of CIFAR-10),
all those within 36 bits are the same picture in other colors. With the usual 64 bits, films of different patients come
as near to each other as copies do.
"""

HASH_SIDE = 16
_THUMBNAIL = 64
_HEX_DIGITS = 64
_FLAT = 8.0
_CHUNK = 2**22

Words: TypeAlias = UInt64[np.ndarray, "n 4"]
"""256 bits a row, as four words; zeros where a row has no hash."""


class Fingerprints(NamedTuple):
    """The hashes of a table's images; a row of zeros says that a hash isn't known."""

    sha256: Words
    phash: Words

    @classmethod
    def of(cls, sha256: pa.ChunkedArray | None, phash: pa.ChunkedArray | None) -> Self | None:
        """Return two columns of hexadecimal texts as words, None where neither column is there.

        Raises DataError for a text that is neither empty nor 64 hexadecimal digits.
        """
        known = sha256 if sha256 is not None else phash
        if known is None:
            return None
        blank = np.zeros((len(known), 4), dtype=np.uint64)
        return cls(*(blank if texts is None else words(texts) for texts in (sha256, phash)))

    def take(self, rows: Int64[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> Self:
        """Return some rows, in that order."""
        return type(self)(self.sha256[rows], self.phash[rows])


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def phash_of(image: Image.Image) -> str:
    """Return the perceptual hash (256 bits of the lowest 16 by 16 frequencies) of an 8-bit gray or RGB image.

    64 hexadecimal digits, or "" for a picture so plain that rounding decides its bits (one color, a blank scan, two
    halves): such pictures are only ever compared byte by byte.
    """
    thumbnail = image.convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    return "" if _is_plain(thumbnail) else str(imagehash.phash(thumbnail, hash_size=HASH_SIDE))


def _is_plain(thumbnail: Image.Image) -> bool:
    """Tell whether the frequencies that the hash compares with their median lie as near to it as rounding errors do.

    Photographs and films are at 50 times the rounding error and more, noise of one gray level is at 0.3.
    """
    frequencies = scipy.fft.dctn(np.asarray(thumbnail, dtype=np.float64), norm="ortho")[:HASH_SIDE, :HASH_SIDE]
    rounding = np.sqrt(1 / 12)
    return bool(np.median(np.abs(frequencies - np.median(frequencies))) < _FLAT * rounding)


def words(texts: pa.ChunkedArray) -> Words:
    """Return a column of hashes as words, zeros where it is empty; raises DataError for a text that is no hash."""
    filled = pc.fill_null(texts, "")
    filled = pc.if_else(pc.equal(filled, ""), "0" * _HEX_DIGITS, filled)
    wrong = pc.index(pc.match_substring_regex(filled, f"^[0-9a-fA-F]{{{_HEX_DIGITS}}}$"), False).as_py()
    if wrong >= 0:
        raise DataError(
            f"row {wrong + 1} has the hash '{filled[wrong].as_py()[:40]}', but {_HEX_DIGITS} hexadecimal digits were "
            "expected; empty the cell, and let `ssmtl data split` write it again."
        )
    packed = bytes.fromhex(
        "".join(chunk.cast(pa.string()).buffers()[2].to_pybytes().decode() for chunk in _whole(filled))
    )
    return np.frombuffer(packed, dtype=np.uint64).reshape(-1, 4)


def _whole(texts: pa.ChunkedArray) -> Iterator[pa.StringArray]:
    """Yield chunks that start at the start of their buffer."""
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        if len(chunk):
            yield pa.concat_arrays([chunk])


def near_pairs(first: Words, second: Words, within: int) -> Iterator[Int64[np.ndarray, "k 2"]]:
    """Yield (row of `first`, row of `second`) whose hashes differ in at most `within` bits, some of them repeatedly.

    Rows of zeros are near to nothing. Of `within` + 1 parts of a hash, one is the same in both: only rows that share a
    part are compared, so that the cost is that of sorting (multi-index hashing, Norouzi et al. 2012).
    """
    mine, yours = (np.flatnonzero(side.any(axis=1)) for side in (first, second))
    first, second = first[mine], second[yours]
    for part in range(within + 1):
        keys, wanted = _part(first, part, within + 1), _part(second, part, within + 1)
        order = np.argsort(keys, kind="stable")
        keys, in_order, start = keys[order], first[order, 0], second[:, 0].copy()
        starts, stops = (np.searchsorted(keys, wanted, side=side) for side in ("left", "right"))
        for rows, columns in _expand(starts, stops):
            # A quarter of the bits already tells nearly all strangers apart.
            alike = np.bitwise_count(in_order[rows] ^ start[columns]) <= within
            rows, columns = order[rows[alike]], columns[alike]
            near = np.bitwise_count(first[rows] ^ second[columns]).sum(axis=1) <= within
            if near.any():
                yield np.stack([mine[rows[near]], yours[columns[near]]], axis=1)


def _part(hashes: Words, part: int, parts: int) -> UInt64[np.ndarray, " n"]:
    """Return one number for every `parts`-th bit of a hash; every part has low and high frequencies."""
    bits = np.zeros(256, dtype=np.uint8)
    bits[part::parts] = 1
    mask = np.packbits(bits).view(np.uint64)
    mixed = np.zeros(len(hashes), dtype=np.uint64)
    for column in range(4):
        mixed = splitmix64(mixed ^ (hashes[:, column] & mask[column]))
    return mixed


def _expand(
    starts: Int64[np.ndarray, " n"], stops: Int64[np.ndarray, " n"]
) -> Iterator[tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]]:
    """Yield (place, n's index) for all places in [starts, stops), about 4 million at a time."""
    counts = stops - starts
    busy = np.flatnonzero(counts)
    ends = np.cumsum(counts[busy])
    cuts = np.searchsorted(ends, np.arange(_CHUNK, (ends[-1] if len(ends) else 0) + _CHUNK, _CHUNK))
    for part in np.split(busy, np.unique(np.minimum(cuts + 1, len(busy)))):
        if len(part):
            each = counts[part]
            before = np.repeat(np.cumsum(each) - each, each)
            yield np.repeat(starts[part], each) + np.arange(each.sum()) - before, np.repeat(part, each)


def same_pictures(prints: Fingerprints, within: int = SAME_PICTURE) -> Int64[np.ndarray, " n"]:
    """Return a number per row that rows of one picture share: the same bytes, or hashes at most `within` bits apart."""
    n = len(prints.sha256)
    links = [_equal(prints.sha256), _equal(prints.phash)]
    different = np.unique(links[1][:, 0]) if len(links[1]) else np.empty(0, dtype=np.int64)
    links += [different[pairs] for pairs in near_pairs(prints.phash[different], prints.phash[different], within)]
    return joined(n, links)


def joined(n: int, links: list[Int64[np.ndarray, "k 2"]]) -> Int64[np.ndarray, " n"]:
    """Return a number per row that rows share which are linked, directly or by way of others."""
    pairs = np.concatenate([*links, np.empty((0, 2), dtype=np.int64)])
    ones = np.ones(len(pairs), dtype=np.bool_)
    return connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n)), directed=False)[1].astype(
        np.int64
    )


def _equal(hashes: Words) -> Int64[np.ndarray, "k 2"]:
    """Return every row that has a hash with the first row of the same hash."""
    known = np.flatnonzero(hashes.any(axis=1))
    _, first, inverse = np.unique(_part(hashes[known], 0, 1), return_index=True, return_inverse=True)
    return np.stack([known[first[inverse]], known], axis=1)
