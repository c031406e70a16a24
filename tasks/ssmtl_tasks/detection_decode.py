"""From predictions to boxes: threshold, the best of every level, non-maximum suppression per class, the best of all.

The steps and their order are those of RetinaNet (Lin et al. 2017, section 4.1). Images are worked on together: what is
left after the threshold is a list of candidates, and an image is a group of them.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from torchvision.ops import batched_nms

from ssmtl.views.geometry import upload
from ssmtl_tasks.detection_losses import CODER
from ssmtl_tasks.detection_targets import BoxPrediction


class Detections(NamedTuple):
    """The boxes found in n images, in pixels of the canvas, best first, padded to d a row; `present` are the real ones.

    `scores` are sigmoid outputs, in [0, 1].
    """

    boxes: Float32[Tensor, "n d 4"]
    labels: Int64[Tensor, "n d"]
    scores: Float32[Tensor, "n d"]
    present: Bool[Tensor, "n d"]


class _Candidates(NamedTuple):
    """Outputs of the head, best first: whose row, which anchor, which class, how sure."""

    row: Int64[Tensor, " c"]
    anchor: Int64[Tensor, " c"]
    label: Int64[Tensor, " c"]
    score: Float32[Tensor, " c"]

    def pick(self, index: Tensor) -> "_Candidates":
        return _Candidates(*(part[index] for part in self))


@torch.no_grad()
def detect(pred: BoxPrediction, *, score: float, overlap: float, per_level: int, limit: int) -> Detections:
    """Return at most `limit` boxes an image whose score is at least `score`, cut to the image.

    Of each level the best `per_level` outputs are looked at; of boxes of one class whose IoU is above `overlap`, the
    best stays. What has no area inside of the image, or no finite place, is no detection.
    """
    candidates = _best(pred, score, per_level)
    boxes = _boxes(pred, candidates)
    real = (torch.isfinite(boxes).all(dim=1) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)).nonzero()[:, 0]
    candidates, boxes = candidates.pick(real), boxes[real]
    kept = _suppress(candidates, boxes, pred.logits.shape[2], overlap)
    candidates, boxes = candidates.pick(kept), boxes[kept]
    rank = _rank(candidates.row)
    first = (rank < limit).nonzero()[:, 0]
    return _padded(candidates.pick(first), boxes[first], rank[first], (len(pred.logits), limit))


def _best(pred: BoxPrediction, score: float, per_level: int) -> _Candidates:
    """Return the best `per_level` outputs of every level of every row, as far as they reach `score`."""
    classes = pred.logits.shape[2]
    sizes = pred.levels[0].tolist() if len(pred.levels) else [pred.logits.shape[1]]
    values, places, start = [], [], 0
    for level in pred.logits.split(sizes, dim=1):
        outputs = level.flatten(1)
        value, place = outputs.topk(min(per_level, outputs.shape[1]), dim=1)
        values.append(value)
        places.append(place + start * classes)
        start += level.shape[1]
    scores, place = torch.cat(values, dim=1).float().sigmoid(), torch.cat(places, dim=1)
    row, column = (scores >= score).nonzero(as_tuple=True)
    best, order = scores[row, column].sort(descending=True, stable=True)
    row, place = row[order], place[row, column][order]
    return _Candidates(row, place // classes, place % classes, best)


def _boxes(pred: BoxPrediction, candidates: _Candidates) -> Float32[Tensor, "c 4"]:
    places = candidates.row, candidates.anchor
    boxes = CODER.decode_single(pred.deltas[places].float(), pred.anchors[places])
    height, width = upload(pred.size, boxes.device)[candidates.row].to(boxes.dtype).unbind(1)
    limits = torch.stack([width, height, width, height], dim=1)
    return boxes.clamp(min=0).minimum(limits)


def _suppress(
    candidates: _Candidates, boxes: Float32[Tensor, "c 4"], classes: int, overlap: float
) -> Int64[Tensor, " k"]:
    """Return which candidates are the best of their place, class and row, best first."""
    groups = candidates.row * classes + candidates.label
    # Groups are told apart by shifting their boxes, so far that float32, which autocast would take, loses pixels.
    with torch.autocast(boxes.device.type, enabled=False):
        kept: Tensor = batched_nms(boxes.double(), candidates.score.double(), groups, overlap)
    return kept


def _rank(groups: Int64[Tensor, " c"]) -> Int64[Tensor, " c"]:
    """Return how many before each belong to its group."""
    ordered, order = groups.sort(stable=True)
    place = torch.arange(len(groups), device=groups.device)
    return torch.empty_like(place).scatter_(0, order, place - torch.searchsorted(ordered, ordered))


def _padded(
    found: _Candidates, boxes: Float32[Tensor, "c 4"], rank: Int64[Tensor, " c"], shape: tuple[int, int]
) -> Detections:
    none = Detections(
        boxes.new_zeros(*shape, 4),
        rank.new_zeros(shape),
        boxes.new_zeros(shape),
        torch.zeros(shape, dtype=torch.bool, device=rank.device),
    )
    real = torch.ones_like(rank, dtype=torch.bool)
    parts = zip(none, (boxes, found.label, found.score, real), strict=True)
    return Detections(*(empty.index_put((found.row, rank), values) for empty, values in parts))
