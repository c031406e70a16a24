"""Targets move with their images: label maps, weights, soft maps and points, in one lookup each.

All take geometries whose matrix is on the CPU and targets on any device, never wait for it, and raise ValueError when
targets and geometry differ in rows or in size. Boxes are in `ssmtl.views.boxes`.
"""

from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssmtl.views.geometry import Geometry, apply, inside, inverse, same_rows, upload
from ssmtl.views.resample import bilinear, nearest

ValueMap = TypeVar("ValueMap", bound=Tensor)


def move_labels(labels: Int[Tensor, "n h w"], geometry: Geometry, fill: int = 255) -> Int[Tensor, "n H W"]:
    """Move label maps: nearest pixel; what comes from outside, isn't valid, or lands where is erased becomes `fill`."""
    return _nearest(labels, geometry, fill)


def move_weights(weights: Float[Tensor, "n h w"], geometry: Geometry) -> Float[Tensor, "n H W"]:
    """Move weights per pixel like labels; 0 where there is nothing."""
    return _nearest(weights, geometry, 0)


def move_soft(
    soft: Float[Tensor, "n k h w"], geometry: Geometry
) -> tuple[Float[Tensor, "n k H W"], Bool[Tensor, "n H W"]]:
    """Move maps of k values (probabilities, say) bilinearly, and say which pixels of the result hold something.

    Each result is the average over the valid source pixels among its four neighbors; a pixel counts as valid when they
    hold more than half of the weight and nothing erased it. Elsewhere values are averages of less, or 0. In float32
    whatever the autocast.
    """
    _check(soft, geometry)
    valid = geometry.valid
    present = torch.ones_like(soft[:, :1]) if valid is None else valid[:, None].to(soft.dtype)
    fits = geometry.size == tuple(soft.shape[-2:])
    if fits and bool(geometry.is_identity.all()):
        return soft * present, _unerased(present[:, 0] > 0.5, geometry)
    moved = bilinear(torch.cat([soft * present, present], 1).float(), inverse(geometry.matrix), geometry.size, "zeros")
    covered = moved[:, -1]
    average = (moved[:, :-1] / covered[:, None].clamp(min=1e-6)).to(soft.dtype)
    if not fits:
        return average, _unerased(covered > 0.5, geometry)
    same = upload(geometry.is_identity, soft.device)[:, None, None]
    exact = torch.where(same[:, None], soft * present, average)
    return exact, _unerased(torch.where(same, present[:, 0], covered) > 0.5, geometry)


def move_points(
    points: Float[Tensor, "n p 2"], geometry: Geometry
) -> tuple[Float[Tensor, "n p 2"], Bool[Tensor, "n p"]]:
    """Move points (x, y) in pixel centers, and say which of them are visible in the view: inside, real, not erased."""
    same_rows(len(points), geometry)
    moved, depth = apply(upload(geometry.matrix, points.device), points.double())
    visible = (depth > 0) & inside(moved[..., 0], moved[..., 1], *geometry.size)
    if geometry.valid is not None:
        visible &= _holds(geometry.valid, points.double())
    if geometry.erased is not None:
        visible &= ~_holds(geometry.erased, moved)
    return moved.to(points.dtype), visible


def _nearest(values: ValueMap, geometry: Geometry, fill: int) -> ValueMap:
    _check(values, geometry)
    back, valid, erased = inverse(geometry.matrix), geometry.valid, geometry.erased
    still = geometry.size == tuple(values.shape[-2:]) and bool(geometry.is_identity.all())
    if still and valid is None and erased is None:
        return values
    return nearest(values, back, geometry.size, fill, valid=valid, erased=erased)


def _unerased(valid: Bool[Tensor, "n H W"], geometry: Geometry) -> Bool[Tensor, "n H W"]:
    return valid if geometry.erased is None else valid & ~geometry.erased


def _holds(mask: Bool[Tensor, "n h w"], points: Float[Tensor, "n p 2"]) -> Bool[Tensor, "n p"]:
    """Look a mask up at the pixels nearest to points; False outside."""
    height, width = mask.shape[-2:]
    x, y = points.unbind(-1)
    whole = ((torch.floor(part.nan_to_num() + 0.5), side) for part, side in ((x, width), (y, height)))
    column, row = (part.clamp(0, side - 1).long() for part, side in whole)
    return inside(x, y, height, width) & mask.flatten(1).gather(1, row * width + column)


def _check(values: Tensor, geometry: Geometry) -> None:
    same_rows(len(values), geometry)
    source = geometry.via.size if geometry.via is not None else None
    if geometry.valid is not None:
        source = (geometry.valid.shape[-2], geometry.valid.shape[-1])
    if source is not None and source != tuple(values.shape[-2:]):
        raise ValueError(
            f"maps of {tuple(values.shape[-2:])} pixels can't move out of a view or a canvas of {source}: bring them "
            "to the size of the image that they belong to first"
        )
