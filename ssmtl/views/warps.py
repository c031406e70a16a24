"""Transforms that move pixels about the center of the frame, by Kornia's matrices.

Default ranges are those of the program of Dense FixMatch (Martí i Rabadán et al. 2022). Shifts are rounded to whole
pixels, as in Pillow.
"""

from typing import ClassVar, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Float64
from kornia.geometry.transform import get_perspective_transform
from pydantic import Field, FiniteFloat
from torch import Tensor

from ssmtl.schedules import Fraction
from ssmtl.views.transform import Drawn, Graded, Matrices, Real, Size, Uniform, Values, Warp, eye

Entry: TypeAlias = Float64[np.ndarray, " m"] | int
QUARTER_TURNS = np.array([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)])


@final
class HorizontalFlip(Warp):
    """Left becomes right."""

    kornia: ClassVar[str] = "RandomHorizontalFlip"

    p: Fraction = 0.5

    def matrix(self, values: Values, size: Size) -> Matrices:
        matrix = eye(len(values))
        matrix[:, 0, 0], matrix[:, 0, 2] = -1, size[1] - 1
        return matrix


@final
class VerticalFlip(Warp):
    """Top becomes bottom."""

    kornia: ClassVar[str] = "RandomVerticalFlip"

    p: Fraction = 0.5

    def matrix(self, values: Values, size: Size) -> Matrices:
        matrix = eye(len(values))
        matrix[:, 1, 1], matrix[:, 1, 2] = -1, size[0] - 1
        return matrix


@final
class Rot90(Warp):
    """One, two or three quarter turns counterclockwise; the frame stays, so that a longer side leaves it."""

    unit: ClassVar[str] = "quarter turns"
    kornia: ClassVar[str] = "RandomRotation90"
    numbers: ClassVar[int] = 1

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        return 1 + np.minimum(np.floor(3 * uniform[:, :1]), 2)  # a policy's highest level is exactly 1

    def matrix(self, values: Values, size: Size) -> Matrices:
        cos, sin = QUARTER_TURNS[values.numpy()[:, 0].astype(np.int64) % 4].T
        return _about(size, cos, sin, -sin, cos)


@final
class Rotate(Graded, Warp):
    """Turn by an angle; positive is counterclockwise."""

    unit: ClassVar[str] = "degrees"
    kornia: ClassVar[str] = "RandomRotation"
    limits: ClassVar[tuple[float, float]] = (0, 180)
    signed: ClassVar[bool] = True

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=30.0, kw_only=False)

    def matrix(self, values: Values, size: Size) -> Matrices:
        angle = np.deg2rad(values.numpy()[:, 0])
        cos, sin = np.cos(angle), np.sin(angle)
        return _about(size, cos, sin, -sin, cos)


@final
class ShearX(Graded, Warp):
    """Slide rows along each other."""

    unit: ClassVar[str] = "pixels to the left per pixel down"
    kornia: ClassVar[str] = "RandomShear"
    limits: ClassVar[tuple[float, float]] = (0, 5)
    signed: ClassVar[bool] = True

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=0.3, kw_only=False)

    def matrix(self, values: Values, size: Size) -> Matrices:
        return _about(size, 1, -values.numpy()[:, 0], 0, 1)


@final
class ShearY(Graded, Warp):
    """Slide columns along each other."""

    unit: ClassVar[str] = "pixels up per pixel to the right"
    kornia: ClassVar[str] = "RandomShear"
    limits: ClassVar[tuple[float, float]] = (0, 5)
    signed: ClassVar[bool] = True

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=0.3, kw_only=False)

    def matrix(self, values: Values, size: Size) -> Matrices:
        return _about(size, 1, 0, -values.numpy()[:, 0], 1)


@final
class TranslateX(Graded, Warp):
    """Shift sideways."""

    unit: ClassVar[str] = "fraction of the width to the right, rounded to whole pixels"
    kornia: ClassVar[str] = "RandomTranslate"
    limits: ClassVar[tuple[float, float]] = (0, 1)
    signed: ClassVar[bool] = True

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=0.15, kw_only=False)

    def matrix(self, values: Values, size: Size) -> Matrices:
        return shift(torch.round(values[:, 0] * size[1]), torch.zeros(len(values), dtype=torch.float64))


@final
class TranslateY(Graded, Warp):
    """Shift up or down."""

    unit: ClassVar[str] = "fraction of the height down, rounded to whole pixels"
    kornia: ClassVar[str] = "RandomTranslate"
    limits: ClassVar[tuple[float, float]] = (0, 1)
    signed: ClassVar[bool] = True

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=0.15, kw_only=False)

    def matrix(self, values: Values, size: Size) -> Matrices:
        return shift(torch.zeros(len(values), dtype=torch.float64), torch.round(values[:, 0] * size[0]))


@final
class Perspective(Graded, Warp):
    """Move every corner inward by up to half of a fraction of the sides.

    From 2/3 on, a corner could reach the line between its neighbors, where the image folds over.
    """

    unit: ClassVar[str] = "fraction of the sides"
    kornia: ClassVar[str] = "RandomPerspective"
    limits: ClassVar[tuple[float, float]] = (0, 0.65)
    numbers: ClassVar[int] = 10

    low: FiniteFloat = Field(default=0.0, kw_only=False)
    high: FiniteFloat = Field(default=0.5, kw_only=False)

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return how far the corners move along x and y, in pixels, clockwise from the top left one."""
        distortion = super().draw(uniform, size, real)
        half = np.tile([(size[1] - 1) / 2, (size[0] - 1) / 2], 4)
        return distortion * uniform[:, 2:] * half

    def matrix(self, values: Values, size: Size) -> Matrices:
        right, bottom = size[1] - 1, size[0] - 1
        corners = torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64)
        inward = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=torch.float64)
        source = corners.expand(len(values), 4, 2)
        if min(right, bottom) < 1 or not len(values):
            return eye(len(values))  # a line has no corners
        matrix: Matrices = get_perspective_transform(source, source + inward * values.view(-1, 4, 2))
        return matrix


def shift(x: Float64[Tensor, " m"], y: Float64[Tensor, " m"]) -> Matrices:
    """Return the maps that move right by x and down by y pixels."""
    matrix = eye(len(x))
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def _about(size: Size, a: Entry, b: Entry, c: Entry, d: Entry) -> Matrices:
    """Return the maps by the 2x2 matrix (a b, c d) that leave the center of the frame where it is."""
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    entries = np.broadcast_arrays(a, b, x - (a * x + b * y), c, d, y - (c * x + d * y))
    matrix = np.tile(np.eye(3), (len(entries[0]), 1, 1))
    matrix[:, :2] = np.stack(entries, 1).reshape(-1, 2, 3)
    return torch.from_numpy(matrix)
