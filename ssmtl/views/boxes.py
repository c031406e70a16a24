"""Boxes move with their images: hulls of what a map makes of them, clipped to the view and filtered.

Boxes are (x1, y1, x2, y2), half-open, in pixel *edges*: the top left pixel is (0, 0, 1, 1). Maps are in pixel centers,
half a pixel off (see `ssmtl.views.geometry`). Moving is done in float64, on the boxes' device, without waiting for it;
`check_boxes` is for readers, on the CPU.
"""

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from ssmtl.errors import DataError, nearest
from ssmtl.views.geometry import Geometry, apply, inside, inverse, same_rows, upload

Hull = Literal["corners", "ellipse"]
HALF = 0.5
"""From the edge of a pixel to its center."""


def move_boxes(
    boxes: Float[Tensor, "n m 4"],
    present: Bool[Tensor, "n m"],
    geometry: Geometry,
    *,
    hull: Hull = "corners",
    min_size: float = 2.0,
    min_visibility: float = 0.1,
    drop_cut: float | None = None,
) -> tuple[Float[Tensor, "n m 4"], Bool[Tensor, "n m"]]:
    """Move boxes into a view, and say which of them are still there; the others come back as zeros, in their places.

    Rows are padded to m boxes, of which `present` are real; what stands in the others doesn't matter. A turned box is
    replaced by an upright hull: of its four "corners" (never too small; 1.87 times a square's area after 30 degrees),
    or of its inscribed "ellipse" (tight for round objects, also in perspective). Where nothing turns, shears or
    converges, both are the same.

    A box is kept when it is finite and not empty, all of its corners are in front of the camera, both sides of what the
    view shows of its hull are at least `min_size` pixels long, and that is at least `min_visibility` (0..1) of the
    hull's area. `drop_cut` is for boxes found in a view and moved by a map from `between`: it also drops those that
    `cut_by_view` finds with that margin, because in the other view they would end in the middle of their object;
    where both views show the same part, they end at the same border, and stay.
    Boxes that a person drew on the whole image don't need it.

    Raises ValueError for options out of range, for boxes that don't fit `present` or the geometry, and for `drop_cut`
    with a geometry that doesn't know which view boxes come from.
    """
    _check(boxes, present, geometry)
    _check_options(hull, min_size, min_visibility)
    real = present & torch.isfinite(boxes).all(-1) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    if drop_cut is not None:
        elsewhere = upload(~geometry.is_identity, boxes.device)[:, None]
        real = real & ~(elsewhere & cut_by_view(boxes, present, _origin(geometry), drop_cut))
    exact = boxes.double()
    matrix = upload(geometry.matrix, boxes.device)
    corners, in_front = _corners(matrix, exact)
    whole = corners if hull == "corners" else _ellipses(matrix, exact)
    shown = _clip(whole, geometry.size)
    sides = _sides(shown)
    visibility = sides.prod(-1) / _sides(whole).prod(-1)
    kept = real & in_front & (sides >= min_size).all(-1) & (visibility >= min_visibility)
    return shown.where(kept[..., None], 0.0).to(boxes.dtype), kept


def cut_by_view(
    boxes: Float[Tensor, "n m 4"], present: Bool[Tensor, "n m"], via: Geometry, margin: float
) -> Bool[Tensor, "n m"]:
    """Tell which boxes found in the view `via` its border cuts off: a side is there, and the image goes on behind it.

    A side is there when it is within `margin` (>= 0) pixels of it, or beyond. Whether the image goes on is
    asked at one point: next to the middle of the side's visible part, the center of the first pixel that the view no
    longer shows. Nearer, rounding would decide where view and image end together; farther, an image that goes on for
    a few pixels only would be missed. Where the image itself ends, its boxes end too, in every view.

    Raises ValueError for a negative margin, boxes that don't fit, and a view without `source_size`.
    """
    _check(boxes, present, via)
    if not margin >= 0:
        raise ValueError(f"boxes can't lie within {margin} pixels of a view's border: give a margin of 0 or more")
    if via.source_size is None:
        raise ValueError(
            "whether a view's border cuts a box depends on where the image ends, and the view's geometry has no "
            "source_size: give it the (height, width) of each source image, or don't drop cut boxes"
        )
    height, width = via.size
    x1, y1, x2, y2 = boxes.double().unbind(-1)
    at_border = torch.stack([x1 <= margin, y1 <= margin, x2 >= width - margin, y2 >= height - margin], -1)
    places, depth = apply(upload(inverse(via.matrix), boxes.device), _just_outside(boxes.double(), via.size))
    limits = upload(via.source_size, boxes.device)[:, None]
    goes_on = (depth > 0) & inside(places[..., 0], places[..., 1], limits[..., 0], limits[..., 1])
    return present & (at_border & goes_on.unflatten(1, (-1, 4))).any(-1)


def check_boxes(
    xyxy: Shaped[np.ndarray, "..."], where: str, size: tuple[int, int] | None = None, *, terms: str = ""
) -> None:
    """Raise DataError unless boxes [n, 4] of an image are finite, not empty, and touch an image of (height, width).

    `where` says in which file and for which image they stand; messages begin with it. `terms` says what the four
    numbers are where the file holds others, such as "x, y, x + width, y + height".
    """
    if xyxy.ndim != 2 or xyxy.shape[1] != 4 or xyxy.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: boxes are {xyxy.dtype} of shape {xyxy.shape}, expected numbers of shape (n, 4): give x1, y1, x2 "
            "and y2 of every box, and shape (0, 4) for an image without any."
        )
    start, end = xyxy[:, :2], xyxy[:, 2:]
    finite = "expected finite numbers: correct the file, or leave the box out."
    _refuse(~np.isfinite(xyxy), xyxy, where, terms, finite)
    empty = (
        "expected x1 < x2 and y1 < y2: turn x, y, width, height into corners, add 1 to x2 and y2 where they name the "
        "last pixel that belongs to the box, or leave the box out."
    )
    _refuse(end <= start, xyxy, where, terms, empty)
    if size is not None:
        height, width = size
        outside = (
            f"expected boxes that touch their image of {height} x {width} (height x width) pixels: give them in pixels "
            "of that image, x before y, or leave the box out."
        )
        _refuse((end <= 0) | (start >= (width, height)), xyxy, where, terms, outside)


def _refuse(
    wrong: Bool[np.ndarray, "n sides"], xyxy: Shaped[np.ndarray, "n 4"], where: str, terms: str, expected: str
) -> None:
    found = np.flatnonzero(wrong.any(axis=1))
    if len(found):
        box = f"{xyxy[found[0]].tolist()}{f' ({terms})' * bool(terms)}"
        raise DataError(f"{where}: box {found[0]} of {len(xyxy)} is {box}, {expected}")


def _corners(
    matrix: Float64[Tensor, "n 3 3"], boxes: Float64[Tensor, "n m 4"]
) -> tuple[Float64[Tensor, "n m 4"], Bool[Tensor, "n m"]]:
    """Return the hulls of the mapped corners, and whether all four are in front of the camera."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    corners = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], -1).unflatten(-1, (4, 2))
    places, depth = apply(matrix, (corners - HALF).flatten(1, 2))
    places = places.unflatten(1, (-1, 4)) + HALF
    return torch.cat([places.amin(2), places.amax(2)], -1), (depth > 0).unflatten(1, (-1, 4)).all(-1)


def _ellipses(matrix: Float64[Tensor, "n 3 3"], boxes: Float64[Tensor, "n m 4"]) -> Float64[Tensor, "n m 4"]:
    """Return the hulls of the mapped inscribed ellipses, for boxes whose corners are all in front of the camera.

    With P = matrix @ (unit circle to ellipse) and J = diag(1, 1, -1), the dual conic of the mapped ellipse is
    C = P J P^T, and a vertical line x = t touches it where C00 - 2 t C02 + t^2 C22 = 0 (Hartley and Zisserman 2004,
    section 2.2.3). With p, q the rows 0 and 2 of P (for y = t: 1 and 2), its discriminant C02^2 - C00 C22 is w J w with
    w = p x q, no difference of large squares: in affine maps it leaves the known t = p2 +- hypot(p0, p1).
    """
    linear = matrix[:, None, :, :2]
    center = linear @ (_middles(boxes) - HALF)[..., None] + matrix[:, None, :, 2:]
    conic = torch.cat([linear * (_sides(boxes) / 2)[..., None, :], center], -1)
    rows, last = torch.broadcast_tensors(conic[..., :2, :], conic[..., 2:, :])
    normal = torch.linalg.cross(rows, last)
    middle, reach = -_form(rows, last), _form(normal, normal).clamp(min=0).sqrt()
    scale = -_form(last, last).clamp(max=-1e-18)
    return torch.cat([(middle - reach) / scale, (middle + reach) / scale], -1) + HALF


def _form(a: Float64[Tensor, "*k 3"], b: Float64[Tensor, "*k 3"]) -> Float64[Tensor, "*k"]:
    """Return a J b, with J = diag(1, 1, -1)."""
    return (a[..., :2] * b[..., :2]).sum(-1) - a[..., 2] * b[..., 2]


def _just_outside(boxes: Float64[Tensor, "n m 4"], size: tuple[int, int]) -> Float64[Tensor, "n p 2"]:
    """Return the centers of the pixels beside a view, next to the visible middles of all boxes' four sides."""
    height, width = size
    x, y = (_middles(_clip(boxes, size)) - HALF).unbind(-1)
    before = torch.full_like(x, -1)
    probes = [before, y, x, before, torch.full_like(x, width), y, x, torch.full_like(x, height)]
    return torch.stack(probes, -1).unflatten(-1, (4, 2)).flatten(1, 2)


def _clip(boxes: Float64[Tensor, "n m 4"], size: tuple[int, int]) -> Float64[Tensor, "n m 4"]:
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], -1)


def _middles(boxes: Float64[Tensor, "n m 4"]) -> Float64[Tensor, "n m 2"]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _sides(boxes: Float64[Tensor, "n m 4"]) -> Float64[Tensor, "n m 2"]:
    return boxes[..., 2:] - boxes[..., :2]


def _origin(geometry: Geometry) -> Geometry:
    if geometry.via is None:
        raise ValueError(
            "drop_cut drops boxes that are cut by the view they were found in, and this geometry knows none: move them "
            "by between(that view's geometry, the other's), or give drop_cut=None for boxes of the whole image"
        )
    return geometry.via


def _check(boxes: Tensor, present: Tensor, geometry: Geometry) -> None:
    if boxes.ndim != 3 or boxes.shape[-1] != 4 or not boxes.is_floating_point():
        raise ValueError(
            f"boxes of shape {tuple(boxes.shape)} and {boxes.dtype} can't move: give floating point numbers [n, m, 4], "
            "x1, y1, x2 and y2 of every box, padded to the same m in every row"
        )
    if present.shape != boxes.shape[:2] or present.dtype != torch.bool:
        raise ValueError(
            f"`present` of shape {tuple(present.shape)} and {present.dtype} doesn't fit boxes of shape "
            f"{tuple(boxes.shape)}: give a bool {list(boxes.shape[:2])} that says which boxes are real"
        )
    same_rows(len(boxes), geometry)


def _check_options(hull: str, min_size: float, min_visibility: float) -> None:
    if hull not in get_args(Hull):
        raise ValueError(f"no box hull is named '{hull}'{nearest(hull, get_args(Hull))}")
    if not min_size > 0:
        raise ValueError(f"min_size={min_size} would keep boxes without pixels: give pixels above 0")
    if not 0 <= min_visibility <= 1:
        raise ValueError(f"min_visibility={min_visibility} is no part of a box: give a number from 0 to 1")
