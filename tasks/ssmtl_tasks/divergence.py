"""Matching predictions on labeled and unlabeled images: KL(labeled || unlabeled), L_u of MELBA Eq. 2.

The published program takes a softmax over the one channel of its masks, so that both distributions are the constant 1,
and the term and its gradient are exactly 0. Here one logit means two outcomes.
"""

import math
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ssmtl.errors import RecipeError, nearest
from ssmtl.task import Loss
from ssmtl_tasks.distributions import log_probabilities

Form: TypeAlias = Literal["bernoulli", "marginal", "reference", "none"]
FORMS: tuple[str, ...] = get_args(Form)


def mask_divergence(
    labeled: Float[Tensor, "a c h w"], unlabeled: Float[Tensor, "b c h w"], *, form: str, detach_target: bool
) -> Loss:
    """Return KL(labeled || unlabeled) in nats, averaged over pixels, with count 1 per pair.

    `bernoulli`: row i against row i, b pairs; labeled rows are dropped from the end or start over where b differs.
    `marginal`: the mean distributions of the two sets, one pair; over processes each compares its own rows.
    `reference`: exactly 0 for every pair, like the published program. `none`: no part in the objective (count 0).
    `detach_target` stops the gradient into the labeled rows. Without rows on one side there are no pairs. Raises
    RecipeError for another form.
    """
    if form not in FORMS:
        raise RecipeError(f"segmentation offers no divergence '{form}', choose another{nearest(form, FORMS)}")
    pairs = _nothing(unlabeled)
    if form in ("reference", "none"):
        return Loss(pairs, torch.full_like(pairs, float(form == "reference")).detach())
    if not len(labeled) or not len(unlabeled):
        return Loss(pairs[:0], pairs[:0].detach())
    target, pred = log_probabilities(labeled.detach() if detach_target else labeled), log_probabilities(unlabeled)
    if form == "marginal":
        target, pred = _log_mean(target), _log_mean(pred)
    else:
        target = target[torch.arange(len(pred), device=target.device) % len(target)]
    # exp and difference of exact logarithms: no 0 log 0, and no cancellation where both sides are certain
    divergence = (target.exp() * (target - pred)).sum(dim=1).mean(dim=(1, 2))
    return Loss(divergence, torch.ones_like(divergence).detach())


def _log_mean(log_probability: Float[Tensor, "n k h w"]) -> Float[Tensor, "1 k h w"]:
    return torch.logsumexp(log_probability, dim=0, keepdim=True) - math.log(len(log_probability))


def _nothing(logits: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Return zeros that are connected to the graph, also where logits are infinite."""
    return logits.float().flatten(1)[:, :0].sum(dim=1)
