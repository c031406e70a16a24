"""From boxes back to what a head would have to say for them: predictions that are right on purpose."""

import torch
from torch import Tensor

from ssmtl_tasks.detection_losses import CODER
from ssmtl_tasks.detection_matching import match_anchors
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets
from ssmtl_tasks.targets import SURE

NOWHERE = (0.0, 0.0, 1.0, 1.0)
"""The anchor that stands for a box that isn't there."""


def predicted(target: BoxTargets, classes: int) -> BoxPrediction:
    """Return a prediction of every box that is present and no crowd, in one level whose anchors are the boxes.

    All rows have the anchors of all rows, as those of a head. Each anchor that a box needs says that box, so that what
    is left after suppression is each box once, unless two of one class overlap more than suppression allows. Images are
    as large as their boxes ask for; `Detection.bounded` says how large they are.
    """
    n = len(target.weight)
    real = target.present & ~target.crowd
    boxes = target.boxes.where(real[..., None], target.boxes.new_tensor(NOWHERE))
    anchors = boxes.reshape(-1, 4).expand(n, -1, -1)
    matches = match_anchors(anchors, target)
    said = boxes.gather(1, matches.box[..., None].expand(-1, -1, 4))
    labels = target.labels.gather(1, matches.box)
    positive = matches.positive & real.gather(1, matches.box)
    logits = torch.full((*labels.shape, classes), -SURE / 2, device=boxes.device)
    logits.scatter_(2, labels[..., None], SURE * positive[..., None] - SURE / 2)
    deltas = CODER.encode_single(said.flatten(0, 1), anchors.flatten(0, 1)).view_as(anchors)
    right, down = (boxes.new_ones(()) if not n else boxes[..., side].max().ceil() for side in (2, 3))
    return BoxPrediction(
        logits,
        deltas.where(positive[..., None], 0.0),
        anchors,
        _on_cpu(torch.stack([down, right]), n),
        torch.tensor([anchors.shape[1]]).expand(n, -1),
    )


def _on_cpu(size: Tensor, n: int) -> Tensor:
    return size.cpu().long().expand(n, -1)
