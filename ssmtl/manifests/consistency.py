"""What no row shows alone: rows that contradict each other, groups and pictures on both sides of a split."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int8, Int64

from ssmtl.manifests.fingerprints import Fingerprints
from ssmtl.manifests.sheet import Sheet


class Clash(NamedTuple):
    """Two rows that can't both stay as they are: the later one, the earlier one, and what they have in common."""

    row: int
    other: int
    value: str = ""


def same_hashes(hashes: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, int]]:
    """Yield (row, first row of the same hash) for every row that isn't the first, zeros left out."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    earlier = first[inverse]
    for row in np.flatnonzero((earlier < np.arange(len(hashes))) & (hashes != 0)):
        yield int(row), int(earlier[row])


def torn_groups(sheet: Sheet, column: int, splits: Int8[np.ndarray, " n"]) -> Iterator[Clash]:
    """Yield the first row of a group that is in another split than its first row that is in any; one for each group.

    `splits` are places in `ssmtl.manifests.split.SPLITS`, -1 for rows that no split uses.
    """
    encoded = sheet.columns[column].combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    used = np.flatnonzero((codes >= 0) & (splits >= 0))
    groups, first, inverse = np.unique(codes[used], return_index=True, return_inverse=True)
    differs = splits[used] != splits[used[first[inverse]]]
    torn, where = np.unique(inverse[differs], return_index=True)
    rows = used[differs][where]
    for group, row in zip(torn, rows, strict=True):
        yield Clash(int(row), int(used[first[group]]), encoded.dictionary[int(groups[group])].as_py())


def leaked(prints: Fingerprints, splits: Int8[np.ndarray, " n"]) -> Iterator[Clash]:
    """Yield every row of a later split that shows the same picture as a row of an earlier one, once per split."""
    # The recipe's world is behind this import, and most checks come to an end without it.
    from ssmtl.manifests.leaks import leaks

    for later, earlier in ((2, 0), (1, 0), (2, 1)):
        seen, unseen = np.flatnonzero(splits == earlier), np.flatnonzero(splits == later)
        reported = -1
        for row, other in leaks(prints.take(seen), prints.take(unseen)).tolist():
            if other != reported:
                reported = other
                yield Clash(int(unseen[other]), int(seen[row]))


def same_bytes(prints: Fingerprints, splits: Int8[np.ndarray, " n"]) -> Iterator[Clash]:
    """Yield every row whose image is byte by byte that of an earlier row of its split."""
    known = np.flatnonzero(prints.sha256.any(axis=1))
    keys = np.concatenate([prints.sha256[known], splits[known, None].astype(np.uint64)], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    for place in np.flatnonzero(first[inverse] < np.arange(len(known))):
        yield Clash(int(known[place]), int(known[first[inverse[place]]]))
