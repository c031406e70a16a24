"""Average precision of boxes by COCO's rules, over a split that is seen batch by batch."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from torchvision.ops import box_iou

from ssmtl_tasks.detection_decode import Detections
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets

IOUS = torch.linspace(0.5, 0.95, 10, dtype=torch.float64)
RECALLS = torch.linspace(0, 1, 101, dtype=torch.float64)
WRONG, RIGHT, NEITHER = 0, 1, 2


class BoxPrecision(Metric):
    """map, map_50, map_75 and ap_<class>, in [0, 1]: AP at IoU 0.5 to 0.95, 101 recalls, objects of all sizes.

    A detection is right at an IoU when it reaches that with an object of its class that no better one has taken;
    within a crowd it doesn't count. Means are over the classes that have an object; NaN without any.
    """

    full_state_update = False
    labels: list[Tensor]
    scores: list[Tensor]
    verdicts: list[Tensor]
    objects: Tensor

    def __init__(self, classes: tuple[str, ...], detect: Callable[[BoxPrediction], Detections]) -> None:
        super().__init__()
        self.classes, self.detect = classes, detect
        for name in ("labels", "scores", "verdicts"):
            self.add_state(name, [], dist_reduce_fx="cat")
        self.add_state("objects", torch.zeros(len(classes), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: BoxPrediction, target: BoxTargets) -> None:
        """Add rows; those of weight 0 are left out."""
        rows = (target.weight > 0).nonzero()[:, 0]
        found = Detections(*(part[rows] for part in self.detect(pred)))
        known = BoxTargets(*(part[rows] for part in target))
        self.labels.append(found.labels[found.present])
        self.scores.append(found.scores[found.present])
        self.verdicts.append(_verdicts(found, known)[found.present])
        self.objects += torch.bincount(known.labels[known.present & ~known.crowd], minlength=len(self.classes))

    def compute(self) -> dict[str, Tensor]:
        labels, scores, verdicts = (_joined(part) for part in (self.labels, self.scores, self.verdicts))
        values = torch.full((len(self.classes), len(IOUS)), torch.nan, dtype=torch.float64)
        for index, count in enumerate(self.objects.tolist()):
            mine = labels == index
            if count:
                values[index] = _precision(scores[mine], verdicts[mine], count) if mine.any() else 0.0
        means: dict[str, Tensor] = {"map": values, "map_50": values[:, 0], "map_75": values[:, 5]}
        each = {f"ap_{name}": row for name, row in zip(self.classes, values, strict=True)}
        return {name: value.nanmean().float() for name, value in (means | each).items()}


def _joined(parts: list[Tensor]) -> Tensor:
    return dim_zero_cat(parts).cpu() if len(parts) else torch.zeros(0)


def _verdicts(found: Detections, known: BoxTargets) -> Int64[Tensor, "n d t"]:
    """Say of each detection, best first, whether it is right at each IoU."""
    if not len(found.labels):
        return found.labels.new_zeros((*found.labels.shape, len(IOUS)))
    same = (found.labels[..., None] == known.labels[:, None]) & known.present[:, None]
    iou = torch.stack([box_iou(a, b) for a, b in zip(found.boxes.double(), known.boxes.double(), strict=True)])
    objects = iou.where(same & ~known.crowd[:, None], -1.0)
    inside = _inside(found.boxes, known.boxes).where(same & known.crowd[:, None], -1.0).amax(dim=2)
    limits = IOUS.to(iou.device)
    free = torch.ones((len(iou), len(IOUS), iou.shape[2]), dtype=torch.bool, device=iou.device)
    verdicts = []
    for rank in range(iou.shape[1]):
        best, taken = objects[:, rank, None].where(free, -1.0).max(dim=2)
        right = (best >= limits) & found.present[:, rank, None]
        free = free.scatter(2, taken[..., None], free.gather(2, taken[..., None]) & ~right[..., None])
        neither = torch.where(inside[:, rank, None] >= limits, NEITHER, WRONG)
        verdicts.append(torch.where(right, RIGHT, neither))
    return torch.stack(verdicts, dim=1)


def _inside(boxes: Float32[Tensor, "n d 4"], crowds: Float32[Tensor, "n m 4"]) -> Float[Tensor, "n d m"]:
    """Return the share of each box that is within each crowd."""
    start = torch.maximum(boxes[:, :, None, :2], crowds[:, None, :, :2])
    end = torch.minimum(boxes[:, :, None, 2:], crowds[:, None, :, 2:])
    shared = (end - start).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    return (shared / area.clamp(min=1e-9)[..., None]).double()


def _precision(scores: Float32[Tensor, " c"], verdicts: Int64[Tensor, "c t"], objects: int) -> Float[Tensor, " t"]:
    """Return the average precision of one class at each IoU: the best precision at each recall or above, averaged."""
    verdicts = verdicts[scores.sort(descending=True, stable=True).indices]
    right = (verdicts == RIGHT).double().cumsum(dim=0)
    counted = (verdicts != NEITHER).double().cumsum(dim=0)
    recall, precision = right / objects, right / counted.clamp(min=1)
    envelope = precision.flip(0).cummax(dim=0).values.flip(0)
    place = torch.searchsorted(recall.T.contiguous(), RECALLS.expand(len(IOUS), -1).contiguous())
    reached: Bool[Tensor, "t r"] = place < len(recall)
    values = envelope.T.gather(1, place.clamp(max=len(recall) - 1))
    return values.where(reached, 0.0).mean(dim=1)
