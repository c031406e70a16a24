"""Logits as distributions: those of a dense head alike for one class (two outcomes) and many; confidence in bins."""

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float, Int64
from torch import Tensor

from ssmtl.task import IGNORE_INDEX, Loss

CONFIDENCE_BINS = (0, 20, 40, 60, 80, 90, 95, 99, 100)
"""Edges of the histogram of confidences, in percent; a bin includes its upper edge, the first one 0 too."""


def log_probabilities(logits: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
    """Return float32 log-probabilities of k outcomes: (background, class) for c = 1, else the c classes.

    One logit is read through the logistic function: a softmax over one channel would be the constant 1.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], dim=1)
    return F.log_softmax(logits, dim=1)


def pixel_cross_entropy(logits: Float[Tensor, "n c h w"], labels: Int64[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Return -log p(label) in nats for every pixel, 0 where the label is `IGNORE_INDEX`."""
    return F.nll_loss(log_probabilities(logits), labels, ignore_index=IGNORE_INDEX, reduction="none")


def hard_labels(logits: Float[Tensor, "n c h w"]) -> Int64[Tensor, "n h w"]:
    """Return the most probable outcome of every pixel; one class is predicted from p = 0.5 on."""
    return (logits[:, 0] >= 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)


def confidence_histogram(confidence: Float[Tensor, " n"]) -> dict[str, Loss]:
    """Return the share of rows in each bin of `CONFIDENCE_BINS`, under the name "confidence_to_<upper edge>"."""
    found, rows = {}, torch.ones_like(confidence)
    for lower, upper in pairwise(CONFIDENCE_BINS):
        above = confidence > lower / 100 if lower else confidence >= 0
        below = confidence <= upper / 100 if upper < 100 else rows.bool()
        found[f"confidence_to_{upper}"] = Loss((above & below).float(), rows)
    return found
