"""Columns of names and labels, and the table that decodes the files behind them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped
from PIL import Image
from pydantic import Field

from ssmtl.batch import Sample
from ssmtl.datasets.canvas import Fit, place_image, place_mask, shown_size
from ssmtl.datasets.decode import Mask
from ssmtl.datasets.holdout import held_out
from ssmtl.errors import DataError
from ssmtl.task import Annotation

Strings: TypeAlias = Shaped[np.ndarray, " n"]
"""A column of texts in numpy's StringDType: about 16 bytes a row beside the text, and no object per row."""

Split: TypeAlias = Literal["train", "val", "test", "all"]
Holdout = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def strings(values: Iterable[str]) -> Strings:
    """Return texts as a column, one at a time, so that a generator of a million costs no list."""
    return np.fromiter(values, dtype=np.dtypes.StringDType())


@dataclass(frozen=True, eq=False)
class Columns:
    """What is known of every row before a file is opened.

    `images` and `masks` are paths relative to the root; several masks of a row are united. `labels` are class indices
    (-1: not annotated).
    """

    images: Strings
    masks: tuple[Strings, ...] = ()
    labels: Int32[np.ndarray, " n"] | None = None
    patients: Strings | None = None

    def take(self, rows: Int64[np.ndarray, " m"]) -> Self:
        """Return some rows, in that order."""
        return replace(
            self,
            images=self.images[rows],
            masks=tuple(mask[rows] for mask in self.masks),
            labels=None if self.labels is None else self.labels[rows],
            patients=None if self.patients is None else self.patients[rows],
        )

    def part(
        self,
        split: Split,
        holdout: float,
        seed: int,
        *,
        strata: Int32[np.ndarray, " n"] | None = None,
        names: tuple[str, ...],
    ) -> Self:
        """Return the "val" or the "train" part of a training set that came without a validation split.

        See `held_out`; `strata` defaults to the labels. Raises DataError for "val" with `holdout` 0.
        """
        if not holdout and split == "val":
            raise DataError(
                "split='val' needs `holdout` above 0 (such as 0.1), because the data has no validation set."
            )
        if not holdout:
            return self
        spread = self.labels if strata is None else strata
        if spread is None:
            spread = np.zeros(len(self.images), dtype=np.int32)
        held = held_out(holdout, seed, spread, names, self.patients)
        return self.take(np.flatnonzero(held if split == "val" else ~held))


@dataclass(frozen=True, eq=False)
class FileTable:
    """A table over `columns`: decodes a row's image and masks when it is asked for. Survives pickling to workers.

    A mask must have the size of its image; with `coarse_masks` an exact divisor of it will do.
    """

    root: Path
    columns: Columns
    canvas: tuple[int, int]
    channels: int
    fit: Fit
    decode: Callable[[Path], Image.Image]
    decode_mask: Callable[[Path], Mask]
    coarse_masks: bool = False

    def __len__(self) -> int:
        return len(self.columns.images)

    def __getitem__(self, row: int) -> Sample:
        image = self.decode(self.root / self.name(row))
        source = (image.height, image.width)
        shown = shown_size(source, self.canvas, self.fit)
        annotations: dict[str, Annotation] = {}
        if self.columns.labels is not None and self.columns.labels[row] >= 0:
            annotations["label"] = int(self.columns.labels[row])
        if self.columns.masks:
            annotations["mask"] = place_mask(self._mask(row, source), self.canvas, shown)
        pixels = place_image(image, self.canvas, self.channels, shown)
        return Sample(self.name(row), pixels, shown, source, annotations)

    def name(self, row: int) -> str:
        return str(self.columns.images[row])

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        if kind == "label" and self.columns.labels is not None:
            return self.columns.labels >= 0
        return np.full(len(self), kind == "mask" and bool(self.columns.masks))

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        return self.columns.labels if kind == "label" else None

    def made_of(self, row: int, kind: str) -> tuple[Path | bytes, ...]:
        image = self.root / self.name(row)
        if kind == "label" and self.columns.labels is not None:
            return image, str(self.columns.labels[row]).encode()
        return image, *(self.root / str(column[row]) for column in self.columns.masks)

    def patients(self) -> tuple[str, ...] | None:
        return None if self.columns.patients is None else tuple(self.columns.patients.tolist())

    def _mask(self, row: int, source: tuple[int, int]) -> Mask:
        """Return the union of a row's masks, refusing one that does not fit its image."""
        union: Mask | None = None
        for column in self.columns.masks:
            path = self.root / str(column[row])
            mask = self.decode_mask(path)
            height, width = mask.shape
            exact = (height, width) == source
            coarse = source[0] % height == 0 and source[1] % width == 0 and source[0] * width == source[1] * height
            if not exact and not (self.coarse_masks and coarse):
                raise DataError(
                    f"{path} is {width}x{height} pixels, but its image {self.name(row)} is {source[1]}x{source[0]}; "
                    "a mask must have the size of its image: export it again."
                )
            if union is not None and union.shape != mask.shape:
                raise DataError(f"{path} has another size than the other masks of {self.name(row)}; export it again.")
            union = mask if union is None else union | mask
        assert union is not None
        return union
