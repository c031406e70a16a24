"""Transform: one named thing that can happen to an image, as a value that says everything about itself.

A transform draws its parameters on the CPU from numbers that it is handed, and then is one of four: a new level for
each level (`Pointwise`), a function of neighboring pixels (`Filter`), a 3x3 matrix (`Warp`), or
rectangles to blank (`Erasing`). Names of classes are the vocabulary in which
tasks declare their symmetries. To add one, subclass, and register the class in the entry-point group
`ssmtl.transforms`.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from pydantic import Field, FiniteFloat, model_validator
from torch import Tensor

from ssmtl.component import Component, resolve
from ssmtl.schedules import Fraction

Uniform: TypeAlias = Float64[np.ndarray, "m numbers"]
Drawn: TypeAlias = Float64[np.ndarray, "m values"]
Values: TypeAlias = Float64[Tensor, "m values"]
Real: TypeAlias = Int64[np.ndarray, "m 2"]
Matrices: TypeAlias = Float64[Tensor, "m 3 3"]
Size: TypeAlias = tuple[int, int]
Images: TypeAlias = UInt8[Tensor, "m c h w"]
Table: TypeAlias = Int64[Tensor, "m _ 256"]
Counts: TypeAlias = Callable[[], Int64[Tensor, "m c 256"]]
Follow: TypeAlias = Literal["same", "overlapping", "any"]


class Transform(Component):
    """What all transforms share. `p` is the probability that it happens where a policy tries it."""

    group = "transforms"
    unit: ClassVar[str] = ""
    """Unit of what is drawn."""
    kornia: ClassVar[str] = ""
    """The nearest thing in `kornia.augmentation` or, where that means something else by the word, `kornia.enhance`."""
    color: ClassVar[bool] = False
    """Whether it needs the three channels of a color image."""
    numbers: ClassVar[int] = 0
    """How many numbers, uniform in [0, 1), a row needs; where a pool has levels, the first is one of them, up to 1."""

    p: Fraction = 1.0

    @property
    def title(self) -> str:
        """Return what people call it, in messages."""
        return self.kind

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names that a task must have declared to be shown this."""
        return (self.kind,)

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return the parameters of rows from their numbers, for canvases of `size` with images of `real` (h, w)."""
        return np.zeros((len(uniform), 0))


class Photometric(Transform):
    """Leaves every pixel where it is."""

    def stages(self, rows: Int64[Tensor, " m"], values: Values) -> "Iterable[Stage]":
        """Return what happens to `rows`, in order."""
        assert isinstance(self, Pointwise | Filter)
        yield Stage(self, rows, values)


class Pointwise(Photometric):
    """A new level for each of the 256 levels of a channel."""

    @abstractmethod
    def table(self, values: Values, counts: Counts) -> Table:
        """Return the new levels per row, whole numbers from 0 to 255; channels may be left to broadcast.

        `counts()` is the histogram of the real pixels of the current image, computed only when asked for.
        """


class Filter(Photometric):
    """A function of pixels, their neighbors and their channels."""

    @abstractmethod
    def apply(self, images: Images, values: Values, real: Bool[Tensor, "m h w"] | None) -> Images:
        """Return the changed images; `real` marks the pixels that are image (None: all), the rest doesn't matter."""


class Warp(Transform):
    """A map of pixel centers, see `ssmtl.views.geometry`; what comes in from outside is black.

    `follow` relates what another view draws to what the weak view drew: the "same", "overlapping" (a crop only: the
    same, moved by up to half of the frame along each side), or "any", which is on its own.
    """

    frames: ClassVar[bool] = False
    """Whether it chooses which part of the image the view shows, and at which size: once a view, before the pool."""
    mirrors: ClassVar[bool] = False
    """Whether pixels outside of the image show its reflection instead of black."""
    searches: ClassVar[bool] = False
    """Whether what it draws depends on where the image lies on its canvas: then nothing may have moved it before."""
    elastic: ClassVar[bool] = False
    """Whether it moves pixels in a way that no matrix describes."""

    follow: Follow = "any"

    @abstractmethod
    def matrix(self, values: Values, size: Size) -> Matrices:
        """Return the map from the pixels of an image of `size` to the view's, a row per row of values."""

    def view_size(self, size: Size) -> Size:
        """Return the (height, width) of the view of an image of `size`; raises RecipeError where there is none."""
        return size

    def overlap(self, values: Drawn, uniform: Uniform, size: Size) -> Drawn:
        """Return a crop's parameters moved by up to half of the frame, by numbers of their own."""
        raise NotImplementedError(f"{self.kind} can't overlap")

    @model_validator(mode="after")
    def _can_follow(self) -> "Warp":
        if self.follow == "overlapping" and type(self).overlap is Warp.overlap:
            raise ValueError(f"{self.title} follows the weak view as 'same' or 'any'; 'overlapping' takes ScaleCrop")
        return self


class Erasing(Transform):
    """Blanks rectangles of the finished view with `fill`; where `on_target` is "ignore", targets are blanked too."""

    fill: Fraction = 0.5
    on_target: Literal["ignore", "keep"] = "ignore"

    @abstractmethod
    def rectangles(self, values: Drawn, size: Size) -> Int64[np.ndarray, "m 4"]:
        """Return half-open rectangles (left, top, right, bottom) inside a view of `size`."""


class Graded(Transform):
    """A transform with one value between `low` and `high`, of which RandAugment picks a level.

    The strongest level is `high`, or `low` where the transform `falls`; a `signed` one goes either way; a `whole` one
    takes whole numbers, rounded toward the weaker end.
    """

    numbers: ClassVar[int] = 2
    limits: ClassVar[tuple[float, float]]
    """Smallest and largest value that mean anything."""
    falls: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    low: FiniteFloat = Field(kw_only=False)
    high: FiniteFloat = Field(kw_only=False)

    @model_validator(mode="after")
    def _in_order(self) -> "Graded":
        least, most = self.limits
        if self.low > self.high:
            raise ValueError(f"low={self.low:g} is above high={self.high:g}: give the smaller {self.unit} first")
        if not (least <= self.low and self.high <= most):
            raise ValueError(
                f"({self.low:g}, {self.high:g}) leaves the range of {self.kind}, {least:g} to {most:g} ({self.unit})"
            )
        return self

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return the value that lies at the fraction `uniform[:, 0]` between the weak and the strong end."""
        way = (self.high - self.low) * uniform[:, 0]
        values = self.high - way if self.falls else self.low + way
        if self.whole:
            values = np.ceil(values - 1e-9) if self.falls else np.floor(values + 1e-9)
        if self.signed:
            values = np.where(uniform[:, 1] < 0.5, -values, values)
        return values[:, None]


@final
@dataclass(frozen=True)
class Stage:
    """One photometric op on the rows of a batch that drew it; everything is on the CPU."""

    op: Pointwise | Filter
    rows: Int64[Tensor, " m"]
    values: Values


def as_transform(value: Any) -> Any:
    """Turn a name, or an augmentation of Kornia, into a Transform; leaves the rest to validation."""
    if isinstance(value, str):
        return resolve("transforms", value)()
    origin = value if isinstance(value, type) else type(value)
    if origin.__module__.partition(".")[0] == "kornia" or hasattr(origin, "generate_transformation_matrix"):
        from ssmtl.views.kornia_warp import Kornia

        return Kornia.of(value)
    return value


def eye(rows: int) -> Matrices:
    """Return identity matrices."""
    return torch.from_numpy(np.tile(np.eye(3), (rows, 1, 1)))
