"""What annotations of points become, and where heatmaps have their peaks.

Places are (x, y) in pixel centers, as everywhere in ssmtl: the center of the top left pixel is (0, 0), and an image of
`w` columns reaches from -0.5 to w - 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from ssmtl.errors import DataError, nearest

ABSENT, HIDDEN, VISIBLE = 0, 1, 2
"""COCO's visibility: nobody knows where the point is; it is marked, but something hides it; it is marked and seen."""


class Points(NamedTuple):
    """k points in each of n images; without n for one sample.

    `weight` is 0 where a point doesn't teach: unknown, or not trusted. `present` says where there is a point at all, so
    that one that isn't trusted still counts in a mean. `size` is the (height, width) of the canvas or view that the
    places are on, (0, 0) before `collate`.
    """

    xy: Float32[Tensor, "*n k 2"]
    weight: Float32[Tensor, "*n k"]
    present: Bool[Tensor, "*n k"]
    size: Int64[Tensor, "*n 2"]


@dataclass(frozen=True, eq=False)
class PointsAnswer:
    """Where each of the named points is in the source image, in pixels, with a confidence in [0, 1]."""

    names: tuple[str, ...]
    xy: Float32[np.ndarray, "k 2"]
    confidence: Float32[np.ndarray, " k"]


def read_points(annotation: object, classes: tuple[str, ...], points: tuple[str, ...], task: str) -> Points:
    """Return the task's `points` out of one image's, which are in the order of the reader's `classes`.

    Hidden points (visibility 1) teach like visible ones: a person knew where they are. Raises DataError for anything
    but float32 [k, 3] of x, y and visibility, for a point that the reader doesn't name, and for numbers that are none.
    """
    if not isinstance(annotation, np.ndarray) or annotation.shape != (len(classes), 3) or annotation.dtype.kind != "f":
        given = type(annotation).__name__
        if isinstance(annotation, np.ndarray):
            given = f"{annotation.dtype} of shape {annotation.shape}"
        raise DataError(
            f"task '{task}' got {given} for points; it expects float32 of shape ({len(classes)}, 3) with x, y and "
            "visibility of each point that the reader names. Check the reader's annotation 'keypoints'."
        )
    folded = [name.casefold() for name in classes]
    for name in points:
        if name.casefold() not in folded:
            raise DataError(
                f"task '{task}' learns the point '{name}', which the reader doesn't annotate; take it out of the "
                f"task's points, or rename it{nearest(name, classes)}"
            )
    own = annotation[[folded.index(name.casefold()) for name in points]]
    for name, (x, y, visibility) in zip(points, own.tolist(), strict=True):
        if visibility not in (ABSENT, HIDDEN, VISIBLE):
            raise DataError(
                f"task '{task}' got visibility {visibility:g} for '{name}'; expected 0 (unknown), 1 (hidden) or "
                "2 (visible), as in COCO. Correct the annotation."
            )
        if visibility != ABSENT and not np.isfinite((x, y)).all():
            raise DataError(
                f"task '{task}' got the place ({x}, {y}) for '{name}', expected pixels of the canvas; correct the "
                "annotation, or give it visibility 0."
            )
    known = torch.from_numpy(own[:, 2] != ABSENT)
    xy = torch.from_numpy(own[:, :2].astype(np.float32)).where(known[:, None], 0.0)
    return Points(xy, known.float(), known, torch.zeros(2, dtype=torch.int64))


def collate_points(
    targets: Sequence[Points | None], size: tuple[int, int], points: tuple[str, ...], task: str
) -> Points:
    """Stack rows of one canvas (height, width); None (not annotated) has no point at all.

    Raises DataError for a point outside of the canvas: it can't be in the image that is taught.
    """
    k, there = len(points), torch.tensor(size)
    nothing = Points(torch.zeros(k, 2), torch.zeros(k), torch.zeros(k, dtype=torch.bool), there)
    rows = [nothing if target is None else target._replace(size=there) for target in targets]
    if not rows:
        return Points(*(part.new_empty((0, *part.shape)) for part in nothing))
    stacked = Points(*(torch.stack(parts) for parts in zip(*rows, strict=True)))
    limits = stacked.size[:, None].flip(-1) - 0.5
    outside = stacked.present & ((stacked.xy < -0.5) | (stacked.xy >= limits)).any(dim=-1)
    if outside.any():
        row, point = outside.nonzero()[0].tolist()
        raise DataError(
            f"task '{task}' got '{points[point]}' at {stacked.xy[row, point].tolist()} (x, y) on a canvas of {size} "
            "(height, width); the reader must bring points to the canvas of their image, and give those outside of it "
            "visibility 0."
        )
    return stacked


def gaussians(
    xy: Float[Tensor, "n k 2"], size: tuple[int, int], sigma: float
) -> tuple[Float[Tensor, "n k h"], Float[Tensor, "n k w"]]:
    """Return logarithms of what a Gaussian around each point gives to every row and every column of an image.

    Each sums to 1 over the image, so that their product is a distribution over its pixels also near a border.
    """
    x, y = (torch.arange(side, device=xy.device) - xy[..., i, None] for i, side in enumerate(reversed(size)))
    down, across = ((-part.float().square() / (2 * sigma**2)).log_softmax(dim=-1) for part in (y, x))
    return down, across


def locate(logits: Float[Tensor, "n k h w"], reach: int) -> tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"]]:
    """Return each map's place, and the probability in [0, 1] that the point is there.

    The probabilities of a map's pixels sum to 1. That of a place is the sum over the square of 2 `reach` + 1 pixels
    around the most probable pixel, and the place itself is the mean over that square, finer than a pixel.
    """
    height, width = logits.shape[2:]
    maps = logits.float().flatten(2).softmax(dim=-1)
    peak = maps.argmax(dim=-1, keepdim=True)
    offset = torch.arange(-reach, reach + 1, device=logits.device)
    y = peak // width + offset.repeat_interleave(len(offset))
    x = peak % width + offset.repeat(len(offset))
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    around = maps.gather(2, y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) * inside
    mass = around.sum(dim=-1)
    xy = torch.stack([(around * x).sum(dim=-1), (around * y).sum(dim=-1)], dim=-1) / mass[..., None]
    return xy, mass.clamp(max=1)


def spread(target: Points) -> Float[Tensor, " n"]:
    """Return the longer side, in pixels, of the box around each row's known points; 0 where they have none."""
    known = (target.weight > 0)[..., None]
    low = target.xy.where(known, torch.inf).amin(dim=1)
    high = target.xy.where(known, -torch.inf).amax(dim=1)
    return (high - low).amax(dim=-1).clamp(min=0)
