"""What depth is made of: the target, the prediction, and how sure a prediction is.

Everything is in the logarithm of meters, where a factor is a difference: an error of 0.1 is about 10 % at any distance.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from ssmtl.errors import DataError
from torch import Tensor

FARTHEST = 1000.0
"""Meters; depth beyond is taken for another unit."""
LEAST_LOG_SCALE = -4.0
"""Log of the smallest scale that a prediction may claim: an error of about 2 %."""
CLOSE = 1.25
"""The factor within which a predicted depth counts as right (Eigen et al. 2014)."""


class DepthMap(NamedTuple):
    """Log depth per pixel, and how much each counts: [n, h, w], without n for one image.

    Where `valid` is False nothing is known, or nothing is there: such pixels take no part, and hold 0. `weight` is 0
    there too, and where a pseudo-label isn't trusted: such a pixel counts in the mean, but doesn't teach.
    """

    log_depth: Float32[Tensor, "*shape"]
    weight: Float32[Tensor, "*shape"]
    valid: Bool[Tensor, "*shape"]

    @property
    def trusted(self) -> Float32[Tensor, "*shape"]:
        """How much each pixel teaches."""
        return self.weight * self.valid


class DepthPrediction(NamedTuple):
    """Log depth per pixel, and the log of the scale b of a Laplace distribution around it (Kendall and Gal 2017)."""

    log_depth: Float[Tensor, "*shape"]
    log_scale: Float[Tensor, "*shape"]


def closeness(log_scale: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the probability, by the predicted distribution, that the depth is right within a factor of 1.25.

    P(|d| <= log 1.25) = 1 - exp(-log 1.25 / b): a threshold on it asks for pixels that the metric delta1 would count.
    """
    return -torch.expm1(-math.log(CLOSE) * torch.exp(-log_scale.float()))


def depth_map(annotation: object, task: str) -> DepthMap:
    """Return the target of one image from a float32 map [h, w] in meters; NaN and what isn't above 0 is unknown.

    Raises DataError for another type or shape, and for depth that can't be in meters.
    """
    if not isinstance(annotation, np.ndarray) or annotation.dtype != np.float32 or annotation.ndim != 2:
        given = type(annotation).__name__
        if isinstance(annotation, np.ndarray):
            given = f"{annotation.dtype} of shape {annotation.shape}"
        raise DataError(
            f"task '{task}' got {given} for depth; it expects a float32 map of shape (height, width) in meters. "
            "Convert it in the reader: depth in millimeters, say, by np.float32(depth) / 1000."
        )
    depth = torch.from_numpy(annotation)
    valid = depth > 0  # NaN isn't
    if valid.any() and (most := float(depth[valid].max())) > FARTHEST:
        raise DataError(
            f"task '{task}' got a depth of {most:g} meters; expected at most {FARTHEST:g}. Convert other units to "
            "meters in the reader, and write 0 or NaN where the depth is unknown."
        )
    return DepthMap(depth.where(valid, 1.0).log(), valid.float(), valid)
