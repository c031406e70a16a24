"""Random numbers as pure functions of a key: no state, no order, the same on every device and process count.

The generator is splitmix64 used as a hash of a counter (Steele, Lea, Flood 2014): any (key, row, column) can be asked
for alone, so a draw does not depend on batch size, on the number of processes, or on what was drawn before.
"""

from hashlib import blake2b

import numpy as np
from jaxtyping import Float64, Int64, UInt64

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def key(*parts: int | str) -> int:
    """Hash integers and strings to one 64-bit key; ("a", 1) and ("a1",) differ."""
    digest = blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def splitmix64(x: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    """Mix 64-bit counters into 64 independent-looking bits each, elementwise."""
    with np.errstate(over="ignore"):
        z = x + GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(key: int, rows: Int64[np.ndarray, " n"], columns: int) -> Float64[np.ndarray, "n columns"]:
    """Return numbers uniform in [0, 1), row i drawn for `rows[i]` whatever the other rows are."""
    row_keys = splitmix64(np.uint64(key) ^ splitmix64(rows.astype(np.uint64)))
    counters = np.arange(columns, dtype=np.uint64)
    with np.errstate(over="ignore"):
        bits = splitmix64(row_keys[:, None] + counters[None, :] * np.uint64(0xD1342543DE82EF95))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
