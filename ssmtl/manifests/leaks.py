"""Test images in training: found by their hashes, and refused before anything is trained."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int64

from ssmtl.datasets.base import Table, fingerprints_of
from ssmtl.errors import DataError
from ssmtl.manifests.fingerprints import SAME_PICTURE, Fingerprints, near_pairs

if TYPE_CHECKING:
    from ssmtl.recipe import Recipe


class Images(NamedTuple):
    """Images of one purpose: their hashes, and for messages a phrase that names a row, with its file."""

    prints: Fingerprints
    name: Callable[[int], str]


def leaks(training: Fingerprints, testing: Fingerprints, within: int = SAME_PICTURE) -> Int64[np.ndarray, "k 2"]:
    """Return every (row of training, row of testing) that is one picture, sorted by the second.

    One picture: the same bytes, or perceptual hashes at most `within` bits apart. Rows without a hash are compared by
    the other one, or not at all.
    """
    found = [
        np.empty((0, 2), dtype=np.int64),
        *near_pairs(training.sha256, testing.sha256, 0),
        *near_pairs(training.phash, testing.phash, within),
    ]
    pairs = np.unique(np.concatenate(found)[:, ::-1], axis=0)
    return pairs[:, ::-1]


def refuse_leaks(training: Images, testing: Images, within: int = SAME_PICTURE) -> None:
    """Raise DataError naming both files of the first image that is on both sides, and how to divide the data again."""
    pairs = leaks(training.prints, testing.prints, within)
    if not len(pairs):
        return
    row, other = pairs[0].tolist()
    same = (training.prints.sha256[row] == testing.prints.sha256[other]).all()
    how = "the same file" if same and training.prints.sha256[row].any() else "the same picture saved again"
    more = len(np.unique(pairs[:, 1])) - 1
    others = f" (and {more:,} more like it)" if more else ""
    raise DataError(
        f"{testing.name(other)} is {how} as {training.name(row)}{others}, so a score would measure memory; take one of "
        "the two out, or divide the data again with `ssmtl data split FILE --again`."
    )


def check_leaks(recipe: "Recipe", sources: Sequence[Table], validation: Sequence[Table], test: Sequence[Table]) -> None:
    """Refuse a run that trains on images of its validation or test splits, or selects by images of its test splits.

    The tables are those of the recipe's sources and splits, in its order; ones that know no hashes of their images
    (see `ssmtl.datasets.base.Fingerprinted`) are not compared. Raises DataError as `refuse_leaks` does.
    """
    training = _together([(f"the source '{s.name}'", t) for s, t in zip(recipe.sources, sources, strict=True)])
    choosing = _together([(f"the split '{s.name}'", t) for s, t in zip(recipe.validation, validation, strict=True)])
    testing = _together([(f"the split '{s.name}'", t) for s, t in zip(recipe.test, test, strict=True)])
    pairs = [(training, testing), (training, choosing)]
    if recipe.select == "best":
        pairs.append((choosing, testing))
    for seen, unseen in pairs:
        if seen is not None and unseen is not None:
            refuse_leaks(seen, unseen)


def _together(tables: Sequence[tuple[str, Table]]) -> Images | None:
    """Return the images of all tables that know hashes as one, None where none does."""
    known = [(what, table, prints) for what, table in tables if (prints := fingerprints_of(table)) is not None]
    if not known:
        return None
    starts = np.cumsum([0, *(len(prints.sha256) for _, _, prints in known)])

    def name(row: int) -> str:
        place = int(np.searchsorted(starts, row, side="right")) - 1
        what, table, _ = known[place]
        return f"{table.name(row - int(starts[place]))} of {what}"

    joined = Fingerprints(*(np.concatenate([prints[side] for _, _, prints in known]) for side in range(2)))
    return Images(joined, name)
