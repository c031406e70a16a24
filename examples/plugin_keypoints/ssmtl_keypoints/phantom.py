"""Procedural faces: images made in memory that are annotated with points, an expression and a mask."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int32, Int64
from pydantic import Field

from ssmtl import keyed
from ssmtl.batch import Sample
from ssmtl.datasets.base import Reader, Side
from ssmtl.task import Annotation
from ssmtl_keypoints.phantom_face import EXPRESSIONS, POINTS, REGIONS, draw_face

CLASSES = {"keypoints": POINTS, "label": EXPRESSIONS, "mask": REGIONS}
MIRRORED = (("left_eye", "right_eye"), ("left_mouth", "right_mouth"))
"""The pairs of `POINTS` that a mirror image exchanges."""


class FacePhantom(Reader):
    """Faces made in memory, each annotated with five points, an expression and a mask of face and hair.

    Both eyes look the same, and so do both corners of the mouth: only the side of the face tells them apart, which is
    the person's own, not the image's. Faces are turned by up to 60 degrees, look to a side, may be cut by the image's
    border (those points have visibility 0) and be hidden in part by something else (visibility 1). Around them are
    things like eyes that are none.

    Face `i` is a pure function of (seed, split, i): it does not depend on `samples`, and `first` moves the window, so
    that two sources can share a split without sharing a face. Of the faces 3k to 3k + 2 each shows another expression.
    The canvas decides only how finely a face is sampled, and how far its longer side reaches.
    """

    canvas: tuple[Side, Side] = (64, 64)
    channels: Literal[1, 3] = 3
    samples: Annotated[int, Field(ge=1, le=100_000_000)] = 600
    split: Literal["train", "val", "test"] = "train"
    first: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Index of the first face within the split."""
    seed: Annotated[int, Field(ge=0)] = 0

    def classes(self, kind: str) -> tuple[str, ...]:
        """Return what the numbers of an annotation stand for; of "keypoints", the name of each row."""
        return CLASSES.get(kind, ())

    def open(self) -> "FaceTable":
        """Return the faces as a table; nothing is read, nothing is drawn before a face is asked for."""
        return FaceTable(self)


@dataclass(frozen=True)
class FaceTable:
    """The faces of a `FacePhantom`, drawn when they are asked for; `table[row]` raises IndexError outside."""

    reader: FacePhantom

    def __len__(self) -> int:
        return self.reader.samples

    def __getitem__(self, row: int) -> Sample:
        index, reader = self._index(row), self.reader
        label = int(self._expressions(index)[0])
        face = draw_face(reader.canvas, EXPRESSIONS[label], np.random.default_rng(_key(reader, "face", int(index[0]))))
        image = face.image if reader.channels == 3 else np.rint(face.image.mean(axis=0, keepdims=True)).astype(np.uint8)
        annotations: dict[str, Annotation] = {"keypoints": face.points, "label": label, "mask": face.mask}
        return Sample(self.name(row), image, reader.canvas, reader.canvas, annotations)

    def name(self, row: int) -> str:
        """Return "split/seed-index"."""
        return f"{self.reader.split}/{self.reader.seed}-{self._index(row)[0]:08d}"

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        """Return all rows for what the reader annotates, none otherwise."""
        return np.full(len(self), self.reader.annotates(kind))

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        """Return the expression of every face, without drawing one."""
        every = np.arange(self.reader.first, self.reader.first + len(self))
        return self._expressions(every) if kind == "label" else None

    def made_of(self, row: int, _kind: str) -> tuple[bytes, ...]:
        """Return the name, which a face is a function of: processors differ in the last bit of its pixels."""
        return (self.name(row).encode(),)

    def patients(self) -> None:
        """Return None: every face is another person's, so that a split can tear nothing apart."""

    def _index(self, row: int) -> Int64[np.ndarray, "1"]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a phantom with {len(self)} faces")
        return np.array([self.reader.first + row % len(self)])

    def _expressions(self, index: Int64[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
        """Deal out every three faces in an order of their own: nothing can be read off an index."""
        block, place = np.divmod(index, len(EXPRESSIONS))
        order = np.argsort(keyed.uniform(_key(self.reader, "expressions"), block, len(EXPRESSIONS)), axis=1)
        return order[np.arange(len(index)), place].astype(np.int32)


def _key(reader: FacePhantom, *parts: int | str) -> int:
    return keyed.key("face phantom", reader.seed, reader.split, *parts)
