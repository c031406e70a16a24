"""Manifest: one's own images, in a table with a row an image and an empty cell for every label that nobody gave."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool
from pydantic import Field, model_validator

from ssmtl.datasets.file_table import Split
from ssmtl.datasets.files import FileReader
from ssmtl.datasets.manifest_cells import BoxCells, Cells, LabelCells, MaskCells, Places, SeveralCells
from ssmtl.datasets.manifest_rows import Rows, pick_rows
from ssmtl.datasets.manifest_table import ManifestTable
from ssmtl.errors import DataError, nearest
from ssmtl.manifests.columns import IMAGE, SOURCE, SPLIT, column_of, require_columns
from ssmtl.manifests.opened import named_classes
from ssmtl.manifests.stamp import require_stamp
from ssmtl.manifests.table import read_header
from ssmtl.task import IGNORE_INDEX

Named = tuple[tuple[str, tuple[str, ...]], ...]


class Manifest(FileReader):
    """Images that the table `file` in `root` lists, a row each: CSV, JSONL or Parquet, with any cells left empty.

    `named` says which of its annotation columns are read, and what their classes are called: (("label:sex", ("female",
    "male")), ("mask", ("background", "lung"))). `Manifest.of` fills it in from the table. Only rows of `split` are
    there, and of them only those whose column `source` is one of `sources`, where any are given.

    Paths are relative to `root`, which they may only leave with `allow_outside`. Files behind a protocol (s3://, zip://)
    are fetched with `remote` only, once, into the user's cache. The table must have passed `ssmtl data check`.
    """

    file: Annotated[str, Field(pattern=r"^[^/\\]+\.(?i:csv|jsonl|parquet)$")] = "manifest.csv"
    split: Split = "train"
    named: Named = ()
    sources: tuple[str, ...] = ()
    allow_outside: bool = False
    remote: bool = False
    channels: Annotated[int, Field(ge=1, le=4)] = 3

    @model_validator(mode="after")
    def _columns_are_annotations(self) -> Self:
        kinds = [kind for kind, _ in self.named]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each column may stand in `named` once, got {kinds}")
        for kind, names in self.named:
            column = column_of(kind)
            if column is None or not column.form:
                raise ValueError(
                    f"`named` has '{kind}', but label, labels, mask or boxes was expected, or such as label:sex"
                )
            if len(set(names)) < len(names):
                raise ValueError(f"`named` has a class of '{kind}' twice: {names}")
            if column.form == "mask" and not 0 < len(names) <= IGNORE_INDEX:
                raise ValueError(f"a mask has 1 to {IGNORE_INDEX} classes, but `named` gives '{kind}' {len(names)}")
        return self

    @classmethod
    def of(cls, path: str | Path, **fields: Any) -> Self:
        """Return a reader of all annotations of the manifest at `path`; `fields` are further fields of it.

        Reads the header and the classes file beside it, and the cells of columns whose classes that doesn't name.
        Raises DataError for a table that can't be read, or whose header has problems.
        """
        place = Path(path).expanduser().absolute()
        return cls(
            place.parent,
            **{"file": place.name, "named": named_classes(place, remote=fields.get("remote", False)), **fields},
        )

    def folder(self) -> Path:
        """Return the real path of `root`; raises DataError when it is missing. What lies in it, its rows say."""
        root = self.root.expanduser().resolve()
        if not root.is_dir():
            raise DataError(f"{self.kind} found no folder {root}; set `root` to the folder that holds {self.file}.")
        return root

    def classes(self, kind: str) -> tuple[str, ...]:
        return dict(self.named).get(kind, ())

    def open(self) -> ManifestTable:
        """Read the table, but none of the files that it names.

        Raises DataError for one that hasn't passed its check or has changed since, that lacks a column of `named` or
        the split, and where no row is left.
        """
        root = self.folder()
        path = root / self.file
        stamp = require_stamp(path)
        rows = self._rows(path)
        places = Places(root, self.allow_outside, self.remote)
        return ManifestTable(
            path=path,
            stamp=stamp,
            rows=rows.places,
            images=rows.texts[IMAGE],
            cells={kind: self._cells(kind, names, rows, places) for kind, names in self.named},
            places=places,
            canvas=self.canvas,
            channels=self.channels,
            fit=self.fit,
            alpha=self.alpha,
        )

    def _rows(self, path: Path) -> Rows:
        """Read the rows of the split and the sources; raises DataError where there are none."""
        columns = {column.header: column for column in require_columns(read_header(path), str(path))}
        self._require_columns(path, columns)
        seen: set[str] = set()

        def choice(batch: pa.RecordBatch) -> Bool[np.ndarray, " k"]:
            kept = np.ones(len(batch), dtype=np.bool_)
            if self.split != "all":
                kept &= _is_in(batch.column(SPLIT), [self.split])
            if self.sources:
                seen.update(filter(None, batch.column(SOURCE).unique().to_pylist()))
                kept &= _is_in(batch.column(SOURCE), self.sources)
            return kept

        labels = {kind: names for kind, names in self.named if columns[kind].form == "label"}
        texts = [kind for kind, _ in self.named if kind not in labels]
        chosen_by = [name for name in (SPLIT, SOURCE) if name in columns]
        rows = pick_rows(path, (IMAGE, *texts), labels, choice, chosen_by)
        for name in self.sources:
            if name not in seen:
                raise DataError(
                    f"{path} has no row of the source '{name}', which `sources` asks for{nearest(name, seen)}"
                )
        if not len(rows.places):
            where = f"split='{self.split}'" + (f" and sources={self.sources}" if self.sources else "")
            raise DataError(
                f"{path} has no row of {where}; divide its rows with `ssmtl data split {path}`, or ask for others."
            )
        return rows

    def _require_columns(self, path: Path, columns: Collection[str]) -> None:
        for kind, _ in self.named:
            if kind not in columns:
                raise DataError(
                    f"{path} has no column '{kind}', which the reader's `named` asks for; add it, or take it out there"
                    f"{nearest(kind, columns)}"
                )
        if self.split != "all" and SPLIT not in columns:
            raise DataError(
                f"{path} has no column '{SPLIT}', so that none of its rows is of split='{self.split}'; write one with "
                f"`ssmtl data split {path}`, or take all rows with split='all'."
            )
        if self.sources and SOURCE not in columns:
            raise DataError(
                f"{path} has no column '{SOURCE}', but `sources` asks for {', '.join(self.sources)}; add it, or leave "
                "`sources` empty."
            )

    def _cells(self, kind: str, names: tuple[str, ...], rows: Rows, places: Places) -> Cells:
        form = kind.partition(":")[0]
        if form == "label":
            return LabelCells(rows.labels[kind], names)
        if form == "labels":
            return SeveralCells(rows.texts[kind], names)
        if form == "mask":
            return MaskCells.of(rows.texts[kind], places, names)
        return BoxCells.of(rows.texts[kind], rows.texts[IMAGE], places, names)


def _is_in(cells: pa.Array, wanted: Sequence[str]) -> Bool[np.ndarray, " k"]:
    return pc.is_in(cells, value_set=pa.array(wanted, pa.string())).to_numpy(zero_copy_only=False)
