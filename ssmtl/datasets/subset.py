"""Subset: some classes of a data set, and of each class a seeded share of its rows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from jaxtyping import Bool, Int32, Int64
from pydantic import Field, model_validator

from ssmtl.batch import Sample
from ssmtl.datasets.base import Table, fingerprints_of
from ssmtl.datasets.file_table import Seed
from ssmtl.datasets.wrapped import WrappedReader, made_inside
from ssmtl.errors import DataError, nearest
from ssmtl.keyed import key, uniform

if TYPE_CHECKING:
    from ssmtl.manifests.fingerprints import Fingerprints


class Subset(WrappedReader):
    """The rows of `reader` that show one of the classes in `only`, and of every class the rows `start` to `stop`.

    Labels become indices into `only`, by name. A class's rows are counted in an order that depends on nothing but
    `seed`, the class's name and the row: other classes in `only` don't change it, [0, 40) lies within [0, 400), and
    [400, None) is what [0, 400) leaves. They come in the order of the inner table. With `per_class=False` all rows that
    are left form one such order, whatever they show.

    Rows without a label are of no class: they stay where neither `only` nor a range of every class chooses.

    A range leaves something of every class. Ranges count rows one by one, so that they are for rows that may be parted:
    where several show one patient, or are copies of one image, two ranges would share it, and none is taken.
    """

    only: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    start: Annotated[int, Field(ge=0)] = 0
    stop: Annotated[int, Field(ge=1)] | None = None
    per_class: bool = True
    seed: Seed = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"a Subset from start={self.start} to stop={self.stop} is empty; give a higher stop")
        names = self.reader.classes("label")
        for name in self.only or ():
            if name not in names:
                raise ValueError(f"{self.reader.kind} has no class '{name}' to keep{nearest(name, names)}")
        if self.only is not None and len(set(self.only)) < len(self.only):
            raise ValueError(f"each class may stand in `only` once, got {self.only}")
        return self

    def classes(self, kind: str) -> tuple[str, ...]:
        return self.only if kind == "label" and self.only is not None else self.reader.classes(kind)

    def open(self) -> "SubsetTable":
        """Open the inner reader and choose among its rows.

        Raises DataError as it does, for a class with fewer rows than the range asks of it or none in it, where no row
        is left, and for a range of rows of which several belong together.
        """
        table = self.reader.open()
        found = table.labels()
        unlabeled = np.full(len(table), -1, dtype=np.int32)
        labels = unlabeled if found is None else self._renamed(found)
        rows = np.sort(np.concatenate([*self._chosen(labels), np.empty(0, dtype=np.int64)]))
        if not len(rows):
            raise DataError(
                f"{self.reader.kind} has no classes, but the Subset keeps {self._wish()}, which is none of its "
                f"{len(table)} rows; count all rows with per_class=False."
            )
        if self.start or self.stop is not None:
            self._check_groups(table, labels)
        return SubsetTable(table, rows, None if found is None else labels[rows])

    def _check_groups(self, table: Table, labels: Int32[np.ndarray, " n"]) -> None:
        """Refuse a range of which another range could have the rest of a patient."""
        groups = table.patients()
        if groups is None:
            return
        counted = self.only is None and not self.per_class
        rows = np.arange(len(labels)) if counted else np.flatnonzero(labels >= 0)
        (name, most), *_ = Counter(groups[row] for row in rows).most_common(1)
        if most > 1:
            raise DataError(
                f"{most} rows of {self.reader.kind} belong together ('{name}'), but the Subset keeps {self._wish()}, "
                "which would part them; hold whole patients out with the reader's own `holdout`, or put the Subset "
                "inside an Extend instead of around it."
            )

    def _renamed(self, labels: Int32[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
        """Return the labels as indices into this reader's classes, -1 for the others."""
        names = self.classes("label")
        theirs = [names.index(name) if name in names else -1 for name in self.reader.classes("label")]
        return np.array([*theirs, -1], dtype=np.int32)[labels]

    def _chosen(self, labels: Int32[np.ndarray, " n"]) -> Iterator[Int64[np.ndarray, " m"]]:
        whole = self.start == 0 and self.stop is None
        if self.only is None and (whole or not self.per_class):
            yield self._range(np.arange(len(labels)), ("rows",), "the whole set")
        elif not self.per_class:
            yield self._range(np.flatnonzero(labels >= 0), ("rows",), "the kept classes together")
        else:
            for index, name in enumerate(self.classes("label")):
                yield self._range(np.flatnonzero(labels == index), ("class", name), f"the class '{name}'")

    def _range(self, rows: Int64[np.ndarray, " m"], order: tuple[str, ...], what: str) -> Int64[np.ndarray, " k"]:
        needed = self.start + 1 if self.stop is None else self.stop
        if len(rows) < needed:
            raise DataError(
                f"{self.reader.kind} has {len(rows)} row(s) of {what}, but the Subset keeps {self._wish()}, "
                "counted from 0; take a smaller range (fewer labels, where labels choose it), or leave the class out."
            )
        noise = uniform(key("subset", self.seed, *order), rows, 1)[:, 0]
        return rows[np.argsort(noise, kind="stable")][self.start : self.stop]

    def _wish(self) -> str:
        classes = "every class" if self.only is None else ", ".join(self.only)
        return f"rows {self.start} to {'the last' if self.stop is None else self.stop} of {classes}"


@dataclass(frozen=True, eq=False)
class SubsetTable:
    """Some rows of a table; `relabeled` are their class indices, None where the table has no labels."""

    table: Table
    rows: Int64[np.ndarray, " n"]
    relabeled: Int32[np.ndarray, " n"] | None

    @property
    def in_memory(self) -> bool:
        """Whether the inner table's samples need no remembering."""
        return bool(getattr(self.table, "in_memory", False))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Sample:
        sample = self.table[int(self.rows[row])]
        if self.relabeled is None or "label" not in sample.annotations:
            return sample
        return replace(sample, annotations={**sample.annotations, "label": int(self.relabeled[row])})

    def name(self, row: int) -> str:
        return self.table.name(int(self.rows[row]))

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return self.table.annotated(kind)[self.rows]

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        return self.relabeled if kind == "label" else None

    def made_of(self, row: int, kind: str) -> tuple[Path | bytes, ...]:
        return made_inside(self.table, int(self.rows[row]), kind)

    def fingerprints(self) -> "Fingerprints | None":
        prints = fingerprints_of(self.table)
        return None if prints is None else prints.take(self.rows)

    def patients(self) -> tuple[str, ...] | None:
        groups = self.table.patients()
        return None if groups is None else tuple(groups[row] for row in self.rows)
