"""A manifest as a whole: its table, what its columns mean, and what their classes are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ssmtl.errors import DataError
from ssmtl.manifests.classes import classes_path, found_classes, read_classes
from ssmtl.manifests.columns import SPLIT, Column, annotations, require_columns
from ssmtl.manifests.table import line_of, read_batches, read_header, read_table


@dataclass(frozen=True, eq=False)
class ManifestFile:
    """A manifest at `path` whose paths are relative to `root`.

    `table` holds all columns as text, also ignored ones; an empty cell is null. `columns` are those that mean
    something, `classes` the class names of every annotation: those of the classes file, or those found, sorted.
    """

    path: Path
    root: Path
    table: pa.Table
    columns: tuple[Column, ...]
    classes: Mapping[str, tuple[str, ...]]

    def line(self, row: int) -> int:
        """Return the line of a row, for messages."""
        return line_of(self.path, row)


def open_manifest(path: Path, *, remote: bool = False) -> ManifestFile:
    """Return all that a manifest says; raises DataError for what can't be read, and for problems of its header.

    Class names are looked up in COCO files behind protocols with `remote` only.
    """
    path = path.expanduser().absolute()
    table = read_table(path)
    columns = require_columns(table.column_names, str(path))
    root = path.parent.resolve()
    given = read_classes(path, columns)
    classes = {
        column.kind: given.get(column.kind) or _found(path, root, column, table.column(column.header), remote)
        for column in annotations(columns)
    }
    return ManifestFile(path, root, table, columns, classes)


def named_classes(path: Path, *, remote: bool = False) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return (kind, class names) of every annotation of a manifest, in the order of its columns.

    Reads the header and the classes file, and of the rows only columns whose classes have no names there. Raises
    DataError as `open_manifest` does.
    """
    columns = require_columns(read_header(path), str(path))
    given = read_classes(path, columns)
    found = []
    for column in annotations(columns):
        names = given.get(column.kind)
        if names is None:
            table = pa.Table.from_batches(
                list(read_batches(path, [column.header])), pa.schema([(column.header, pa.string())])
            )
            names = _found(path, path.parent.resolve(), column, table.column(0), remote)
        found.append((column.kind, names))
    return tuple(found)


def splits_of(path: Path) -> frozenset[str]:
    """Return what a manifest's column `split` says, of all rows; nothing where it has no such column."""
    if SPLIT not in read_header(path):
        return frozenset()
    return frozenset(
        name for batch in read_batches(path, [SPLIT]) for name in batch.column(0).unique().to_pylist() if name
    )


def _found(path: Path, root: Path, column: Column, cells: pa.ChunkedArray, remote: bool) -> tuple[str, ...]:
    try:
        return found_classes(root, column, cells, remote=remote)
    except DataError as error:
        raise DataError(
            f"{path} has in its column '{column.header}': {error} Or name the column's classes in "
            f"{classes_path(path).name}."
        ) from error
