"""Supervised losses for masks. Both compute in float32 and never divide by what may be zero."""

from abc import abstractmethod
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ssmtl.component import Component
from ssmtl.task import IGNORE_INDEX, Loss
from ssmtl_tasks.distributions import log_probabilities, pixel_cross_entropy
from ssmtl_tasks.targets import Labels


class SegmentationLoss(Component):
    """A loss of mask logits against labels; pixels that are ignored or weigh nothing have no influence."""

    group = "losses"

    @abstractmethod
    def per_row(self, logits: Float[Tensor, "n c h w"], target: Labels) -> Loss:
        """Return totals and counts of each row; a row without a valid pixel has 0 in both."""


class Dice(SegmentationLoss):
    """1 - (2 sum(p s) + smooth) / (sum p + sum s + smooth) of each image, averaged over images (MELBA Eq. 2, L_l).

    p are probabilities and s the reference, both summed over the valid pixels. With several classes it is the mean
    over the classes. Count: 1 per image with a valid pixel.
    """

    smooth: Annotated[float, Field(gt=0)] = Field(default=1.0, kw_only=False)
    """Added to numerator and denominator, in pixels; it makes an empty mask predicted empty cost 0."""

    def per_row(self, logits: Float[Tensor, "n c h w"], target: Labels) -> Loss:
        probability = log_probabilities(logits).exp()
        outcomes = torch.arange(probability.shape[1], device=logits.device)
        if logits.shape[1] == 1:
            probability, outcomes = probability[:, 1:], outcomes[1:]
        reference = target.labels.unsqueeze(1) == outcomes[:, None, None]
        valid = target.weight * (target.labels != IGNORE_INDEX)
        weight = valid.unsqueeze(1)
        overlap = (probability * reference * weight).sum(dim=(2, 3))
        sizes = ((probability + reference) * weight).sum(dim=(2, 3))
        dice = (2 * overlap + self.smooth) / (sizes + self.smooth)
        return Loss((1 - dice).mean(dim=1), (valid.sum(dim=(1, 2)) > 0).float())


class CrossEntropy(SegmentationLoss):
    """Cross-entropy in nats, pooled: its mean runs over all valid pixels of the batch, not over image means."""

    def per_row(self, logits: Float[Tensor, "n c h w"], target: Labels) -> Loss:
        losses = pixel_cross_entropy(logits, target.labels) * target.weight
        valid = (target.labels != IGNORE_INDEX) & (target.weight > 0)
        return Loss(losses.sum(dim=(1, 2)), valid.float().sum(dim=(1, 2)))
