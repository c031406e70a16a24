"""Scenes made in memory whose depth can be told from one image, with masks and labels for other tasks."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from pydantic import Field
from ssmtl import keyed
from ssmtl.batch import Sample
from ssmtl.datasets.base import Reader, Side
from ssmtl.task import Annotation

from ssmtl_depth.scene import Scene, draw_scene

MASKS = ("background", "ball", "post")
LABELS = ("clear", "hazy")
KINDS = ("depth", "label", "mask")


class DepthPhantom(Reader):
    """Scenes of balls in the air and posts on a plane, annotated with "depth", "mask" and "label" (the air).

    Scene `i` is a pure function of (seed, split, i): it does not depend on `samples`, and `first` moves the window, so
    that two sources can share a split without sharing a scene. What tells the distance is the place of the ground, the
    size of the balls, which all are one meter wide, and haze. "depth" is float32 [H, W] in meters, 0 where the sensor
    saw nothing: the sky, what lies beyond 40 m, and single pixels. Every scene has a mask and a label; depth was
    measured in every `depth_every`-th one.
    """

    canvas: tuple[Side, Side] = (64, 96)
    channels: Literal[1, 3] = 3
    samples: Annotated[int, Field(ge=1, le=100_000_000)] = 600
    split: Literal["train", "val", "test"] = "train"
    first: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Index of the first scene within the split."""
    depth_every: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"mask": MASKS, "label": LABELS}.get(kind, ())

    def annotates(self, kind: str) -> bool:
        """Depth has no classes, so the reader says that there is some."""
        return kind in KINDS

    def open(self) -> "DepthTable":
        """Return the scenes as a table; nothing is read, nothing is drawn before a scene is asked for."""
        return DepthTable(self)


@dataclass(frozen=True)
class DepthTable:
    """The scenes of a `DepthPhantom`, drawn when they are asked for; `table[row]` raises IndexError outside."""

    reader: DepthPhantom

    def __len__(self) -> int:
        return self.reader.samples

    def __getitem__(self, row: int) -> Sample:
        scene, index = self.scene(row), self._index(row)
        annotations: dict[str, Annotation] = {"mask": scene.mask, "label": int(self._hazy(np.array([index]))[0])}
        if index % self.reader.depth_every == 0:
            annotations["depth"] = scene.depth
        canvas = self.reader.canvas
        image = scene.image if self.reader.channels == 3 else gray(scene.image)
        return Sample(self.name(row), image, canvas, canvas, annotations)

    def name(self, row: int) -> str:
        """Return "split/seed-index"."""
        return f"{self.reader.split}/{self.reader.seed}-{self._index(row):08d}"

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        if kind == "depth":
            measured: Bool[np.ndarray, " n"] = self._every() % self.reader.depth_every == 0
            return measured
        return np.full(len(self), self.reader.annotates(kind))

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        """Return the air of every scene, without drawing one."""
        return self._hazy(self._every()) if kind == "label" else None

    def made_of(self, row: int, kind: str) -> tuple[bytes, ...]:
        """Return the name, which a scene is a function of: processors differ in the last bit of its pixels."""
        return (self.name(row).encode(),)

    def patients(self) -> tuple[str, ...]:
        """Return the names of the scenes: every scene is of another place."""
        return tuple(self.name(row) for row in range(len(self)))

    def scene(self, row: int) -> Scene:
        """Draw one scene."""
        index = self._index(row)
        hazy = bool(self._hazy(np.array([index]))[0])
        return draw_scene(self._key("scene", index), self.reader.canvas, hazy=hazy)

    def _every(self) -> np.ndarray:
        return np.arange(self.reader.first, self.reader.first + len(self))

    def _index(self, row: int) -> int:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a phantom with {len(self)} scenes")
        return self.reader.first + row % len(self)

    def _hazy(self, index: np.ndarray) -> Int32[np.ndarray, " n"]:
        return (keyed.uniform(self._key("air"), index, 1)[:, 0] < 0.5).astype(np.int32)

    def _key(self, *parts: int | str) -> int:
        return keyed.key("depth phantom", self.reader.seed, self.reader.split, *parts)


def gray(image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "1 h w"]:
    """Weigh colors as ITU-R BT.601 does."""
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), image, axes=1)
    return np.rint(luma[None]).astype(np.uint8)
