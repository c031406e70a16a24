"""What benchmarks/detection.py measures on, and what users of ssmtl would otherwise pick, as they would use it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen

from ssmtl_tasks.detection_decode import Detections
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets, collate_boxes

STRIDES = (8, 16, 32, 64, 128)
RARE, SPREAD = -4.6, 1.0
"""Mean and deviation of logits: 5 % of the outputs score 0.05 or more, so that every level has its 1000 candidates."""
SIDES = (8.0, 256.0)
TRUE, WRONG, CROWDS = 7, 13, 0.05
"""Objects of an image, detections of nothing, and the share of objects that are crowds."""


class NoBackbone(nn.Module):
    """What torchvision asks of a backbone that is never run."""

    out_channels = 8


@dataclass(frozen=True)
class Data:
    """Outputs of a head as leaves, and the same boxes for us and for torchvision."""

    pred: BoxPrediction
    target: BoxTargets
    theirs: list[dict[str, Tensor]]
    size: int

    def zero_grad(self) -> None:
        """Forget gradients."""
        self.pred.logits.grad = self.pred.deltas.grad = None


def data(batch: int, size: int, boxes: int, classes: int, device: str) -> Data:
    """Return outputs for a batch of square images with so many boxes each; half of their sides are below 45 pixels."""
    torch.manual_seed(0)
    grids = [-(-size // stride) for stride in STRIDES]
    images = ImageList(torch.zeros(batch, 3, size, size), [(size, size)] * batch)
    anchors = torch.stack(_default_anchorgen()(images, [torch.zeros(batch, 1, grid, grid) for grid in grids]))
    pred = BoxPrediction(
        (RARE + SPREAD * torch.randn(batch, anchors.shape[1], classes)).to(device).requires_grad_(),
        (0.1 * torch.randn(batch, anchors.shape[1], 4)).to(device).requires_grad_(),
        anchors[:1].to(device).expand(batch, -1, -1),
        torch.full((batch, 2), size),
        torch.tensor([9 * grid * grid for grid in grids]).expand(batch, -1),
    )
    target, theirs = objects(batch, size, boxes, classes)
    moved = [{name: part.to(device) for name, part in row.items()} for row in theirs]
    return Data(pred, BoxTargets(*(part.to(device) for part in target)), moved, size)


def objects(images: int, size: int, boxes: int, classes: int) -> tuple[BoxTargets, list[dict[str, Tensor]]]:
    """Return random boxes inside of images, in our form and in torchvision's."""
    rows, theirs = [], []
    for _ in range(images):
        sides = SIDES[0] * (min(SIDES[1], size) / SIDES[0]) ** torch.rand(boxes, 2)
        start = (size - sides) * torch.rand(boxes, 2)
        corners, labels = torch.cat([start, start + sides], dim=1), torch.randint(0, classes, (boxes,))
        real = torch.ones(boxes, dtype=torch.bool)
        rows.append(BoxTargets(corners, labels, real, ~real, torch.tensor(1.0)))
        theirs.append({"boxes": corners, "labels": labels})
    return collate_boxes(rows, (size, size), "boxes"), theirs


class Torchvision:
    """RetinaNet's loss, with GIoU, and its way from outputs to boxes."""

    def __init__(self, of: Data, **options: Any) -> None:
        self.of = of
        self.net = RetinaNet(NoBackbone(), of.pred.logits.shape[2], anchor_generator=_default_anchorgen(), **options)
        self.net.head.regression_head._loss_type = "giou"
        self.anchors = list(of.pred.anchors)
        self.levels = of.pred.levels[0].tolist()

    def loss(self) -> Tensor:
        """Return the mean over images of each image's loss over its positive anchors."""
        outputs = {"cls_logits": self.of.pred.logits, "bbox_regression": self.of.pred.deltas}
        parts = self.net.compute_loss(self.of.theirs, outputs, self.anchors)
        return parts["classification"] + parts["bbox_regression"]

    @torch.no_grad()
    def decode(self) -> list[dict[str, Tensor]]:
        """Return boxes, labels and scores of each image."""
        outputs = {"cls_logits": self.of.pred.logits, "bbox_regression": self.of.pred.deltas}
        levels = {name: list(part.split(self.levels, dim=1)) for name, part in outputs.items()}
        anchors = [list(part.split(self.levels)) for part in self.anchors]
        sizes = [(self.of.size, self.of.size)] * len(anchors)
        found: list[dict[str, Tensor]] = self.net.postprocess_detections(levels, anchors, sizes)
        return found


class Scene(NamedTuple):
    """Detections and objects of images, in our form, and outputs that nobody looks at."""

    outputs: BoxPrediction
    found: Detections
    known: BoxTargets


def scenes(images: int, size: int, classes: int) -> Scene:
    """Return images with 7 objects and 20 detections each: objects that moved by some pixels, and 13 of nothing."""
    torch.manual_seed(0)
    known, _ = objects(images, size, TRUE, classes)
    wrong, _ = objects(images, size, WRONG, classes)
    moved = known.boxes[:, :TRUE] + 3 * torch.randn(images, TRUE, 4)
    moved = torch.cat([moved[..., :2].minimum(moved[..., 2:] - 1), moved[..., 2:]], dim=-1)
    scores, order = torch.rand(images, TRUE + WRONG).sort(dim=1, descending=True)
    boxes = torch.cat([moved, wrong.boxes[:, :WRONG]], dim=1)
    labels = torch.cat([known.labels[:, :TRUE], wrong.labels[:, :WRONG]], dim=1)
    found = Detections(
        boxes.gather(1, order[..., None].expand(-1, -1, 4)), labels.gather(1, order), scores, scores >= 0
    )
    crowd = torch.rand(known.crowd.shape) < CROWDS
    none = torch.zeros(images, 0, 4)
    outputs = BoxPrediction(none, none, none, torch.full((images, 2), size), torch.zeros(images, 1, dtype=torch.int64))
    return Scene(outputs, found, known._replace(crowd=crowd & known.present))


def torchmetrics_map(of: Scene, backend: str) -> dict[str, Tensor]:
    """Return torchmetrics' mAP, with AP per class."""
    metric: Any = MeanAveragePrecision(class_metrics=True, backend=backend)
    for i in range(len(of.known.weight)):
        real = of.known.present[i]
        found = {"boxes": of.found.boxes[i], "labels": of.found.labels[i], "scores": of.found.scores[i]}
        known = {"boxes": of.known.boxes[i, real], "labels": of.known.labels[i, real]}
        metric.update([found], [{**known, "iscrowd": of.known.crowd[i, real].long()}])
    values: dict[str, Tensor] = metric.compute()
    return values
