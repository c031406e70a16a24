"""Rows of a table file that are wanted, as columns of Arrow: never more of the file at once than a few megabytes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int32

from ssmtl.errors import DataError, nearest
from ssmtl.manifests.columns import IMAGE
from ssmtl.manifests.table import line_of, read_batches

Choice: TypeAlias = Callable[[pa.RecordBatch], Bool[np.ndarray, " k"]]


class Rows(NamedTuple):
    """Some rows of a table: their places in the file, and their cells, as texts or as indices of classes."""

    places: Int32[np.ndarray, " n"]
    texts: dict[str, pa.ChunkedArray]
    labels: dict[str, Int32[np.ndarray, " n"]]


def pick_rows(
    path: Path,
    texts: Sequence[str],
    labels: Mapping[str, tuple[str, ...]],
    choice: Choice,
    chosen_by: Sequence[str] = (),
) -> Rows:
    """Return the cells of some columns, in the rows that `choice` takes of every part of the table.

    `choice` also sees the columns `chosen_by`. The cells of `texts` stay as they are, those of `labels` become indices
    into the class names given, -1 where a cell is empty. Raises DataError where the table can't be read, for a row
    without an image, and for an unknown class.
    """
    places: list[Int32[np.ndarray, " k"]] = []
    parts: dict[str, list[pa.Array]] = {name: [] for name in texts}
    found: dict[str, list[Int32[np.ndarray, " k"]]] = {name: [] for name in labels}
    first = 0
    for batch in read_batches(path, {*texts, *labels, *chosen_by}):
        here = np.flatnonzero(choice(batch)).astype(np.int32)
        picked = batch.select([*texts, *labels]).take(pa.array(here))
        places.append(first + here)
        if picked.column(IMAGE).null_count:
            row = int(places[-1][np.argmax(picked.column(IMAGE).is_null())])
            raise DataError(f"{path} line {line_of(path, row)} names no image; give its path, or take the row out.")
        for name in texts:
            parts[name].append(picked.column(name))
        for name, classes in labels.items():
            index = pc.index_in(picked.column(name), value_set=pa.array(classes, pa.string())).fill_null(-1)
            found[name].append(index.to_numpy())
            _refuse_unknown(path, name, classes, picked.column(name), found[name][-1], places[-1])
        first += len(batch)
    return Rows(
        np.concatenate([*places, np.empty(0, dtype=np.int32)]),
        {name: pa.chunked_array(part, pa.string()) for name, part in parts.items()},
        {name: np.concatenate([*index, np.empty(0, dtype=np.int32)]) for name, index in found.items()},
    )


def _refuse_unknown(
    path: Path,
    header: str,
    classes: tuple[str, ...],
    cells: pa.Array,
    index: Int32[np.ndarray, " k"],
    places: Int32[np.ndarray, " k"],
) -> None:
    unknown = (index < 0) & cells.is_valid().to_numpy(zero_copy_only=False)
    if unknown.any():
        at = int(np.argmax(unknown))
        text = cells[at].as_py()
        raise DataError(
            f"{path} line {line_of(path, int(places[at]))} has the class '{text}' in its column '{header}', which the "
            f"reader doesn't name; correct it, or name it in the classes file and the reader's `named`"
            f"{nearest(text, classes)}"
        )
