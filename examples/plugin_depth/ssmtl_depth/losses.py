"""The losses, one number per row. `difference` is predicted minus true log depth, `weight` what each pixel counts."""

from jaxtyping import Float
from torch import Tensor

from ssmtl_depth.maps import LEAST_LOG_SCALE


def weighted_mean(values: Float[Tensor, "n h w"], weight: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Return the mean over each row's pixels as they weigh; 0 where none does."""
    weights = weight.sum(dim=(1, 2))
    return (values * weight).sum(dim=(1, 2)) / weights.where(weights > 0, 1)


def scale_invariant(
    difference: Float[Tensor, "n h w"], weight: Float[Tensor, "n h w"], invariance: float
) -> Float[Tensor, " n"]:
    """Return mean(d^2) - invariance * mean(d)^2 (Eigen et al. 2014, Eq. 4).

    With an invariance of 1 a factor on all of the depth is free, with 0 it costs as much as any other error.
    """
    mean = weighted_mean(difference, weight)
    return weighted_mean(difference.square(), weight) - invariance * mean.square()


def laplace(
    difference: Float[Tensor, "n h w"], log_scale: Float[Tensor, "n h w"], weight: Float[Tensor, "n h w"]
) -> Float[Tensor, " n"]:
    """Return the mean negative log-likelihood |d| / b + log b of a Laplace distribution (Kendall and Gal 2017).

    Up to a constant, which makes it 0 where the difference is 0 and the scale b at its floor. It teaches b alone: where
    it taught the depth too, pixels that are declared uncertain would hardly learn any more.
    """
    likelihood = difference.detach().abs() * (-log_scale).exp() + log_scale - LEAST_LOG_SCALE
    return weighted_mean(likelihood, weight)
