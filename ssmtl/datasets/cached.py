"""A table that remembers what it decoded."""

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int32

from ssmtl.batch import Sample
from ssmtl.datasets.base import Table, fingerprints_of
from ssmtl.task import Annotation

if TYPE_CHECKING:
    from ssmtl.manifests.fingerprints import Fingerprints

CACHE_BYTES = 2**30
"""Decoded samples that a process keeps, of all training sources together."""


class CachedTable:
    """A table in front of `table` that keeps up to `limit_bytes` of decoded samples, per process.

    What came first stays: an epoch visits every row once, in another order each time, so throwing out old rows for new
    ones would hit no more often. Samples are copies; writing into one changes nothing here. Pickling leaves the
    memory behind.
    """

    def __init__(self, table: Table, limit_bytes: int) -> None:
        if limit_bytes < 0:
            raise ValueError(f"limit_bytes must be at least 0, got {limit_bytes}")
        self.table = table
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Sample:
        if row in self._samples:
            return _copy(self._samples[row])
        sample = self.table[row]
        cost = sample.image.nbytes + sum(_size(annotation) for annotation in sample.annotations.values())
        if self.held_bytes + cost <= self.limit_bytes:
            self._samples[row] = _copy(sample)
            self.held_bytes += cost
        return sample

    def name(self, row: int) -> str:
        return self.table.name(row)

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return self.table.annotated(kind)

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        return self.table.labels(kind)

    def patients(self) -> tuple[str, ...] | None:
        return self.table.patients()

    def fingerprints(self) -> "Fingerprints | None":
        return fingerprints_of(self.table)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "held_bytes": 0, "_samples": {}}


def remembered(table: Table, limit_bytes: int) -> Table:
    """Return a table that remembers what it decoded, unless it says that its samples are `in_memory` anyway."""
    return table if getattr(table, "in_memory", False) else CachedTable(table, limit_bytes)


def _copy(sample: Sample) -> Sample:
    return replace(sample, image=sample.image.copy(), annotations=deepcopy(dict(sample.annotations)))


def _size(annotation: Annotation) -> int:
    return 0 if isinstance(annotation, int) else annotation.nbytes
