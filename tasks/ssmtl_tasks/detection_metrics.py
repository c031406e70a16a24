"""Average precision of boxes by COCO's rules, over a split that is seen batch by batch."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor, distributed
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from ssmtl_tasks.coco import IOUS, Boxes, average_precision
from ssmtl_tasks.detection_decode import Detections
from ssmtl_tasks.detection_targets import BoxPrediction, BoxTargets

COLUMNS = 6
"""Of a box: left, top, right, bottom, class, and its score, or whether it is a crowd."""


class BoxPrecision(Metric):
    """map, map_50, map_75 and ap_<class>, in [0, 1]: AP at IoU 0.5 to 0.95, 101 recalls, objects of all sizes.

    Boxes are compared on the canvas: showing an image larger, or wider, changes the areas of boxes and of what they
    share by the same factor, so that AP over all sizes is that in pixels of the source image. Means are over the
    classes that have an object; NaN without any.

    Each process keeps the boxes that it saw, 24 bytes a box. They are gathered everywhere, evaluated in the first
    process while others wait, and its numbers are everyone's.
    """

    full_state_update = False
    found: list[Tensor]
    known: list[Tensor]
    counts: list[Tensor]

    def __init__(self, classes: tuple[str, ...], detect: Callable[[BoxPrediction], Detections]) -> None:
        super().__init__()
        self.classes, self.detect = classes, detect
        # Flat and float32, as is what torchmetrics gathers from a process that saw no image.
        for name in ("found", "known", "counts"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, pred: BoxPrediction, target: BoxTargets) -> None:
        """Add rows; those of weight 0 are left out."""
        rows = (target.weight > 0).nonzero()[:, 0]
        found = Detections(*(part[rows] for part in self.detect(pred)))
        known = BoxTargets(*(part[rows] for part in target))
        self.found.append(_flat(found.boxes, found.labels, found.scores, found.present))
        self.known.append(_flat(known.boxes, known.labels, known.crowd, known.present))
        self.counts.append(torch.stack([found.present.sum(dim=1), known.present.sum(dim=1)], dim=1).float().flatten())

    def compute(self) -> dict[str, Tensor]:
        values = torch.empty((len(self.classes), IOUS), dtype=torch.float64)
        together = distributed.is_available() and distributed.is_initialized()
        if not together or distributed.get_rank() == 0:
            # A broadcast sends memory as it lies.
            values = torch.from_numpy(self._evaluate()).contiguous()
        if together:
            values = values.to(self.device)
            distributed.broadcast(values, src=0)
            values = values.cpu()
        means: dict[str, Tensor] = {"map": values, "map_50": values[:, 0], "map_75": values[:, 5]}
        each = {f"ap_{name}": row for name, row in zip(self.classes, values, strict=True)}
        return {name: value.nanmean() for name, value in (means | each).items()}

    def _evaluate(self) -> Float64[np.ndarray, "k t"]:
        counts = _joined(self.counts).reshape(-1, 2).astype(np.int64)
        found, known = (
            _boxes(_joined(part), count) for part, count in zip((self.found, self.known), counts.T, strict=True)
        )
        return average_precision(found, known, images=len(counts), classes=len(self.classes))


def _flat(boxes: Tensor, labels: Tensor, values: Tensor, present: Tensor) -> Float32[Tensor, " c"]:
    """Return what is present, row after row, `COLUMNS` numbers each."""
    return torch.cat([boxes, labels[..., None], values[..., None]], dim=-1)[present].float().flatten()


def _joined(parts: list[Tensor] | Tensor) -> Float32[np.ndarray, " c"]:
    return dim_zero_cat(parts).cpu().numpy() if len(parts) else np.zeros(0, dtype=np.float32)


def _boxes(flat: Float32[np.ndarray, " c"], counts: Int64[np.ndarray, " n"]) -> Boxes:
    table = flat.reshape(-1, COLUMNS).astype(np.float64)
    image = np.repeat(np.arange(len(counts)), counts)
    return Boxes(image, table[:, 4].astype(np.int64), table[:, :4], table[:, 5])
