"""Policy: the distribution of a view. Draw: one sample of it, without pixels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, cast, final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from ssmtl.component import Component
from ssmtl.keyed import uniform
from ssmtl.schedules import Fraction
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import Filter, Framing, Graded, Pointwise, Warp, find

Pad = Annotated[float, Field(ge=0, le=0.5)]
Level = Annotated[int, Field(ge=1, le=10)]

FRAMING_NUMBERS = 3
SLOT_NUMBERS = 4


@final
@dataclass(frozen=True)
class Stage:
    """One photometric op on the rows of a batch that drew it; everything is on the CPU."""

    op: Pointwise | Filter
    rows: Int64[Tensor, " m"]
    values: Float64[Tensor, " m"]


@final
@dataclass(frozen=True)
class Draw:
    """What happens to every row of a batch to make a view; everything is on the CPU.

    First the `stages` change levels, in order; then `geometry` moves pixels, in one resampling. `framed` is the part of
    the geometry that shows mirrored pixels where the source ends: a view pixel that `framed` and the rest place outside
    of both the frame and the source is black.
    """

    geometry: Geometry
    framed: Float64[Tensor, "n 3 3"]
    stages: tuple[Stage, ...]

    def __len__(self) -> int:
        return len(self.geometry)


@final
class Policy(Component):
    """How a view is drawn: framing ops first, then RandAugment with a choice per image.

    Every image draws `num_ops` ops from the `pool`, with replacement; each is applied with `probability`, at a whole
    level drawn from `levels` (of 10), in a random direction where it has one. FixMatch's variant as MultiMix uses it
    (Sohn et al. 2020; Haque et al. 2021). Levels of gray and color change before pixels move, whatever the drawn order:
    histograms see no black corners, and several moves cost one resampling. What left the frame and came back is there.

    Raises `pydantic.ValidationError` for unknown or misplaced ops.
    """

    group = "policies"

    always: tuple[str, ...] = ()
    """Framing ops, tried in this order with their own probability: HorizontalFlip (one half), ReflectCrop (1)."""
    pad: Pad = 0.125
    """The largest shift of ReflectCrop, as a fraction of each side of the canvas."""
    pool: tuple[str, ...] = ()
    num_ops: Annotated[int, Field(ge=0, le=16)] = 0
    probability: Fraction = 0.5
    levels: tuple[Level, Level] = (1, 9)
    """Smallest and largest level, both included."""

    @field_validator("always")
    @classmethod
    def _frames(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _only(Framing, names, "'always' takes framing ops (HorizontalFlip, ReflectCrop); put it into the pool")

    @field_validator("pool")
    @classmethod
    def _grades(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return _only(Graded, names, "the pool takes ops that have a level; put it into 'always'")

    @model_validator(mode="after")
    def _agree(self) -> "Policy":
        if (self.num_ops > 0) != bool(self.pool):
            raise ValueError(
                f"num_ops={self.num_ops} with a pool of {len(self.pool)} ops: give both, or neither for no RandAugment"
            )
        if self.levels[0] > self.levels[1]:
            raise ValueError(f"levels={self.levels} is empty: give the smaller level first")
        return self

    def transforms(self) -> tuple[str, ...]:
        """Return the names of all ops that a draw may hold."""
        return (*self.always, *self.pool)

    def sample(self, key: int, rows: Int64[np.ndarray, " n"], size: tuple[int, int]) -> Draw:
        """Draw a view of a canvas of `size` (height, width) for each of `rows`, a pure function of (key, row).

        `rows` are places in the global batch: what a row draws doesn't depend on which others are asked for.
        """
        framing = FRAMING_NUMBERS * len(self.always)
        numbers = uniform(key, rows, framing + SLOT_NUMBERS * self.num_ops)
        framed = _eye(len(rows))
        for name, (gate, x, y) in zip(self.always, _blocks(numbers[:, :framing], FRAMING_NUMBERS), strict=True):
            frame = cast(Framing, find(name))
            step = frame.matrix(np.stack([x, y], 1), self.pad, size)
            framed = torch.where(_column(gate < frame.probability), step @ framed, framed)
        matrix, stages = framed, list[Stage]()
        for slot in _blocks(numbers[:, framing:], SLOT_NUMBERS):
            for op, chosen, values in self._slot(*slot):
                if isinstance(op, Warp):
                    matrix = matrix.index_copy(0, chosen, op.matrix(values, size) @ matrix[chosen])
                elif isinstance(op, Pointwise | Filter):
                    stages.append(Stage(op, chosen, values))
        return Draw(Geometry(matrix, size), framed, tuple(stages))

    def _slot(
        self,
        gate: Float64[np.ndarray, " n"],
        choice: Float64[np.ndarray, " n"],
        level: Float64[np.ndarray, " n"],
        sign: Float64[np.ndarray, " n"],
    ) -> Iterable[tuple[Graded, Int64[Tensor, " m"], Float64[Tensor, " m"]]]:
        """Yield each op of the pool that some rows drew, with those rows and their values."""
        low, high = self.levels
        index = np.where(gate < self.probability, np.floor(choice * len(self.pool)), -1)
        for place, name in enumerate(self.pool):
            rows = np.flatnonzero(index == place)
            if len(rows):
                op = cast(Graded, find(name))
                values = op.magnitude(low + np.floor(level[rows] * (high - low + 1)))
                values = np.where(op.signed & (sign[rows] < 0.5), -values, values)
                yield op, torch.from_numpy(rows), torch.from_numpy(values)


def _only(kind: type[Framing] | type[Graded], names: tuple[str, ...], otherwise: str) -> tuple[str, ...]:
    for name in names:
        if not isinstance(find(name), kind):
            raise ValueError(f"{name}: {otherwise}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is listed twice: name every op once")
    return names


def _blocks(numbers: Float64[np.ndarray, "n k"], width: int) -> list[Float64[np.ndarray, "m n"]]:
    return np.split(numbers.T, numbers.shape[1] // width) if numbers.shape[1] else []


def _eye(n: int) -> Float64[Tensor, "n 3 3"]:
    return torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)


def _column(mask: Bool[np.ndarray, " n"]) -> Bool[Tensor, "n 1 1"]:
    return torch.from_numpy(mask)[:, None, None]
