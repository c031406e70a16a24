"""Where a pixel of a source image lands in a view: 3x3 maps, and what they do to images, label maps and points.

Conventions, written here once: a matrix maps (x, y, 1) in *pixel centers* (the center of the top left pixel is (0, 0))
from source to view, in float64. Sizes are (height, width).
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Float64
from torch import Tensor


class View(NamedTuple):
    """Which view of an image: the policy that makes it, and which of several independent draws from it."""

    policy: str = "weak"
    draw: int = 0


WEAK = View("weak")
STRONG = View("strong")


@dataclass(frozen=True)
class Geometry:
    """A map per row from source pixels to the pixels of a view.

    `matrix` is on the CPU or the images' device. `valid` marks the source pixels that hold something real (None: all);
    what lies outside of it moves to "ignore".
    """

    matrix: Float64[Tensor, "n 3 3"]
    size: tuple[int, int]
    valid: Bool[Tensor, "n h w"] | None = None
