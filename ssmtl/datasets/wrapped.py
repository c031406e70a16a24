"""What readers around another reader share: its images, and what they are made of."""

from abc import ABC
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from ssmtl.datasets.base import Reader, Table, Traceable
from ssmtl.datasets.canvas import Fit
from ssmtl.datasets.files import FileReader
from ssmtl.task import Annotation, BoxList


class WrappedReader(Reader, ABC):
    """A reader around `reader`, whose canvas and channels it has: images come as they leave the inner one.

    `canvas` and `channels` need not be given; ones that differ from the inner reader's are refused.
    """

    reader: Reader = Field(kw_only=False)

    @model_validator(mode="after")
    def _same_images(self) -> Self:
        for name in ("canvas", "channels"):
            given, inside = getattr(self, name), getattr(self.reader, name)
            if name not in self.model_fields_set:
                # The value is frozen for its users only from here on.
                object.__setattr__(self, name, inside)
            elif given != inside:
                raise ValueError(
                    f"{self.kind} brings the images of its {self.reader.kind}, whose {name} is {inside}, got "
                    f"{name}={given}; leave it out, or set it in the {self.reader.kind}"
                )
        return self


def fit_of(reader: Reader) -> Fit:
    """Return how a reader brings images of another shape to its canvas, as the innermost one does."""
    while isinstance(reader, WrappedReader):
        reader = reader.reader
    return reader.fit if isinstance(reader, FileReader) else "stretch"


def made_inside(table: Table, row: int, kind: str) -> tuple[Path | bytes, ...]:
    """Return what a row of a wrapped table is made of: decoded arrays where the table doesn't say (see `Traceable`)."""
    if isinstance(table, Traceable):
        return table.made_of(row, kind)
    sample = table[row]
    return sample.image.tobytes(), _content(sample.annotations[kind])


def _content(annotation: Annotation) -> bytes:
    if isinstance(annotation, BoxList):
        return b"".join(_content(part) for part in (annotation.xyxy, annotation.labels, annotation.crowd))
    return annotation.tobytes() if isinstance(annotation, np.ndarray) else str(annotation).encode()
