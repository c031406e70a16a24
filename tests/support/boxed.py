"""Box targets and predictions by hand."""

import torch

from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets

SURELY_NOT = -20.0


def boxes_at(rows, *, labels=None, crowd=None, weight=None, width=8):
    """Return targets whose rows hold these boxes, padded to `width`; labels are 0 unless given."""
    n = len(rows)
    target = BoxTargets(
        torch.zeros(n, width, 4),
        torch.zeros(n, width, dtype=torch.int64),
        torch.zeros(n, width, dtype=torch.bool),
        torch.zeros(n, width, dtype=torch.bool),
        torch.ones(n) if weight is None else torch.tensor(weight),
    )
    for row, boxes in enumerate(rows):
        for place, box in enumerate(boxes):
            target.boxes[row, place] = torch.tensor(box, dtype=torch.float32)
            target.present[row, place] = True
            target.labels[row, place] = labels[row][place] if labels else 0
            target.crowd[row, place] = crowd[row][place] if crowd else False
    return target


def at_anchors(anchors, logits, deltas=None, *, size=(100, 100), levels=None):
    """Return a prediction at these anchors from logits [n, a, k]."""
    n, count, _ = logits.shape
    return BoxPrediction(
        logits,
        torch.zeros(n, count, 4) if deltas is None else deltas,
        torch.tensor(anchors, dtype=torch.float32).reshape(count, 4).expand(n, -1, -1),
        torch.tensor(size).expand(n, -1),
        torch.tensor(levels or [count]).expand(n, -1),
    )


def found_at(boxes, labels, scores, *, classes=2, **fields):
    """Return a prediction of one row that sees exactly these boxes, with these scores."""
    logits = torch.full((1, len(boxes), classes), SURELY_NOT)
    for place, (label, score) in enumerate(zip(labels, scores, strict=True)):
        logits[0, place, label] = torch.logit(torch.tensor(score, dtype=torch.float64)).float()
    return at_anchors(boxes, logits, **fields)
