"""Seeded choices of rows: a validation part of a training set, or a sample of a large one."""

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped

from ssmtl.errors import DataError
from ssmtl.keyed import key, uniform


def held_out(
    fraction: float,
    seed: int,
    strata: Int32[np.ndarray, " n"],
    names: tuple[str, ...],
    patients: Shaped[np.ndarray, " n"] | None = None,
) -> Bool[np.ndarray, " n"]:
    """Choose `fraction` of each stratum (class) without tearing a patient apart; True marks the held-out rows.

    `strata` are indices into `names`; without `patients` every row is its own. A stratum gives `round(fraction * rows)`
    rows, at least one, and fewer only where whole patients don't fit. Depends on nothing but the arguments. Raises
    DataError when a stratum has too few patients to stand on both sides.
    """
    groups = np.arange(len(strata)) if patients is None else np.unique(patients, return_inverse=True)[1]
    present, codes = np.unique(strata, return_inverse=True)
    counts = np.zeros((len(np.unique(groups)), len(present)), dtype=np.int64)
    np.add.at(counts, (groups, codes), 1)
    order = np.argsort(uniform(key("holdout", seed), np.arange(len(counts)), 1)[:, 0], kind="stable")
    chosen = _fill(counts, np.maximum(1, np.rint(fraction * counts.sum(0)).astype(np.int64)), order)
    for index, taken, total in zip(present, counts[chosen].sum(0), counts.sum(0), strict=True):
        if taken in (0, total):
            raise DataError(
                f"'{names[index]}' has {total} image(s) of too few patients to hold {fraction:.0%} out for validation "
                "and keep some for training; set holdout=0 in the reader, or bring a validation split."
            )
    return chosen[groups]


def _fill(
    counts: Int64[np.ndarray, "patients strata"],
    wanted: Int64[np.ndarray, " strata"],
    order: Int64[np.ndarray, " patients"],
) -> Bool[np.ndarray, " patients"]:
    """Take patients in order while they fit; a stratum that nobody fits into gets its smallest patient."""
    chosen, left = np.zeros(len(counts), dtype=bool), wanted.copy()
    for patient in order:
        if (counts[patient] <= left).all():
            chosen[patient] = True
            left -= counts[patient]
        if not left.any():
            break
    for stratum in range(len(wanted)):
        if not counts[chosen, stratum].any():
            members = order[counts[order, stratum] > 0]
            chosen[members[np.argmin(counts[members].sum(1))]] = True
    return chosen


def sample_rows(n: int, count: int, name: str, seed: int) -> Int64[np.ndarray, " count"]:
    """Choose `count` of `n` rows at random, ascending; a larger count of one seed contains the smaller one.

    `name` keeps choices of different purpose apart.
    """
    noise = uniform(key("sample", name, seed), np.arange(n), 1)[:, 0]
    return np.sort(np.argsort(noise, kind="stable")[:count])
