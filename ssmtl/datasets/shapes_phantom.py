"""Procedural shapes: ten classes of color images in two families, made in memory, the twin of CIFAR-10."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int32, Int64
from pydantic import Field

from ssmtl import keyed
from ssmtl.batch import Sample
from ssmtl.datasets.base import Reader, Side
from ssmtl.datasets.shapes_phantom_patterns import FIGURE_PATTERNS, TEXTURE_PATTERNS
from ssmtl.datasets.shapes_phantom_scene import draw

FIGURES = tuple(FIGURE_PATTERNS)
TEXTURES = tuple(TEXTURE_PATTERNS)
LABELS = FIGURES + TEXTURES


class ShapesPhantom(Reader):
    """Color images made in memory, each annotated with one of ten classes: six `FIGURES` and four `TEXTURES`.

    The families look as different as the animals and vehicles of CIFAR-10: one filled figure somewhere on a ground, or
    a pattern that covers all of the image. So half of the classes can be foreign to a study, as in RealMix's mismatch
    (Nair et al. 2019). Flips, shifts, turns, shear and colors never change the class; a class only favors a hue. Of 40
    labels, 4 of every class, a small network learns to name 6 images of 10, of 1000 labels nearly all.

    Image `i` is a pure function of (seed, split, i): it does not depend on `samples`, and `first` moves the window, so
    that two sources can share a split without sharing an image. Of the images 10k to 10k + 9 each shows another class.
    The canvas decides only how finely an image is sampled, and how far its longer side reaches.
    """

    canvas: tuple[Side, Side] = (32, 32)
    channels: Literal[1, 3] = 3
    samples: Annotated[int, Field(ge=1, le=100_000_000)] = 5000
    split: Literal["train", "val", "test"] = "train"
    first: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Index of the first image within the split."""
    seed: Annotated[int, Field(ge=0)] = 0

    def classes(self, kind: str) -> tuple[str, ...]:
        return LABELS if kind == "label" else ()

    def open(self) -> "ShapesTable":
        """Return the images as a table; nothing is read, nothing is drawn before an image is asked for."""
        return ShapesTable(self)


@dataclass(frozen=True)
class ShapesTable:
    """The images of a `ShapesPhantom`, drawn when they are asked for; `table[row]` raises IndexError outside."""

    reader: ShapesPhantom

    def __len__(self) -> int:
        return self.reader.samples

    def __getitem__(self, row: int) -> Sample:
        index = self._index(row)
        label = int(self._labels(index)[0])
        dice = np.random.default_rng(_key(self.reader, "image", int(index[0])))
        image = draw(LABELS[label], self.reader.canvas, dice)
        if self.reader.channels == 1:
            image = np.rint(image.mean(axis=0, keepdims=True)).astype(np.uint8)
        return Sample(self.name(row), image, self.reader.canvas, self.reader.canvas, {"label": label})

    def name(self, row: int) -> str:
        """Return "split/seed-index"."""
        return f"{self.reader.split}/{self.reader.seed}-{self._index(row)[0]:08d}"

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return np.full(len(self), bool(self.reader.classes(kind)))

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        """Return the class of every image, without drawing one."""
        every = np.arange(self.reader.first, self.reader.first + len(self))
        return self._labels(every) if kind == "label" else None

    def made_of(self, row: int, kind: str) -> tuple[bytes, ...]:
        """Return the name, which an image is a function of: processors differ in the last bit of its pixels."""
        return (self.name(row).encode(),)

    def patients(self) -> None:
        """Return None: every image is drawn for itself, so that a split can tear nothing apart."""

    def _index(self, row: int) -> Int64[np.ndarray, "1"]:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a phantom with {len(self)} images")
        return np.array([self.reader.first + row % len(self)])

    def _labels(self, index: Int64[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
        """Deal out every ten images in an order of their own: nothing can be read off an index."""
        block, place = np.divmod(index, len(LABELS))
        blocks, which = np.unique(block, return_inverse=True)
        order = np.argsort(keyed.uniform(_key(self.reader, "classes"), blocks, len(LABELS)), axis=1)
        return order[which, place].astype(np.int32)


def _key(reader: ShapesPhantom, *parts: int | str) -> int:
    return keyed.key("shapes phantom", reader.seed, reader.split, *parts)
