"""The head: two maps of any dense head of ssmtl, read as log depth and log scale."""

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ssmtl_depth.maps import LEAST_LOG_SCALE, DepthPrediction


class DepthHead(nn.Module):
    """Reads the two outputs of `maps`: how far from `typical` meters, as a logarithm, and the log of the scale.

    The scale has a floor, which it nears smoothly, so that its gradient never ends: without one, a network that fits a
    few labeled images by heart would drive the likelihood's log b without bound.
    """

    def __init__(self, maps: nn.Module, typical: float) -> None:
        super().__init__()
        self.maps, self.log_typical = maps, math.log(typical)

    def forward(
        self, features: list[Tensor], size: tuple[int, int], extra: Float[Tensor, "n e h w"] | None
    ) -> DepthPrediction:
        outputs: Float[Tensor, "n 2 h w"] = self.maps(features, size, extra)
        log_scale = LEAST_LOG_SCALE + functional.softplus(outputs[:, 1] - LEAST_LOG_SCALE)
        return DepthPrediction(outputs[:, 0] + self.log_typical, log_scale)
