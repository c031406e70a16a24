"""Readers open folders as tables; a table answers questions about labels without opening an image."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32
from pydantic import Field

from ssmtl.batch import Sample
from ssmtl.component import Component

if TYPE_CHECKING:
    from ssmtl.manifests.fingerprints import Fingerprints

Side = Annotated[int, Field(ge=8, le=16384)]


@runtime_checkable
class Table(Protocol):
    """Samples in a fixed order, in columns: a million rows must cost megabytes, not objects."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> Sample:
        """Decode one sample; raises DataError with the file, what is wrong with it, and what was expected."""

    def name(self, row: int) -> str:
        """Return a stable, unique name of the row: the file's path relative to the data folder."""

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        """Return which rows carry the annotation `kind` ("label", "mask"), without opening files."""

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        """Return class indices into the reader's classes of `kind` (-1: not annotated), None without such labels.

        `kind` is "label", or the name of one of several columns of labels, such as "label:sex".
        """

    def patients(self) -> tuple[str, ...] | None:
        """Return a group per row that a split must not tear apart (patient, video), or None when unknown."""


@runtime_checkable
class Traceable(Protocol):
    """Ability of a table: to say what samples are made of, so that two machines can compare them without decoding."""

    def made_of(self, row: int, kind: str) -> tuple[Path | bytes, ...]:
        """Return the files behind a row's image and its annotation `kind`, as bytes what is no file of its own."""


@runtime_checkable
class Fingerprinted(Protocol):
    """Ability of a table: to know hashes of its images, so that a test image in training is found without decoding."""

    def fingerprints(self) -> "Fingerprints | None":
        """Return the hashes of all rows, None where none were ever written down."""


def fingerprints_of(table: Table) -> "Fingerprints | None":
    """Return the hashes of a table's images, None where it doesn't know any."""
    return table.fingerprints() if isinstance(table, Fingerprinted) else None


class Reader(Component):
    """Where samples come from. A value: `open()` looks at the disk, nothing before does."""

    group = "readers"

    canvas: tuple[Side, Side] = (256, 256)
    """Height and width that every image is brought to, in pixels."""
    channels: Annotated[int, Field(ge=1, le=4)] = 1
    """1 (gray) or 3 (RGB); files are converted."""

    @abstractmethod
    def classes(self, kind: str) -> tuple[str, ...]:
        """Return the names behind the indices of an annotation kind; empty when the reader never annotates it.

        For "mask", a class named "background" means that the pixel shows none of the reader's other classes.
        """

    def annotates(self, kind: str) -> bool:
        """Tell whether some of its images may carry the annotation `kind`.

        That is so where it has classes for it; readers of annotations without classes, such as depth, override this.
        """
        return bool(self.classes(kind))

    @abstractmethod
    def open(self) -> Table:
        """Index the folder; raises DataError when it is missing, empty or not of this layout."""
