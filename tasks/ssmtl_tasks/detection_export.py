"""What an exported detector returns, and what its user still has to do: choose, suppress, and scale back."""

from string import Template

import torch

from ssmtl.task import Output
from ssmtl_tasks.detection_losses import CODER
from ssmtl_tasks.detection_targets import BoxPrediction

READING = Template("""\
`$name` has a box per anchor and a score per anchor and class, before non-maximum suppression. This is what is left to
do for the first image; `ssmtl predict` looks only at the $per_level best outputs of each level of the pyramid, which
differs where more reach the score. Boxes are in pixels of the input: scale them back to the image, and cut them there.

```python
import numpy as np

boxes, scores = found["$name.boxes"][0], found["$name.scores"][0]
anchors, labels = np.nonzero(scores >= $score)
order = np.argsort(-scores[anchors, labels], kind="stable")
answers = []
for anchor, label in zip(anchors[order], labels[order]):
    left, top, right, bottom = box = boxes[anchor]
    taken = np.array([b for b, k, _ in answers if k == label]).reshape(-1, 4)
    width = np.minimum(right, taken[:, 2]) - np.maximum(left, taken[:, 0])
    height = np.minimum(bottom, taken[:, 3]) - np.maximum(top, taken[:, 1])
    shared = width.clip(0) * height.clip(0)
    areas = (taken[:, 2] - taken[:, 0]) * (taken[:, 3] - taken[:, 1]) + (right - left) * (bottom - top)
    if right > left and bottom > top and (shared <= $nms * (areas - shared)).all():
        answers.append((box, label, scores[anchor, label]))
answers = answers[:$limit]
```""")


def exported_boxes(pred: BoxPrediction, classes: tuple[str, ...]) -> dict[str, Output]:
    """Return a box per anchor, cut to the canvas, and its scores."""
    flat = CODER.decode_single(pred.deltas.float().reshape(-1, 4), pred.anchors.reshape(-1, 4))
    height, width = pred.size[:, 0, None].to(flat), pred.size[:, 1, None].to(flat)
    left, top, right, bottom = flat.view_as(pred.anchors).clamp(min=0).unbind(2)
    sides = [left.minimum(width), top.minimum(height), right.minimum(width), bottom.minimum(height)]
    names = ", ".join(classes)
    return {
        "boxes": Output(torch.stack(sides, dim=2), "(left, top, right, bottom) of each anchor, pixels of the input"),
        "scores": Output(pred.logits.float().sigmoid(), f"of each anchor, in [0, 1], for each of: {names}"),
    }
