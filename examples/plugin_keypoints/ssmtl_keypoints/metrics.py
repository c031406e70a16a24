"""How near found points are to the marked ones, over a split that is seen batch by batch."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from ssmtl_keypoints.points import Points, spread

NEAR = 0.1
Locate = Callable[[Tensor], tuple[Tensor, Tensor]]


def right_places(
    xy: Float[Tensor, "n k 2"], reference: Points, of: str
) -> tuple[Bool[Tensor, "n k"], Bool[Tensor, "n k"]]:
    """Tell which places are right, and which can be told: those with a known point in a row that has an extent.

    Right is what lies within a tenth of the extent: the longer side of the box around the row's known points, or `of`
    the "canvas".
    """
    extent = spread(reference) if of == "points" else reference.size.amax(dim=1).to(xy)
    scored = (reference.weight > 0) & (extent > 0)[:, None]
    distance = torch.linalg.vector_norm(xy - reference.xy, dim=-1)
    return (distance <= NEAR * extent[:, None]) & scored, scored


class PointScores(Metric):
    """pck and pck_<point> in [0, 1], and error_px, of all known points of a split, hidden ones included.

    PCK@0.1 is the share of points that are found within a tenth of the longer side of the tight box around the image's
    known points (Yang and Ramanan 2013), or, where `of` is "canvas", of the canvas. Rows with fewer than two known
    points span no box and don't count in the former. error_px is the mean distance in pixels of the canvas. Where
    nothing was known, values are NaN.
    """

    full_state_update = False
    right: Tensor
    scored: Tensor
    distance: Tensor
    known: Tensor

    def __init__(self, points: tuple[str, ...], find: Locate, of: str) -> None:
        super().__init__()
        self.points, self.find, self.of = points, find, of
        for name in ("right", "scored", "distance", "known"):
            self.add_state(name, torch.zeros(len(points), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, pred: Float[Tensor, "n k h w"], target: Points) -> None:
        """Add rows; points of weight 0 are left out."""
        xy, _ = self.find(pred)
        known = target.weight > 0
        right, scored = right_places(xy, target, self.of)
        self.right += right.double().sum(dim=0)
        self.scored += scored.double().sum(dim=0)
        self.distance += (torch.linalg.vector_norm(xy - target.xy, dim=-1).double() * known).sum(dim=0)
        self.known += known.double().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        each = {f"pck_{name}": part for name, part in zip(self.points, self.right / self.scored, strict=True)}
        means = {"pck": self.right.sum() / self.scored.sum(), "error_px": self.distance.sum() / self.known.sum()}
        return means | each
