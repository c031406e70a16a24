"""What a detector learns from: focal loss on every anchor that takes part, GIoU on the positive ones.

Both are computed for all images at once, in float32, in shapes that don't depend on what is in them.
"""

import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from ssmtl_tasks.detection_matching import Matches, match_anchors
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets

ALPHA = 0.25
GAMMA = 2.0
"""Weight of the positive outputs, and exponent that turns easy ones down (Lin et al. 2017, section 5.1)."""
CODER = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))


def detection_loss(
    pred: BoxPrediction, target: BoxTargets, *, background: bool
) -> tuple[Float32[Tensor, " n"], Float32[Tensor, " n"]]:
    """Return per row the sum of both losses, and the number of positive anchors to divide by.

    With `background`, all anchors that aren't ignored enter the focal loss (Lin et al. 2017 Eq. 5); without, only the
    positive ones, with all of their k outputs, so that a row without boxes is exactly 0 in both. GIoU (Rezatofighi et
    al. 2019) counts as much as focal loss. Rows weigh `target.weight`.
    """
    matches = match_anchors(pred.anchors, target)
    taught = ~matches.ignored if background else matches.positive
    losses = _focal(pred.logits.float(), target, matches, taught) + _giou(pred, target, matches)
    positives = matches.positive.sum(dim=1) * (target.weight > 0)
    return losses * target.weight, positives.float()


def _focal(
    logits: Float32[Tensor, "n a k"], target: BoxTargets, matches: Matches, taught: Bool[Tensor, "n a"]
) -> Float32[Tensor, " n"]:
    """Return the sums of the focal loss over the anchors that are `taught`."""
    classes = torch.arange(logits.shape[2], device=logits.device)
    labels = target.labels.gather(1, matches.box)
    truth = (labels[..., None] == classes) & matches.positive[..., None]
    losses = sigmoid_focal_loss(logits, truth.float(), alpha=ALPHA, gamma=GAMMA, reduction="none")
    return losses.where(taught[..., None], 0.0).sum(dim=(1, 2))


def _giou(pred: BoxPrediction, target: BoxTargets, matches: Matches) -> Float32[Tensor, " n"]:
    """Return the sums of 1 - GIoU between decoded boxes and their matches over the positive anchors."""
    positive = matches.positive[..., None]
    boxes = target.boxes.gather(1, matches.box[..., None].expand(-1, -1, 4))
    # What isn't positive compares an anchor with itself: 0, and no gradient that could be NaN.
    wanted = boxes.where(positive, pred.anchors).flatten(0, 1)
    deltas = pred.deltas.float().where(positive, 0.0).flatten(0, 1)
    decoded = CODER.decode_single(deltas, pred.anchors.flatten(0, 1))
    losses = generalized_box_iou_loss(decoded, wanted, reduction="none").view_as(matches.positive)
    return losses.where(matches.positive, 0.0).sum(dim=1)
