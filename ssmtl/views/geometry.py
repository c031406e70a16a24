"""Where a pixel of a source image lands in a view: 3x3 maps, how they compose, and what they keep track of.

Conventions, written here once: a matrix maps (x, y, 1) in *pixel centers* (the center of the top left pixel is (0, 0))
from source to view, in float64, up to the positive third coordinate of what is in front of the camera. Boxes are
half-open in *pixel edges*: the top left pixel is the box (0, 0, 1, 1). Sizes are (height, width). Matrices stay on the
CPU, where a step is planned: looking at one must never wait for a device.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor


class View(NamedTuple):
    """Which view of an image: the policy that makes it, and which of several independent draws from it."""

    policy: str = "weak"
    draw: int = 0


WEAK = View("weak")
STRONG = View("strong")


@final
@dataclass(frozen=True)
class Geometry:
    """A map per row from source pixels to the pixels of a view of `size`.

    `matrix` is on the CPU. `valid` marks the source pixels that hold something real (None: all); what lies outside of
    it moves to "ignore". `erased` marks the view's pixels that no target belongs on, such as a cutout's (None: none).
    In the geometry of a *rendered* view, `valid` marks the view's own pixels, because a view is the source of whatever
    moves on from it (see `between`), and `source_size`, on the CPU, is the (height, width) of each source image.
    `via` is set on a map between two views: the geometry of the view that things move out of.
    """

    matrix: Float64[Tensor, "n 3 3"]
    size: tuple[int, int]
    valid: Bool[Tensor, "n h w"] | None = None
    erased: Bool[Tensor, "n H W"] | None = None
    source_size: Int64[Tensor, "n 2"] | None = None
    via: "Geometry | None" = None

    def __len__(self) -> int:
        return self.matrix.shape[0]

    @property
    def is_identity(self) -> Bool[Tensor, " n"]:
        """Rows, as a mask on the CPU, whose pixels stay where they are."""
        return torch.from_numpy((self.matrix.numpy() == np.eye(3)).all((1, 2)))

    def rows(self, index: Int64[Tensor, " m"]) -> "Geometry":
        """Select rows by an index on the CPU."""
        if len(index) == len(self) and torch.equal(index, torch.arange(len(self))):
            return self
        return Geometry(
            self.matrix[index],
            self.size,
            None if self.valid is None else self.valid[upload(index, self.valid.device)],
            None if self.erased is None else self.erased[upload(index, self.erased.device)],
            None if self.source_size is None else self.source_size[index],
            None if self.via is None else self.via.rows(index),
        )

    def to(self, device: torch.device | str) -> "Geometry":
        """Move the masks to a device; matrix and sizes stay on the CPU."""
        place = torch.device(device)
        valid = None if self.valid is None else upload(self.valid, place)
        erased = None if self.erased is None else upload(self.erased, place)
        return replace(self, valid=valid, erased=erased, via=None if self.via is None else self.via.to(place))


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device without waiting for the work that is queued there."""
    return tensor.to(device, non_blocking=True)


def between(source: Geometry, into: Geometry) -> Geometry:
    """Return the map from one view's pixels to another view's of the same images: into.matrix @ source.matrix^-1.

    `valid` is the source view's: what it never saw (padding, say) doesn't become a target in the other view, wherever
    it lands. `erased` is the other view's. Moving once by the product resamples once.
    """
    same_rows(len(source), into)
    alike = (source.matrix == into.matrix).flatten(1).all(1)[:, None, None]
    still = torch.eye(3, dtype=torch.float64)  # exactly, which a product of inverses needn't be
    matrix = torch.where(alike, still, into.matrix @ inverse(source.matrix))
    return Geometry(matrix, into.size, source.valid, into.erased, via=source)


def inverse(matrix: Float64[Tensor, "n 3 3"]) -> Float64[Tensor, "n 3 3"]:
    """Invert maps in closed form, so that flips, quarter turns and whole-pixel shifts have exact inverses."""
    a, b, c, d, e, f, g, h, i = matrix.numpy().reshape(-1, 9).T
    rows = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    scale = 1 / (a * rows[0][0] + b * rows[1][0] + c * rows[2][0])
    result = np.ascontiguousarray((scale * np.array(rows)).transpose(2, 0, 1))
    result[is_affine(matrix), 2] = (0, 0, 1)
    return torch.from_numpy(result)


def is_affine(matrix: Float64[Tensor, "n 3 3"]) -> Bool[np.ndarray, " n"]:
    """Tell which maps keep parallel lines parallel: those whose last row is (0, 0, 1)."""
    return np.asarray((matrix.numpy()[:, 2] == (0, 0, 1)).all(1))


def apply(
    matrix: Float64[Tensor, "n 3 3"], points: Float64[Tensor, "n p 2"]
) -> tuple[Float64[Tensor, "n p 2"], Float64[Tensor, "n p"]]:
    """Map points, and return their third coordinates too: what isn't positive lies behind the camera, at no place."""
    m = matrix[:, None]
    mapped = points[..., :1] * m[..., 0] + points[..., 1:] * m[..., 1] + m[..., 2]
    depth = mapped[..., 2]
    return mapped[..., :2] / depth.clamp(min=1e-9)[..., None], depth


def inside(x: Tensor, y: Tensor, height: int | Tensor, width: int | Tensor) -> Bool[Tensor, "..."]:
    """Tell which points lie on the pixels of an image, half-open: -0.5 <= x < width - 0.5."""
    return ((x >= -0.5) & (x < width - 0.5)) & ((y >= -0.5) & (y < height - 0.5))


def real_pixels(
    sizes: Int64[Tensor, "n 2"], canvas: tuple[int, int], device: torch.device
) -> Bool[Tensor, "n h w"] | None:
    """Return the pixels of each canvas (height, width) that show its image, of `sizes` on the CPU; None for all."""
    if (sizes.numpy() == canvas).all():
        return None
    limits = upload(sizes, device)[..., None, None]
    y, x = torch.arange(canvas[0], device=device)[:, None], torch.arange(canvas[1], device=device)
    return (y < limits[:, 0]) & (x < limits[:, 1])


def same_rows(rows: int, geometry: Geometry) -> None:
    """Raise ValueError unless a geometry has this many rows."""
    if rows != len(geometry):
        raise ValueError(
            f"got {rows} rows to move by a geometry of {len(geometry)}: select the same rows of both, with "
            "Geometry.rows(index) for the geometry"
        )
