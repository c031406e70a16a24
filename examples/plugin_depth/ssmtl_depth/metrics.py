"""The usual scores of monocular depth (Eigen et al. 2014), over all known pixels of a split."""

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ssmtl_depth.maps import CLOSE, DepthMap, DepthPrediction


class DepthScores(Metric):
    """abs_rel, delta1 and rmse_log of pixels with a label; NaN where a split has none.

    For depth y and its prediction p: abs_rel is the mean of |p - y| / y, delta1 in [0, 1] the share of pixels with
    max(p / y, y / p) < 1.25, rmse_log the root of the mean of (log p - log y)^2. Sums are kept in float64, so that
    batches and processes add up.
    """

    is_differentiable = False
    full_state_update = False
    pixels: Tensor
    relative: Tensor
    close: Tensor
    squares: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in ("pixels", "relative", "close", "squares"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, pred: DepthPrediction, target: DepthMap) -> None:
        """Add a batch."""
        known = target.trusted > 0
        difference = pred.log_depth[known].double() - target.log_depth[known].double()
        self.pixels += known.sum()
        self.relative += torch.expm1(difference).abs().sum()  # |p - y| / y = |exp(d) - 1|
        self.close += (difference.abs() < math.log(CLOSE)).sum()
        self.squares += difference.square().sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the scores by name."""
        return {
            "abs_rel": self.relative / self.pixels,
            "delta1": self.close / self.pixels,
            "rmse_log": (self.squares / self.pixels).sqrt(),
        }
