"""Detection: boxes around the objects of several classes, by RetinaNet with focal and GIoU loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from pydantic import AfterValidator, Field
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torchmetrics import MetricCollection

from ssmtl.blocks import Key
from ssmtl.palette import Colors
from ssmtl.task import Annotation, FeatureSpec, Loss, Output, Record, Task
from ssmtl.views.boxes import Hull, cut_by_view, move_boxes
from ssmtl.views.geometry import Geometry, upload
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC
from ssmtl_tasks.detection_decode import Detections, detect
from ssmtl_tasks.detection_drawing import Frame, draw_frames
from ssmtl_tasks.detection_export import READING, exported_boxes
from ssmtl_tasks.detection_head import BoxHead, RetinaNetHead
from ssmtl_tasks.detection_losses import detection_loss
from ssmtl_tasks.detection_metrics import BoxPrecision
from ssmtl_tasks.detection_phantoms import rectangles
from ssmtl_tasks.detection_reverse import predicted
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets, box_targets, collate_boxes
from ssmtl_tasks.drawing import colors_for, compared
from ssmtl_tasks.targets import BACKGROUND, check_classes

COUNTED = 0.5
"""Score from which on a box counts as an object."""
DRAWN = 0.5
"""Score from which on a box is drawn."""
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, eq=False)
class BoxAnswer:
    """The boxes of one image, best first: (left, top, right, bottom) on pixel edges of the source image.

    `labels` index the task's classes, whose `names` stand beside them; `scores` are in [0, 1].
    """

    boxes: Float32[np.ndarray, "d 4"]
    labels: Int64[np.ndarray, " d"]
    names: tuple[str, ...]
    scores: Float32[np.ndarray, " d"]


def _box_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    check_classes(classes)
    if BACKGROUND in [name.casefold() for name in classes]:
        raise ValueError(f"'{BACKGROUND}' is what has no box, in {classes}; name classes of objects only")
    return classes


class Detection(Task):
    """Boxes around the objects of `classes`. Predictions are `BoxPrediction`s, targets `BoxTargets`, on the canvas.

    A prediction, which `head` makes, has k logits and a box at each of its anchors; targets have their boxes.

    The headline is the mAP. A box of a reader's class that the task doesn't learn is background; a class that the task
    learns and the reader doesn't know is refused.
    """

    headline = "map"
    annotation = "boxes"

    classes: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_box_classes)]
    head: BoxHead = RetinaNetHead()
    score_threshold: Share = 0.05
    """Smallest score of a detection."""
    nms: Share = 0.5
    """Largest IoU of two detections of one class."""
    per_level: Count = 1000
    """Outputs of each level of the pyramid that are looked at before suppression."""
    detections: Count = 100
    """Largest number of detections, and of pseudo-boxes, in an image."""
    positives_only: bool = True
    """Learn from pseudo-boxes where they are, and nothing from where none is: at a high threshold most are missed."""
    min_size: Annotated[float, Field(gt=0)] = 2.0
    """Pixels; a box narrower or lower than this in a view is dropped."""
    min_visibility: Share = 0.1
    """A box is dropped when a view shows less of its area than this."""
    hull: Hull = "corners"
    """What a turned box becomes; see `ssmtl.views.boxes.move_boxes`."""
    drop_cut: Annotated[float, Field(ge=0)] | None = 2.0
    """Drop pseudo-boxes that end within so many pixels of a border of the view they were found in, where the image
    goes on: elsewhere they would end in the middle of their objects. None keeps them."""
    invariant_to: tuple[str, ...] = PHOTOMETRIC
    equivariant_to: tuple[str, ...] = GEOMETRIC

    @classmethod
    def examples(cls) -> "tuple[Detection, ...]":
        head = RetinaNetHead(channels=32, finest_stride=4, levels=2, anchor_scale=2.0, norm="groupnorm")
        boxes = cls(name="boxes", classes=("car", "person"), head=head)
        return boxes, boxes.replace(positives_only=False)

    def build_head(self, features: FeatureSpec) -> nn.Module:
        return self.head.build(features, len(self.classes))

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> BoxTargets:
        return box_targets(annotation, classes, self.classes, self.name)

    def collate(self, targets: Sequence[BoxTargets | None], size: tuple[int, int]) -> BoxTargets:
        """Stack rows, padded to the longest; raises DataError for a box that leaves the canvas."""
        return collate_boxes(targets, size, self.name)

    def warp(self, target: BoxTargets, geometry: Geometry) -> BoxTargets:
        """Move boxes with their images, crowds too; what a map between two views moves are pseudo-boxes."""
        present, crowd = target.present, target.crowd
        if geometry.via is not None and self.drop_cut is not None:
            # Where nothing moves, a cut box still ends at the border.
            moves = ~upload(geometry.is_identity, present.device)[:, None]
            cut = cut_by_view(target.boxes, present, geometry.via, self.drop_cut) & moves
            # Where background is taught, the objects of cut boxes must not be.
            present, crowd = (present & ~cut, crowd) if self.positives_only else (present, crowd | cut)
        boxes, kept = move_boxes(
            target.boxes,
            present,
            geometry,
            hull=self.hull,
            min_size=self.min_size,
            min_visibility=self.min_visibility,
        )
        return target._replace(boxes=boxes, present=kept, crowd=crowd)

    def supervised_loss(self, pred: BoxPrediction, target: BoxTargets) -> Loss:
        """Return focal + GIoU loss, over max(1, the number of positive anchors) of the batch."""
        return Loss(*detection_loss(pred, target, background=True), floor=1.0)

    def pseudo_label(self, pred: BoxPrediction, threshold: float) -> BoxTargets:
        """Return what is detected with a score of at least `threshold`, as boxes that are certain.

        Rows without any weigh 0 when only positives are learned from: they say nothing, not that nothing is there.
        """
        found = self._detect(pred, max(threshold, self.score_threshold))
        known = found.present.any(dim=1) if self.positives_only else torch.ones_like(found.present[:, 0])
        crowd = torch.zeros_like(found.present)
        return BoxTargets(found.boxes, found.labels, found.present, crowd, known.float())

    def unsupervised_loss(self, pred: BoxPrediction, target: BoxTargets) -> Loss:
        """Return focal + GIoU loss over the anchors that match a pseudo-box, per such anchor; exactly 0 without any.

        Unless `positives_only`, it is the supervised loss.
        """
        if not self.positives_only:
            return self.supervised_loss(pred, target)
        return Loss(*detection_loss(pred, target, background=False), floor=1.0)

    def summarize(self, weak: BoxPrediction, target: BoxTargets) -> dict[str, Loss]:
        """Return "coverage", the share of images with a pseudo-box, and "pseudo_boxes", how many an image has."""
        boxes, images = target.present.float().sum(dim=1), torch.ones_like(target.weight)
        return {"coverage": Loss((boxes > 0).float(), images), "pseudo_boxes": Loss(boxes, images)}

    def as_prediction(self, target: BoxTargets) -> BoxPrediction:
        """Return a prediction of all boxes but crowds; two of a class that overlap by more than `nms` remain one."""
        return predicted(target, len(self.classes))

    def metrics(self) -> MetricCollection:
        found = partial(self._detect, score=self.score_threshold)
        return MetricCollection({"boxes": BoxPrecision(self.classes, found)}, compute_groups=False)

    def decode(self, pred: BoxPrediction, sizes: Sequence[tuple[int, int]]) -> list[BoxAnswer]:
        """Return the detections of each row; `pred.size` is the part of the canvas that shows the source image."""
        found = tree_map(Tensor.cpu, self._detect(pred, self.score_threshold))
        rows = zip(*found, pred.size.tolist(), sizes, strict=True)
        return [self._answer(Detections(*parts), shown, size) for *parts, shown, size in rows]

    def record(self, answer: BoxAnswer) -> Record:
        """Return how many objects of each class have a score of at least 0.5, and all boxes."""
        sure = answer.labels[answer.scores >= COUNTED]
        counts = {f"{self.name}_{name}": str(int((sure == index).sum())) for index, name in enumerate(self.classes)}
        rows = zip(answer.names, answer.boxes.tolist(), answer.scores.tolist(), strict=True)
        return Record(
            counts,
            objects=tuple(
                {"category": name, "bbox": [left, top, right - left, bottom - top], "score": score}
                for name, (left, top, right, bottom), score in rows
            ),
        )

    def exported(self, pred: BoxPrediction) -> dict[str, Output]:
        """Return every anchor's box and scores: how many boxes are left after suppression depends on the image."""
        return exported_boxes(pred, self.classes)

    def reading(self) -> str:
        """Return non-maximum suppression with the task's settings, in NumPy."""
        return READING.substitute(
            name=self.name,
            score=self.score_threshold,
            nms=self.nms,
            per_level=self.per_level,
            limit=self.detections,
        )

    def crop(self, pred: BoxPrediction, size: tuple[int, int]) -> BoxPrediction:
        return self.bounded(pred, torch.tensor(size).expand(len(pred.size), -1))

    def bounded(self, pred: BoxPrediction, sizes: Int64[Tensor, "n 2"]) -> BoxPrediction:
        return pred._replace(size=sizes)

    def draw(
        self,
        image: UInt8[Tensor, "3 h w"],
        target: BoxTargets,
        pred: BoxPrediction | None,
        colors: Colors | None = None,
    ) -> UInt8[Tensor, "3 _ _"]:
        """Return boxes in the colors of their classes, reference and prediction beside each other.

        A prediction is drawn from a score of 0.5 on, with its score. Boxes around crowds are dashed.
        """
        shown = colors_for(self.classes, colors)
        truth = [] if target.weight == 0 else self._reference(target, shown)
        found = [] if pred is None else self._found(pred, (image.shape[1], image.shape[2]), shown)
        present = {frame.color for frame in (*truth, *found)}
        keys = [Key(name, shown[name]) for name in self.classes if shown[name] in present]
        reference = draw_frames(image, truth) if target.weight > 0 else None
        prediction = None if pred is None else draw_frames(image, found)
        return compared(image, reference, prediction, keys)

    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[BoxTargets]]:
        """Make rectangles on noise whose brightness tells their class; every fifth image shows none."""
        return rectangles(n, seed, classes=len(self.classes), channels=channels, size=size)

    def _detect(self, pred: BoxPrediction, score: float) -> Detections:
        return detect(pred, score=score, overlap=self.nms, per_level=self.per_level, limit=self.detections)

    def _reference(self, target: BoxTargets, colors: Colors) -> list[Frame]:
        real = target.present
        rows = zip(target.boxes[real].tolist(), target.labels[real].tolist(), target.crowd[real].tolist(), strict=True)
        names = [(box, self.classes[label], crowd) for box, label, crowd in rows]
        return [Frame(tuple(box), colors[name], name, crowd) for box, name, crowd in names]

    def _found(self, pred: BoxPrediction, size: tuple[int, int], colors: Colors) -> list[Frame]:
        (answer,) = self.decode(tree_map(lambda part: part[None], pred), [size])
        rows = zip(answer.boxes.tolist(), answer.names, answer.scores.tolist(), strict=True)
        return [Frame(tuple(box), colors[name], f"{name} {score:.2f}") for box, name, score in rows if score >= DRAWN]

    def _answer(self, found: Detections, shown: Sequence[int], size: tuple[int, int]) -> BoxAnswer:
        """Turn one row of padded detections into an answer in pixels of the source image."""
        down, right = size[0] / shown[0], size[1] / shown[1]
        labels = found.labels[found.present]
        boxes = found.boxes[found.present] * torch.tensor([right, down, right, down])
        names = tuple(self.classes[label] for label in labels.tolist())
        return BoxAnswer(boxes.numpy(), labels.numpy(), names, found.scores[found.present].numpy())
