"""Where a pixel of a source image lands in a view: 3x3 maps, and what they do to images, label maps and points.

Conventions, written here once: a matrix maps (x, y, 1) in *pixel centers* (the center of the top left pixel is (0, 0))
from source to view, in float64, and is affine: its last row is (0, 0, 1). Sizes are (height, width). Matrices stay on
the CPU, where a step is planned: looking at one must never wait for a device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar, cast, final

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64, Shaped
from torch import Tensor
from torch.nn.functional import grid_sample


class View(NamedTuple):
    """Which view of an image: the policy that makes it, and which of several independent draws from it."""

    policy: str = "weak"
    draw: int = 0


WEAK = View("weak")
STRONG = View("strong")

ValueMap = TypeVar("ValueMap", bound=Tensor)


@final
@dataclass(frozen=True)
class Geometry:
    """A map per row from source pixels to the pixels of a view.

    `matrix` is on the CPU. `valid` marks the source pixels that hold something real (None: all); what lies outside of
    it moves to "ignore". In the geometry of a *rendered* view, `valid` marks the view's own pixels, because a view is
    the source of whatever moves on from it (see `between`).
    """

    matrix: Float64[Tensor, "n 3 3"]
    size: tuple[int, int]
    valid: Bool[Tensor, "n h w"] | None = None

    def __len__(self) -> int:
        return self.matrix.shape[0]

    @property
    def is_identity(self) -> Bool[Tensor, " n"]:
        """Rows, as a mask on the CPU, whose pixels stay where they are."""
        return (self.matrix.cpu() == torch.eye(3, dtype=torch.float64)).flatten(1).all(1)

    def rows(self, index: Int64[Tensor, " m"]) -> "Geometry":
        """Select rows by an index on the CPU."""
        valid = None if self.valid is None else self.valid[upload(index, self.valid.device)]
        return replace(self, matrix=self.matrix[index], valid=valid)

    def to(self, device: torch.device | str) -> "Geometry":
        """Move `valid` to a device; the matrix stays on the CPU."""
        return self if self.valid is None else replace(self, valid=upload(self.valid, torch.device(device)))


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device without waiting for the work that is queued there."""
    return tensor.to(device, non_blocking=True)


def between(source: Geometry, into: Geometry) -> Geometry:
    """Return the map from one view's pixels to another view's of the same images: into.matrix @ source.matrix^-1.

    `valid` is the source view's: what it never saw (padding, say) doesn't become a target in the other view, wherever
    it lands. Moving once by the product resamples once.
    """
    _same_rows(len(source), into)
    return Geometry(into.matrix @ inverse(source.matrix), into.size, source.valid)


def inverse(matrix: Float64[Tensor, "n 3 3"]) -> Float64[Tensor, "n 3 3"]:
    """Invert affine maps in closed form, so that flips and whole-pixel shifts have exact inverses."""
    a, b, c, d, e, f = matrix[:, :2].flatten(1).unbind(1)
    scale = 1 / (a * e - b * d)
    rows = (e, -b, b * f - c * e, -d, a, c * d - a * f)
    result = torch.zeros_like(matrix)
    result[:, :2] = torch.stack([scale * entry for entry in rows], 1).view(len(matrix), 2, 3)
    result[:, 2, 2] = 1
    return result


def coordinates(
    matrix: Float64[Tensor, "n 3 3"], size: tuple[int, int], device: torch.device
) -> tuple[Float64[Tensor, "n _ w"], Float64[Tensor, "n h _"]]:
    """Return the (x, y) that every pixel of an n x size image is sent to by a matrix on the CPU.

    When no row turns or shears, x is [n, 1, w] and y is [n, h, 1]: they broadcast, and what is computed from them costs
    a row and a column instead of an image.
    """
    upright = not bool(matrix[:, [0, 1], [1, 0]].any())
    m = upload(matrix, device)[..., None, None]
    row = torch.arange(size[0], device=device, dtype=torch.float64)[:, None]
    column = torch.arange(size[1], device=device, dtype=torch.float64)
    x = m[:, 0, 0] * column + m[:, 0, 2]
    y = m[:, 1, 1] * row + m[:, 1, 2]
    return (x, y) if upright else (x + m[:, 0, 1] * row, y + m[:, 1, 0] * column)


def inside(
    x: Float64[Tensor, "..."], y: Float64[Tensor, "..."], height: int | Tensor, width: int | Tensor
) -> Bool[Tensor, "..."]:
    """Tell which points lie on the pixels of an image, half-open: -0.5 <= x < width - 0.5."""
    return ((x >= -0.5) & (x < width - 0.5)) & ((y >= -0.5) & (y < height - 0.5))


def move_labels(labels: Int[Tensor, "n h w"], geometry: Geometry, fill: int = 255) -> Int[Tensor, "n H W"]:
    """Move label maps: nearest pixel, in one exact lookup; what comes from outside or isn't valid becomes `fill`.

    Raises ValueError when maps and geometry differ in rows or in size, as all `move_*` do.
    """
    return _nearest(labels, geometry, fill)


def move_weights(weights: Float[Tensor, "n h w"], geometry: Geometry) -> Float[Tensor, "n H W"]:
    """Move weights per pixel like labels; 0 where there is nothing."""
    return _nearest(weights, geometry, 0)


def move_soft(
    soft: Float[Tensor, "n k h w"], geometry: Geometry
) -> tuple[Float[Tensor, "n k H W"], Bool[Tensor, "n H W"]]:
    """Move maps of k values (probabilities, say) bilinearly, and say which pixels of the result hold something.

    Each result is the average over the valid source pixels among its four neighbors; a pixel counts as valid when they
    hold more than half of the weight. Elsewhere values are averages of less, or 0. Never under autocast.
    """
    _check(soft, geometry)
    valid = geometry.valid
    present = torch.ones_like(soft[:, :1]) if valid is None else valid[:, None].to(soft.dtype)
    fits = geometry.size == tuple(soft.shape[-2:])
    if fits and bool(geometry.is_identity.all()):
        return soft * present, present[:, 0] > 0.5
    with torch.autocast(soft.device.type, enabled=False):
        places = grid(*coordinates(inverse(geometry.matrix), geometry.size, soft.device), soft.shape[-2:])
        moved = grid_sample(torch.cat([soft * present, present], 1).float(), places, align_corners=True)
    covered = moved[:, -1]
    average = (moved[:, :-1] / covered[:, None].clamp(min=1e-6)).to(soft.dtype)
    if not fits:
        return average, covered > 0.5
    same = upload(geometry.is_identity, soft.device)[:, None, None]
    exact = torch.where(same[:, None], soft * present, average)
    return exact, torch.where(same, present[:, 0], covered) > 0.5


def move_points(
    points: Float[Tensor, "n p 2"], geometry: Geometry
) -> tuple[Float[Tensor, "n p 2"], Bool[Tensor, "n p"]]:
    """Move points (x, y) in pixel centers, and say which of them are visible in the view."""
    _same_rows(len(points), geometry)
    matrix = upload(geometry.matrix, points.device)
    moved = points.double() @ matrix[:, :2, :2].mT + matrix[:, None, :2, 2]
    visible = inside(moved[..., 0], moved[..., 1], *geometry.size)
    if geometry.valid is not None:
        index, found = _lookup(points[..., 0].double(), points[..., 1].double(), geometry.valid.shape[-2:])
        visible &= found & geometry.valid.flatten(1).gather(1, index)
    return moved.to(points.dtype), visible


def grid(x: Float64[Tensor, "n _ w"], y: Float64[Tensor, "n h _"], size: Sequence[int]) -> Float[Tensor, "n h w 2"]:
    """Return `grid_sample`'s grid (align_corners=True, where reflection doesn't repeat the edge) for source pixels."""
    height, width = size
    places = torch.broadcast_tensors(x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1)
    return torch.stack(places, -1).float()


def _nearest(values: ValueMap, geometry: Geometry, fill: int) -> ValueMap:
    _check(values, geometry)
    size = values.shape[-2:]
    if geometry.size == tuple(size) and bool(geometry.is_identity.all()):
        return values if geometry.valid is None else _only(values, geometry.valid, fill)
    x, y = coordinates(inverse(geometry.matrix), geometry.size, values.device)
    index, found = _lookup(x, y, size)
    if geometry.valid is not None:
        found = found & _pick(geometry.valid, index)
    return cast(ValueMap, _only(_pick(values, index), found, fill))


def _lookup(x: Tensor, y: Tensor, size: torch.Size) -> tuple[Int64[Tensor, "..."], Bool[Tensor, "..."]]:
    """Return the flat index of the pixel nearest to each point, and whether there is one."""
    height, width = size
    column, row = torch.floor(x + 0.5).long(), torch.floor(y + 0.5).long()
    found = ((column >= 0) & (column < width)) & ((row >= 0) & (row < height))
    return row.clamp(0, height - 1) * width + column.clamp(0, width - 1), found


def _pick(values: Shaped[Tensor, "n h w"], index: Int64[Tensor, "n H W"]) -> Shaped[Tensor, "n H W"]:
    return values.flatten(1).gather(1, index.flatten(1)).view_as(index)


def _only(values: ValueMap, where: Tensor, fill: int) -> ValueMap:
    return cast(ValueMap, values.masked_fill(~where, fill))


def _check(values: Tensor, geometry: Geometry) -> None:
    _same_rows(len(values), geometry)
    valid = geometry.valid
    if valid is not None and valid.shape[-2:] != values.shape[-2:]:
        raise ValueError(
            f"maps of {tuple(values.shape[-2:])} pixels can't move by a geometry whose valid pixels are a map of "
            f"{tuple(valid.shape[-2:])}: bring them to the size of the image that they belong to first"
        )


def _same_rows(rows: int, geometry: Geometry) -> None:
    if rows != len(geometry):
        raise ValueError(
            f"got {rows} rows to move by a geometry of {len(geometry)}: select the same rows of both, with "
            "Geometry.rows(index) for the geometry"
        )
