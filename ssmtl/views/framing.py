"""Transforms that choose which part of the image a view shows, and at which size."""

from typing import Annotated, ClassVar, Literal, final

import numpy as np
from pydantic import Field, model_validator

from ssmtl.errors import RecipeError
from ssmtl.views.transform import Drawn, Follow, Matrices, Real, Size, Uniform, Values, Warp, eye
from ssmtl.views.warps import shift

Side = Annotated[int, Field(ge=1, le=16384)]
Factor = Annotated[float, Field(gt=0, le=16)]


@final
class ReflectCrop(Warp):
    """Shift by whole pixels, up to `pad` of each side, and show the reflection of the image where it ends.

    The same as padding by reflection and cropping back to the size: 4 pixels of 32 for `pad=1 / 8` (Sohn et al. 2020).
    """

    unit: ClassVar[str] = "pixels"
    kornia: ClassVar[str] = "RandomCrop"
    numbers: ClassVar[int] = 2
    frames: ClassVar[bool] = True
    mirrors: ClassVar[bool] = True

    pad: Annotated[float, Field(ge=0, le=0.5)] = 0.125
    """The largest shift, as a fraction of each side."""

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return shifts (x, y), every one up to the padding equally likely."""
        most = np.array([round(self.pad * size[1]), round(self.pad * size[0])])
        return np.floor(uniform * (2 * most + 1)) - most

    def matrix(self, values: Values, size: Size) -> Matrices:
        return shift(values[:, 0], values[:, 1])


@final
class ScaleCrop(Warp):
    """Enlarge or shrink by a factor, then cut out a canvas of `size` (None: the image's), at whole pixels.

    Sides of the image that are longer than the canvas are cut anywhere, shorter ones lie anywhere on black, or are
    refused with `pad="none"`. Pixels are bilinear samples: from factor 0.5 on every pixel of the image has its share.
    """

    unit: ClassVar[str] = "factor, and pixels"
    kornia: ClassVar[str] = "RandomCrop"
    numbers: ClassVar[int] = 3
    frames: ClassVar[bool] = True
    searches: ClassVar[bool] = True

    size: tuple[Side, Side] | None = Field(default=None, kw_only=False)
    """Height and width of the canvas in pixels."""
    scale: tuple[Factor, Factor] = (1.0, 1.0)
    """Smallest and largest factor, uniform between them."""
    pad: Literal["black", "none"] = "black"
    follow: Follow = "same"

    @model_validator(mode="after")
    def _in_order(self) -> "ScaleCrop":
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale={self.scale} is empty: give the smaller factor first")
        if self.pad == "none" and self.follow == "overlapping":
            raise ValueError("an overlapping crop may leave the image, and pad='none' forbids it: give pad='black'")
        return self

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return the factor, and the canvas' left and top edge in the pixels of the scaled image."""
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * uniform[:, :1]
        canvas = self.view_size(size)
        self._must_fit(canvas, real)
        free = np.round(scale * real[:, ::-1]) - np.array(canvas[::-1])
        places = np.floor(uniform[:, 1:3] * (np.abs(free) + 1))
        return np.concatenate([scale, np.where(free < 0, free + places, places)], 1)

    def overlap(self, values: Drawn, uniform: Uniform, size: Size) -> Drawn:
        """Move the canvas by up to half of its sides, at whole pixels (Dense FixMatch, Martí i Rabadán et al. 2022)."""
        sides = np.array(self.view_size(size)[::-1])
        return values + np.pad(np.round((uniform[:, 1:3] - 0.5) * sides), ((0, 0), (1, 0)))

    def matrix(self, values: Values, size: Size) -> Matrices:
        """Return x' = s x + (s - 1) / 2 - left: edges are scaled, not centers."""
        scale, left, top = values.unbind(1)
        matrix = shift((scale - 1) / 2 - left, (scale - 1) / 2 - top)
        matrix[:, 0, 0] = matrix[:, 1, 1] = scale
        return matrix

    def view_size(self, size: Size) -> Size:
        """Return the canvas; raises RecipeError when it may exceed the image and nothing may be padded."""
        canvas = _same_for_all(self, self.size, size)
        self._must_fit(canvas, np.array([size]))
        return canvas

    def _must_fit(self, canvas: Size, real: Real) -> None:
        smallest = np.round(self.scale[0] * real).astype(np.int64)
        padded = (smallest < np.array(canvas)).any(1)
        if self.pad == "none" and padded.any():
            raise RecipeError(
                f"ScaleCrop cuts {canvas} (height, width) out of images that are {tuple(smallest[padded][0].tolist())} "
                f"at the smallest scale, {self.scale[0]:g}; cut less, scale less, or pad='black'."
            )


@final
class RandomResizedCrop(Warp):
    """Bring a part of the image, of any place, area and aspect ratio, to a canvas of `size` (None: the image's)."""

    unit: ClassVar[str] = "pixels"
    kornia: ClassVar[str] = "RandomResizedCrop"
    numbers: ClassVar[int] = 4
    frames: ClassVar[bool] = True
    searches: ClassVar[bool] = True

    size: tuple[Side, Side] | None = Field(default=None, kw_only=False)
    """Height and width of the canvas in pixels."""
    area: tuple[Factor, Factor] = (0.08, 1.0)
    """Smallest and largest share of the image's area, uniform between them, where the sides allow it."""
    ratio: tuple[Factor, Factor] = (3 / 4, 4 / 3)
    """Smallest and largest width over height of the part, log-uniform between them."""

    @model_validator(mode="after")
    def _in_order(self) -> "RandomResizedCrop":
        for name, (low, high) in (("area", self.area), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name}=({low:g}, {high:g}) is empty: give the smaller number first")
        if self.area[1] > 1:
            raise ValueError(f"area up to {self.area[1]:g} is more than the image; 1 is all of it")
        return self

    def draw(self, uniform: Uniform, size: Size, real: Real) -> Drawn:
        """Return the part's left and top edge, width and height, in pixels of the image."""
        area = self.area[0] + (self.area[1] - self.area[0]) * uniform[:, 0]
        low, high = np.log(self.ratio)
        ratio = np.exp(low + (high - low) * uniform[:, 1])
        root = np.sqrt(area * real.prod(1))
        sides = np.stack([root * np.sqrt(ratio), root / np.sqrt(ratio)], 1)
        sides = np.clip(np.round(sides), 1, real[:, ::-1])
        return np.concatenate([np.floor(uniform[:, 2:4] * (real[:, ::-1] - sides + 1)), sides], 1)

    def matrix(self, values: Values, size: Size) -> Matrices:
        height, width = self.view_size(size)
        left, top, wide, high = values.unbind(1)
        matrix = eye(len(values))
        for axis, (start, side, canvas) in enumerate(((left, wide, width), (top, high, height))):
            scale = canvas / side
            matrix[:, axis, axis], matrix[:, axis, 2] = scale, scale * (0.5 - start) - 0.5
        return matrix

    def view_size(self, size: Size) -> Size:
        return _same_for_all(self, self.size, size)


def _same_for_all(op: Warp, canvas: Size | None, size: Size) -> Size:
    """Return the size of a crop's views; raises RecipeError where images that it leaves alone have another one."""
    if canvas is None or canvas == size or op.p == 1:
        return canvas or size
    raise RecipeError(
        f"{op.kind} brings images of {size} (height, width) to {canvas}, so all of them must be cropped; set p=1 "
        f"instead of p={op.p:g}, or leave its size out."
    )
