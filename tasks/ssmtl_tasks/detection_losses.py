"""What a detector learns from: focal loss on every anchor that takes part, GIoU on the positive ones.

Both are computed for all images at once, in float32, and on a device in shapes that don't depend on what is in them.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus
from torchvision.models.detection._utils import BoxCoder

from ssmtl_tasks.detection_matching import Matches, match_anchors
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets

ALPHA = 0.25
GAMMA = 2.0
"""Weight of the positive outputs, and exponent that turns easy ones down (Lin et al. 2017, section 5.1)."""
OUTPUTS_ON_CPU = 2**16
"""Outputs whose loss is found at once on a CPU."""
EPSILON = 1e-7
"""Keeps ratios of areas finite."""
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
    labels = target.labels.gather(1, matches.box)
    parts = (part.flatten(0, 1) for part in (pred.logits.float(), labels, matches.positive, taught))
    focal: Tensor = _Focal.apply(*parts)
    losses = focal.view_as(taught).sum(dim=1) + _giou(pred, target, matches)
    positives = matches.positive.sum(dim=1) * (target.weight > 0)
    return losses * target.weight, positives.float()


class _Focal(torch.autograd.Function):
    """Sums of the focal loss, per anchor, over k outputs of which the one at `label` is true where `positive`.

    Slopes are found along with values, some anchors at a time, so that what comes in between stays in a CPU's cache.
    Second derivatives are taken for 0.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Float32[Tensor, "a k"],
        label: Int64[Tensor, " a"],
        positive: Bool[Tensor, " a"],
        taught: Bool[Tensor, " a"],
    ) -> Float32[Tensor, " a"]:
        anchors, k = logits.shape
        chunk = max(1, OUTPUTS_ON_CPU // max(1, k) if logits.device.type == "cpu" else anchors)
        losses, slopes = torch.empty_like(logits[:, 0]), torch.empty_like(logits)
        for start in range(0, anchors, chunk):
            part = slice(start, start + chunk)
            losses[part], slopes[part] = _focal_terms(logits[part], label[part, None], positive[part], taught[part])
        ctx.save_for_backward(slopes)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Float32[Tensor, " a"]) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return slopes * slope[:, None], None, None, None


def _focal_terms(
    logits: Float32[Tensor, "a k"],
    label: Int64[Tensor, "a 1"],
    positive: Bool[Tensor, " a"],
    taught: Bool[Tensor, " a"],
) -> tuple[Float32[Tensor, " a"], Float32[Tensor, "a k"]]:
    """Return the focal loss of anchors and its derivative by their outputs; 0 where nothing is taught.

    All outputs are taken for false, then those that are true are put right.
    """
    values, slopes = _mistaken(logits)
    values, slopes = values.mul_(1 - ALPHA), slopes.mul_(1 - ALPHA)
    chosen = logits.gather(1, label)
    value, slope = _mistaken(-chosen)
    wrong, wrong_slope = values.gather(1, label), slopes.gather(1, label)
    true = positive[:, None]
    losses = values.sum(dim=1) + (ALPHA * value - wrong).where(true, 0.0)[:, 0]
    slopes.scatter_(1, label, (-ALPHA * slope).where(true, wrong_slope))
    return losses.where(taught, 0.0), slopes.mul_(taught[:, None])


def _mistaken(logits: Float32[Tensor, "a k"]) -> tuple[Float32[Tensor, "a k"], Float32[Tensor, "a k"]]:
    """Return p^gamma softplus(x) at logits x of false outputs, where p = sigmoid(x), and its derivative."""
    p, loss = logits.sigmoid(), softplus(logits)
    focus = p.pow(GAMMA)
    slope = (GAMMA * (1 - p)).mul_(loss).add_(p).mul_(focus)
    return focus.mul_(loss), slope


def _giou(pred: BoxPrediction, target: BoxTargets, matches: Matches) -> Float32[Tensor, " n"]:
    """Return the sums of 1 - GIoU between decoded boxes and their matches over the positive anchors."""
    positive = matches.positive.flatten()
    # Counting the positive anchors would make the host wait for a device, so there all are looked at.
    where: Tensor | slice = positive.nonzero()[:, 0] if positive.device.type == "cpu" else slice(None)
    true = positive[where, None]
    anchors = pred.anchors.flatten(0, 1)[where]
    boxes = target.boxes.gather(1, matches.box[..., None].expand(-1, -1, 4)).flatten(0, 1)[where]
    # What isn't positive compares an anchor with itself: 0, and no gradient that could be NaN.
    deltas = pred.deltas.flatten(0, 1)[where].float().where(true, 0.0)
    losses = _one_minus_giou(CODER.decode_single(deltas, anchors), boxes.where(true, anchors))
    each = torch.zeros_like(positive, dtype=torch.float32)
    each[where] = losses.where(true[:, 0], 0.0)
    return each.view_as(matches.positive).sum(dim=1)


def _one_minus_giou(a: Float32[Tensor, "m 4"], b: Float32[Tensor, "m 4"]) -> Float32[Tensor, " m"]:
    """Return 1 - GIoU of pairs: torchvision's loss without its indexing by a mask, for which a device's host waits."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=1)
    union = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - shared
    return 1 - shared / (union + EPSILON) + (hull - union) / (hull + EPSILON)
