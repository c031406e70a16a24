"""Extend: many augmented copies of every sample of a data set, none of them stored."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from pydantic import Field, model_validator

from ssmtl import keyed
from ssmtl.batch import Sample
from ssmtl.datasets.base import Table, fingerprints_of
from ssmtl.datasets.cached import CACHE_BYTES, remembered
from ssmtl.datasets.file_table import Seed
from ssmtl.datasets.wrapped import WrappedReader, made_inside
from ssmtl.errors import DataError

if TYPE_CHECKING:
    from ssmtl.manifests.fingerprints import Fingerprints

Pixels = UInt8[np.ndarray, "c h w"]

ERASED = 0.3
"""Share of the copies that random erasing touches."""
AREA = (0.02, 0.4)
ASPECT = (0.3, 1 / 0.3)
"""Height over width of what random erasing blanks."""
TRIES = 1000


class Extend(WrappedReader):
    """The samples of `reader` in `rounds` augmented copies each: the Extend step of RealMix (Nair et al. 2019).

    Row `i + r * n` of n inner rows is copy r of sample i, augmented by random numbers of its own that depend on (seed,
    i, r) alone. The originals are not there besides. Copies are made when they are asked for, and what the inner reader
    decoded is remembered: 50 rounds cost no more memory than one. Labels are those of the samples.

    With `aug="cutout"` the `eraser` blanks a part of the image and annotations stay as they are, "simple" flips left
    and right every other time and shifts by up to an eighth of the sides (4 of 32 pixels), with reflected borders, and
    "none" copies. On a canvas that is larger than its image all of this stays within the image.

    `eraser="random_erasing"`, in RealMix's code, fills with p=0.3 one rectangle with one gray level of 0 to 255: of
    0.02 to 0.4 of the image's area, 0.3 to 1/0.3 times as high as wide, drawn again, with its place, until it fits.
    `eraser="cutout16"` fills a square with 0 in every copy (DeVries & Taylor 2017): half as wide as the shorter side
    (16 of 32 pixels), its center anywhere in the image.
    """

    rounds: Annotated[int, Field(ge=1, le=100_000)] = 50
    aug: Literal["cutout", "simple", "none"] = "cutout"
    eraser: Literal["random_erasing", "cutout16"] = "random_erasing"
    flip: bool = True
    """Whether "simple" flips; digits, for one, aren't digits any more."""
    seed: Seed = 0

    @model_validator(mode="after")
    def _stays_in_place(self) -> Self:
        moved = [kind for kind in ("mask", "boxes") if self.reader.classes(kind)]
        if self.aug == "simple" and moved:
            raise ValueError(
                f"aug='simple' would flip and shift images away from their {' and '.join(moved)}, which "
                f"{self.reader.kind} annotates; use aug='cutout' or 'none'"
            )
        return self

    def classes(self, kind: str) -> tuple[str, ...]:
        return self.reader.classes(kind)

    def open(self) -> "ExtendedTable":
        """Open the inner reader, and raise DataError as it does; no copy is made before it is asked for."""
        table = self.reader.open()
        return ExtendedTable(self, table, remembered(table, CACHE_BYTES))


@dataclass(frozen=True, eq=False)
class ExtendedTable:
    """The copies, made when they are asked for from `samples`, which remembers those of `table`.

    `table[row]` raises IndexError outside.
    """

    in_memory: ClassVar[bool] = True

    reader: Extend
    table: Table
    samples: Table

    def __len__(self) -> int:
        return self.reader.rounds * len(self.table)

    def __getitem__(self, row: int) -> Sample:
        index, copy = self._place(row)
        sample = self.samples[index]
        image = sample.image.copy()
        height, width = sample.size
        shown = image[:, :height, :width]
        dice = np.random.default_rng(keyed.key("extend", self.reader.seed, index, copy))
        if self.reader.aug == "simple":
            shown[:] = _shifted(_flipped(shown, dice) if self.reader.flip else shown, dice)
        elif self.reader.aug == "cutout" and self.reader.eraser == "cutout16":
            _cut_out(shown, dice)
        elif self.reader.aug == "cutout":
            _erase(shown, dice)
        return replace(sample, name=f"{sample.name}#{copy}", image=image)

    def name(self, row: int) -> str:
        """Return "name of the sample#copy"."""
        index, copy = self._place(row)
        return f"{self.table.name(index)}#{copy}"

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return np.tile(self.table.annotated(kind), self.reader.rounds)

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        labels = self.table.labels(kind)
        return None if labels is None else np.tile(labels, self.reader.rounds)

    def made_of(self, row: int, kind: str) -> tuple[Path | bytes, ...]:
        """Return what the sample is made of, and what makes this copy of it."""
        index, copy = self._place(row)
        way = f"{self.reader.aug} {self.reader.eraser} {'flip' if self.reader.flip else 'no flip'}"
        made = f"extend {way} {self.reader.seed} {index} {copy}"
        return *made_inside(self.table, index, kind), made.encode()

    def fingerprints(self) -> "Fingerprints | None":
        prints = fingerprints_of(self.table)
        return None if prints is None else prints.take(np.arange(len(self)) % len(self.table))

    def patients(self) -> tuple[str, ...]:
        """Return the patients of the samples, else their names: copies of one sample belong together."""
        groups = self.table.patients() or tuple(self.table.name(index) for index in range(len(self.table)))
        return groups * self.reader.rounds

    def _place(self, row: int) -> tuple[int, int]:
        """Return the index of the sample and the number of its copy."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} copies")
        copy, index = divmod(row % len(self), len(self.table))
        return index, copy


def _flipped(shown: Pixels, dice: np.random.Generator) -> Pixels:
    return shown[:, :, ::-1] if dice.random() < 0.5 else shown


def _shifted(shown: Pixels, dice: np.random.Generator) -> Pixels:
    height, width = shown.shape[1:]
    down, right = round(height / 8), round(width / 8)
    padded = np.pad(shown, ((0, 0), (down, down), (right, right)), mode="reflect")
    top, left = dice.integers(2 * down, endpoint=True), dice.integers(2 * right, endpoint=True)
    return padded[:, top : top + height, left : left + width]


def _cut_out(shown: Pixels, dice: np.random.Generator) -> None:
    height, width = shown.shape[1:]
    side = min(height, width) // 2
    top, left = int(dice.integers(height)) - side // 2, int(dice.integers(width)) - side // 2
    shown[:, max(top, 0) : top + side, max(left, 0) : left + side] = 0


def _erase(shown: Pixels, dice: np.random.Generator) -> None:
    if dice.random() >= ERASED:
        return
    height, width = shown.shape[1:]
    for _ in range(TRIES):
        area, aspect = dice.uniform(*AREA) * height * width, dice.uniform(*ASPECT)
        high, wide = (max(1, int(np.sqrt(part))) for part in (area * aspect, area / aspect))
        top, left = dice.integers(height), dice.integers(width)
        if top + high <= height and left + wide <= width:
            shown[:, top : top + high, left : left + wide] = dice.integers(256)
            return
    raise DataError(
        f"an image of {height} x {width} pixels is too narrow for a rectangle of {AREA[0]:.0%} of its area; "
        "use eraser='cutout16' in Extend, or a reader whose images are less narrow."
    )
