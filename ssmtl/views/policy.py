"""Policy: the distribution of a view. Draw: one sample of it, without pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
import torch
from jaxtyping import Float64, Int64
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from ssmtl.component import Component
from ssmtl.keyed import key, uniform
from ssmtl.schedules import Fraction
from ssmtl.views.geometry import Geometry
from ssmtl.views.transform import (
    Drawn,
    Erasing,
    Photometric,
    Real,
    Size,
    Stage,
    Transform,
    Uniform,
    Warp,
    as_transform,
)

LEVELS = 10
BASIC = 2
"""Numbers that every transform is handed, needed or not, so that adding one doesn't change what the next draws."""

Level = Annotated[int, Field(ge=0, le=LEVELS)]
Named = Annotated[Transform, BeforeValidator(as_transform)]
Rows = Int64[Tensor, " m"]
Basic = Float64[np.ndarray, "n basic"]


@final
@dataclass(frozen=True)
class Cut:
    """Rectangles to blank, one for each of some rows: half-open (left, top, right, bottom) in pixels of the view."""

    op: Erasing
    rows: Rows
    rectangles: Int64[Tensor, "m 4"]


@final
@dataclass(frozen=True)
class Applied:
    """What a transform does to the rows that drew it: its own parameters, as its `draw` returned them."""

    op: Transform
    rows: Rows
    values: Float64[Tensor, "m values"]


@final
@dataclass(frozen=True)
class Draw:
    """What happens to every row of a batch to make a view; everything is on the CPU.

    First the `stages` change levels, in order; then `geometry` moves pixels from the `canvas` (height, width), in one
    resampling; then the `cuts` are blanked. `framed`, if any, maps the source to the frame, in units of the canvas,
    that a mirroring crop filled with reflections: a view pixel outside of both the frame and the canvas is black.
    `record` is what all of this was made of, in the order in which it was drawn.
    """

    geometry: Geometry
    canvas: Size
    framed: Float64[Tensor, "n 3 3"] | None = None
    stages: tuple[Stage, ...] = ()
    cuts: tuple[Cut, ...] = ()
    record: tuple[Applied, ...] = ()

    def __len__(self) -> int:
        return len(self.geometry)


@final
class Policy(Component):
    """How a view is drawn: what is `always` tried, then RandAugment from a `pool`, then what blanks.

    RandAugment (Cubuk et al. 2020) comes in the variants that semi-supervised papers use: `num_ops` ops, chosen for
    every image ("sample") or once for all ("batch"), with or without replacement, each applied with `probability`, at a
    whole level out of 10 or anywhere in its range. Transforms can be given by name, with their default range, and any
    geometric augmentation of Kornia, or a subclass of one, as the object itself.

    Levels of gray and color change before pixels move, whatever the drawn order: histograms see no black corners, and
    several moves cost one resampling. What left the frame and came back is there. Numbers are keyed by place in the
    global batch, so that no draw depends on batch size, on the number of processes or on the device.

    Raises `pydantic.ValidationError` for unknown or misplaced transforms.
    """

    group = "policies"

    always: tuple[Named, ...] = ()
    """Tried in this order, each with its own probability `p` and anywhere in its range."""
    pool: tuple[Named, ...] = ()
    num_ops: Annotated[int, Field(ge=0, le=16)] = 0
    scope: Literal["sample", "batch"] = "sample"
    distinct: bool = False
    """Whether no op is chosen twice for one image."""
    probability: Fraction = 1.0
    levels: tuple[Level, Level] | None = None
    """Smallest and largest level of 10, both included; None: anywhere in the range."""
    derive: bool = False
    """Leave out what some task doesn't declare, or what its images' channels don't allow, instead of refusing it."""

    @model_validator(mode="after")
    def _agree(self) -> "Policy":
        if (self.num_ops > 0) != bool(self.pool):
            raise ValueError(
                f"num_ops={self.num_ops} with a pool of {len(self.pool)} ops: give both, or neither for no RandAugment"
            )
        if self.levels is not None and self.levels[0] > self.levels[1]:
            raise ValueError(f"levels={self.levels} is empty: give the smaller level first")
        if self.distinct and self.num_ops > len(self.pool):
            raise ValueError(f"{self.num_ops} distinct ops from a pool of {len(self.pool)}: choose fewer, or add ops")
        for op in (*self.always, *self.pool):
            if not isinstance(op, Photometric | Warp | Erasing):
                raise ValueError(f"{op.title} does nothing: make it a Pointwise, a Filter, a Warp or an Erasing")
        for op in self.pool:
            if isinstance(op, Erasing) or (isinstance(op, Warp) and op.frames):
                raise ValueError(f"{op.title} happens once a view, before or after the pool; put it into 'always'")
            if isinstance(op, Warp) and op.follow != "any":
                raise ValueError(f"{op.title} in the pool is drawn for this view alone; set follow='any'")
        moved: Warp | None = None
        blanked: Erasing | None = None
        for place, op in enumerate(self.always):
            if isinstance(op, Warp):
                if op.searches and moved is not None:
                    raise ValueError(
                        f"{op.title} looks for the image in its canvas' corner; put it before {moved.title}"
                    )
                if op.frames and blanked is not None:
                    raise ValueError(f"{blanked.title} blanks the finished view; put it after {op.title}")
                moved = moved or op
            blanked = op if isinstance(op, Erasing) else blanked
            if op in self.always[:place]:
                raise ValueError(f"{op.title} is listed twice in 'always': name every transform once")
        return self

    def transforms(self) -> tuple[Transform, ...]:
        """Return everything that a draw may hold."""
        return (*self.always, *self.pool)

    def view_size(self, size: Size) -> Size:
        """Return the (height, width) of views of images of `size`; raises RecipeError where a crop doesn't fit."""
        for op in self.always:
            size = op.view_size(size) if isinstance(op, Warp) else size
        return size

    def sample(
        self,
        key: int,
        rows: Int64[np.ndarray, " n"],
        size: Size,
        *,
        shared: int = 0,
        real: Int64[Tensor, "n 2"] | None = None,
    ) -> Draw:
        """Draw a view of a canvas of `size` (height, width) for each of `rows`, a pure function of keys and row.

        `rows` are places in the global batch: what a row draws doesn't depend on which others are asked for. `shared`
        is the key of what views have in common (see `Warp.follow`). `real`, on the CPU, is the (height, width) of the
        image on each canvas, which is all of it by default.
        """
        sides = np.tile(np.array([size], dtype=np.int64), (len(rows), 1)) if real is None else real.numpy()
        drawing = _Drawing(key, shared, rows, size, sides)
        numbers = uniform(key, rows, (1 + BASIC) * len(self.always) + (2 + BASIC) * self.num_ops)
        before = (1 + BASIC) * len(self.always)
        for op, (gate, *basic) in zip(self.always, _blocks(numbers[:, :before], 1 + BASIC), strict=True):
            drawing.always(op, gate, np.stack(basic, 1))
        for slot, block in enumerate(_blocks(numbers[:, before:], 2 + BASIC)):
            self._slot(drawing, slot, *block)
        return drawing.finish()

    def _slot(
        self,
        drawing: "_Drawing",
        slot: int,
        gate: Float64[np.ndarray, " n"],
        choice: Float64[np.ndarray, " n"],
        level: Float64[np.ndarray, " n"],
        sign: Float64[np.ndarray, " n"],
    ) -> None:
        """Apply one op of the pool to the rows that drew it."""
        index = self._choice(drawing, slot, choice)
        if self.levels is not None:
            low, high = self.levels
            level = (low + np.floor(level * (high - low + 1))) / LEVELS
        happens = gate < np.array([self.probability * op.p for op in self.pool])[index]
        basic = np.stack([level, sign], 1)
        for place in np.unique(index[happens]):
            drawing.add(self.pool[place], np.flatnonzero(happens & (index == place)), basic, f"slot {slot}")

    def _choice(self, drawing: "_Drawing", slot: int, choice: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Return which op of the pool every row has in a slot."""
        if not self.distinct and self.scope == "sample":
            return np.floor(choice * len(self.pool)).astype(np.int64)
        rows = drawing.rows if self.scope == "sample" else np.zeros(1, np.int64)
        lots = uniform(key("choice", drawing.key), rows, len(self.pool) + slot + 1)
        picked = lots[:, : len(self.pool)].argsort(1, kind="stable")[:, slot] if self.distinct else lots[:, -1]
        index = picked if self.distinct else np.floor(picked * len(self.pool))
        return np.broadcast_to(index.astype(np.int64), len(drawing.rows))


class _Drawing:
    """A draw in the making."""

    def __init__(self, key: int, shared: int, rows: Int64[np.ndarray, " n"], size: Size, real: Real) -> None:
        self.key, self.shared, self.rows, self.canvas, self.size = key, shared, rows, size, size
        self.real, self.sources = real, torch.from_numpy(real)
        self.matrix = np.tile(np.eye(3), (len(rows), 1, 1))
        self.framed: Float64[np.ndarray, "n 3 3"] | None = None
        self.parts: list[tuple[Photometric, Rows, Float64[Tensor, "m values"]]] = []
        self.erased: list[tuple[Erasing, Rows, Drawn]] = []
        self.record: list[Applied] = []
        self.tried: list[tuple[str, ...]] = []

    def always(self, op: Transform, gate: Float64[np.ndarray, " n"], basic: Basic) -> None:
        """Try an op on every row; another one of its names draws numbers of its own."""
        again = (self.tried.count(op.names),) * (op.names in self.tried)
        self.tried.append(op.names)
        if isinstance(op, Warp) and op.follow != "any":
            common = uniform(key("shared", self.shared, *op.names, *again), self.rows, 1 + max(BASIC, op.numbers))
            own = self._numbers(op, np.arange(len(self.rows)), basic, "overlap", *again)
            chosen = np.flatnonzero(common[:, 0] < op.p)
            values = op.draw(common[chosen, 1 : 1 + op.numbers], self.size, self.real[chosen])
            if op.follow == "overlapping":
                values = op.overlap(values, own[chosen], self.size)
            self._take(op, chosen, values)
        else:
            self.add(op, np.flatnonzero(gate < op.p), basic, "always", *again)

    def add(self, op: Transform, chosen: Int64[np.ndarray, " m"], basic: Basic, *place: str | int) -> None:
        """Apply an op to the chosen rows."""
        self._take(op, chosen, op.draw(self._numbers(op, chosen, basic[chosen], *place), self.size, self.real[chosen]))

    def finish(self) -> Draw:
        """Return the draw."""
        stages = tuple(stage for op, rows, values in self.parts for stage in op.stages(rows, values))
        cuts = tuple(
            Cut(op, rows, torch.from_numpy(op.rectangles(values, self.size))) for op, rows, values in self.erased
        )
        geometry = Geometry(torch.from_numpy(self.matrix), self.size, source_size=self.sources)
        framed = None if self.framed is None else torch.from_numpy(self.framed)
        return Draw(geometry, self.canvas, framed, stages, cuts, tuple(self.record))

    def _take(self, op: Transform, chosen: Int64[np.ndarray, " m"], values: Drawn) -> None:
        applied = Applied(op, torch.from_numpy(chosen), torch.from_numpy(values))
        self.record.append(applied)
        if isinstance(op, Warp):
            self._move(op, chosen, applied.values)
        elif isinstance(op, Photometric):
            self.parts.append((op, applied.rows, applied.values))
        elif isinstance(op, Erasing):
            self.erased.append((op, applied.rows, values))

    def _move(self, op: Warp, chosen: Int64[np.ndarray, " m"], values: Float64[Tensor, "m values"]) -> None:
        self.matrix[chosen] = op.matrix(values, self.size).numpy() @ self.matrix[chosen]
        self.size = op.view_size(self.size)
        if op.mirrors:
            scale = np.eye(3)  # the frame, brought to the size of the canvas about its edges
            for axis, (side, canvas) in enumerate(zip(self.size[::-1], self.canvas[::-1], strict=True)):
                scale[axis, axis], scale[axis, 2] = canvas / side, (canvas / side - 1) / 2
            if self.framed is None:
                self.framed = np.tile(np.eye(3), (len(self.rows), 1, 1))
            self.framed[chosen] = scale @ self.matrix[chosen]

    def _numbers(self, op: Transform, chosen: Int64[np.ndarray, " m"], basic: Uniform, *place: str | int) -> Drawn:
        """Return as many numbers as the op needs: the basic ones first."""
        if op.numbers <= BASIC:
            return basic[:, : op.numbers]
        more = uniform(key("more", self.key, *place, op.kind), self.rows[chosen], op.numbers - BASIC)
        return np.concatenate([basic, more], 1)


def _blocks(numbers: Float64[np.ndarray, "n k"], width: int) -> Iterator[Float64[np.ndarray, "m n"]]:
    yield from np.split(numbers.T, numbers.shape[1] // width) if numbers.shape[1] else ()
