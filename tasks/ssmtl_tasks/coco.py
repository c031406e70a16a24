"""Average precision by the code that COCO itself is scored with, from boxes in memory."""

import io
from contextlib import redirect_stdout
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

try:
    import faster_coco_eval
except ImportError:
    faster_coco_eval = None

IOUS = 10
"""Limits of the IoU: 0.50, 0.55 to 0.95."""
MOST = 100
"""Of each class, as many detections of an image are looked at, the best ones (COCO's maxDets)."""
ALL_SIZES = (0.0, 1e10)


class Boxes(NamedTuple):
    """Boxes of a set of images, counted from 0: their image, class, (left, top, right, bottom), and one value more.

    The value is the score of a detection, and of an object 1 where it is a crowd, else 0.
    """

    image: Int64[np.ndarray, " m"]
    label: Int64[np.ndarray, " m"]
    corners: Float64[np.ndarray, "m 4"]
    value: Float64[np.ndarray, " m"]


class Tools(NamedTuple):
    """A package that scores as COCO does: its class of annotations and its class of evaluations."""

    annotations: Any
    evaluation: Any


PYCOCOTOOLS = Tools(COCO, COCOeval)
FASTER = faster_coco_eval and Tools(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)
"""The extra `fast-coco`: the same numbers in less time. None where it isn't installed."""


def average_precision(
    found: Boxes, known: Boxes, *, images: int, classes: int, tools: Tools = FASTER or PYCOCOTOOLS
) -> Float64[np.ndarray, "k t"]:
    """Return AP in [0, 1] of each class at each IoU; NaN for a class without an object.

    It is the mean of the interpolated precision at 101 recalls (Lin et al. 2014, and COCO's detection challenge), with
    objects of all sizes. A detection is right when its IoU with an object of its class that no better one has taken
    reaches the limit; one that is inside of a crowd to that share is neither right nor wrong. Of detections with the
    same score those of the earlier image, and in an image the earlier ones, go first.
    """
    if not (known.value == 0).any():
        return np.full((classes, IOUS), np.nan)
    header = {"images": [{"id": image} for image in range(images)], "categories": [{"id": k} for k in range(classes)]}
    objects = _annotations(known, "iscrowd", known.value.astype(np.int64).tolist())
    detections = _annotations(found, "score", found.value.tolist())
    with redirect_stdout(io.StringIO()):
        tables = [_table(tools, {**header, "annotations": rows}) for rows in (objects, detections)]
        evaluation = tools.evaluation(*tables, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(ALL_SIZES)], ["all"]
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    precision: Float64[np.ndarray, "t r k"] = np.asarray(evaluation.eval["precision"])[..., 0, 0]
    values = precision.mean(axis=1).T
    # Where there is nothing to find, COCO says -1.
    return np.where(values < 0, np.nan, values)


def _table(tools: Tools, data: dict[str, Any]) -> Any:
    table = tools.annotations()
    table.dataset = data
    table.createIndex()
    return table


def _annotations(boxes: Boxes, name: str, values: list[Any]) -> list[dict[str, Any]]:
    """Return boxes as COCO writes them: (left, top, width, height), numbered from 1, as 0 means "not matched"."""
    sides = boxes.corners[:, 2:] - boxes.corners[:, :2]
    places = np.concatenate([boxes.corners[:, :2], sides], axis=1).tolist()
    rows = zip(boxes.image.tolist(), boxes.label.tolist(), places, sides.prod(axis=1).tolist(), values, strict=True)
    return [
        {"id": number, "image_id": image, "category_id": label, "bbox": place, "area": area, "iscrowd": 0, name: value}
        for number, (image, label, place, area, value) in enumerate(rows, start=1)
    ]
