"""What boxes become: `BoxTargets` for labels and pseudo-labels, `BoxPrediction` for what a head says.

Boxes are (left, top, right, bottom) in pixels of the canvas, on pixel edges, half-open. A target tells "nobody looked"
(weight 0) from "somebody looked, and nothing is there" (weight 1, no box present). Readers and tasks meet by class
name, without regard to case.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torch.nn.functional import pad

from ssmtl.errors import DataError, nearest
from ssmtl.task import BoxList

PAD_TO = 8
"""Rows are padded to a multiple of so many boxes: few shapes, so that compiled code and allocators meet few of them."""
_LEFT_OUT = -1
_TOLERANCE = 0.5


class BoxTargets(NamedTuple):
    """The boxes of n images, padded to m a row; without n for one sample.

    `present` marks the real ones, `crowd` those around a group, which neither teach nor count. `weight` is 0 where
    boxes are not known at all.
    """

    boxes: Float32[Tensor, "*n m 4"]
    labels: Int64[Tensor, "*n m"]
    present: Bool[Tensor, "*n m"]
    crowd: Bool[Tensor, "*n m"]
    weight: Float32[Tensor, "*n"]


class BoxPrediction(NamedTuple):
    """What a detection head says about n images of one size, at `a` anchors: k logits (sigmoid) and a box each.

    `deltas` are (dx, dy, dw, dh) from the anchor, in anchor sides and logarithms of them (Girshick et al. 2014, App.
    C). Anchors are the same in every row. On the CPU: `size`, the (height, width) of the images in pixels, and
    `levels`, how many anchors each level of the pyramid has, finest first.
    """

    logits: Float[Tensor, "n a k"]
    deltas: Float[Tensor, "n a 4"]
    anchors: Float32[Tensor, "n a 4"]
    size: Int64[Tensor, "n 2"]
    levels: Int64[Tensor, "n l"]


def box_targets(annotation: object, classes: tuple[str, ...], known: tuple[str, ...], task: str) -> BoxTargets:
    """Return one image's boxes in the task's `known` classes; those of the reader's other classes are left out.

    Raises DataError for an annotation that is no BoxList, a label that isn't an index into the reader's `classes`, and
    as `box_classes` does.
    """
    if not isinstance(annotation, BoxList):
        raise DataError(
            f"task '{task}' got boxes of type {type(annotation).__name__}; it expects a BoxList, with zero boxes where "
            "nothing is there. Check the reader's annotation 'boxes'."
        )
    table = box_classes(classes, known, task)
    wrong = (annotation.labels < 0) | (annotation.labels >= len(classes))
    if wrong.any():
        raise DataError(
            f"task '{task}' got a box with label {int(annotation.labels[wrong][0])}, but the reader names "
            f"{len(classes)} classes {classes}; labels must lie in 0..{len(classes) - 1}. Correct the label or add the "
            "class to the reader."
        )
    labels = table[annotation.labels]
    own = labels != _LEFT_OUT
    return BoxTargets(
        boxes=torch.from_numpy(annotation.xyxy[own]),
        labels=torch.from_numpy(labels[own]),
        present=torch.ones(int(own.sum()), dtype=torch.bool),
        crowd=torch.from_numpy(annotation.crowd[own]),
        weight=torch.tensor(1.0),
    )


@cache
def box_classes(classes: tuple[str, ...], known: tuple[str, ...], task: str) -> Int64[np.ndarray, " k"]:
    """Return what each of a reader's classes is as an index into `known`, or -1 where the task doesn't learn it.

    Raises DataError when the reader never annotates a class that the task learns: its objects may be in every image,
    and would be taught as background.
    """
    folded = {name.casefold(): index for index, name in enumerate(known)}
    annotated = {name.casefold() for name in classes}
    for name in known:
        if name.casefold() not in annotated:
            raise DataError(
                f"task '{task}' learns '{name}', which the reader's boxes never show, so that its objects would be "
                f"taught as background; take it out of the task, or use another reader{nearest(name, classes)}"
            )
    table = np.array([folded.get(name.casefold(), _LEFT_OUT) for name in classes], dtype=np.int64)
    table.setflags(write=False)
    return table


def collate_boxes(targets: Sequence[BoxTargets | None], size: tuple[int, int], task: str) -> BoxTargets:
    """Stack rows, padded to the longest; None (not annotated) gets weight 0.

    Raises DataError for a box that leaves the canvas of `size` (height, width).
    """
    rows = [_no_boxes(0.0) if target is None else target for target in targets]
    for row in rows:
        _check_canvas(row.boxes, size, task)
    longest = max((len(row.labels) for row in rows), default=0)
    width = max(PAD_TO, -(-longest // PAD_TO) * PAD_TO)
    if not rows:
        return BoxTargets(*(part[:0] for part in collate_boxes([None], size, task)))
    padded = [_padded(row, width) for row in rows]
    boxes, labels, present, crowd, weight = (torch.stack(parts) for parts in zip(*padded, strict=True))
    return BoxTargets(boxes, labels, present, crowd, weight)


def _no_boxes(weight: float) -> BoxTargets:
    none = torch.zeros(0, dtype=torch.bool)
    return BoxTargets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), none, none, torch.tensor(weight))


def _padded(row: BoxTargets, width: int) -> BoxTargets:
    missing = width - len(row.labels)
    labels, present, crowd = (pad(part, (0, missing)) for part in (row.labels, row.present, row.crowd))
    return BoxTargets(pad(row.boxes, (0, 0, 0, missing)), labels, present, crowd, row.weight)


def _check_canvas(boxes: Float32[Tensor, "m 4"], size: tuple[int, int], task: str) -> None:
    height, width = size
    limits = torch.tensor([width, height, width, height]) + _TOLERANCE
    outside = ((boxes < -_TOLERANCE) | (boxes > limits)).any(dim=1)
    if outside.any():
        raise DataError(
            f"task '{task}' got the box {boxes[outside][0].tolist()} for images of {size} (height, width); the reader "
            "must bring boxes to the same canvas as images, and cut them where it ends."
        )
