"""Transforms that blank a part of the finished view."""

from typing import Annotated, ClassVar, final

import numpy as np
from jaxtyping import Int64
from pydantic import Field, model_validator

from ssmtl.views.transform import Drawn, Erasing, Real, Size, Uniform

Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(gt=0, le=16)]


@final
class Cutout(Erasing):
    """Blank one rectangle that covers between `area[0]` and `area[1]` of the view.

    Squares of the same area whose center lies anywhere are the Cutout of FixMatch (Sohn et al. 2020); rectangles of
    any area and ratio, inside of the image, are random erasing.
    """

    unit: ClassVar[str] = "share of the view's area"
    kornia: ClassVar[str] = "RandomErasing"
    numbers: ClassVar[int] = 4

    area: tuple[Share, Share] = Field(default=(0.1, 0.3), kw_only=False)
    """Smallest and largest share of the view, uniform between them (Dense FixMatch, Martí i Rabadán et al. 2022)."""
    ratio: tuple[Ratio, Ratio] = (1.0, 1.0)
    """Smallest and largest width over height, log-uniform between them."""
    inside: bool = True
    """Whether all of it lies in the view; otherwise its center does."""

    @model_validator(mode="after")
    def _in_order(self) -> "Cutout":
        for name, (low, high) in (("area", self.area), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name}=({low:g}, {high:g}) is empty: give the smaller number first")
        return self

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return left, top, width and height in whole pixels; left and top may be negative."""
        view = np.array(size[::-1])
        area = self.area[0] + (self.area[1] - self.area[0]) * uniform[:, 0]
        low, high = np.log(self.ratio)
        ratio = np.exp(low + (high - low) * uniform[:, 1])
        root = np.sqrt(area * view.prod())
        sides = np.round(np.stack([root * np.sqrt(ratio), root / np.sqrt(ratio)], 1)).clip(1, view)
        if self.inside:
            corner = np.floor(uniform[:, 2:4] * (view - sides + 1))
        else:
            corner = np.floor(uniform[:, 2:4] * view) - np.floor(sides / 2)
        return np.concatenate([corner, sides], 1)

    def rectangles(self, values: Drawn, size: Size) -> Int64[np.ndarray, "m 4"]:
        ends = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], 1)
        return np.clip(ends, 0, np.tile(size[::-1], 2)).astype(np.int64)
