"""What a run says of one image: columns of a row, objects, masks and overlays, all in pixels of the source image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from pycocotools import mask as coco_mask
from torch.utils._pytree import tree_map

from ssmtl.errors import RecipeError
from ssmtl.evaluate import cropped
from ssmtl.palette import Colors
from ssmtl.pictures import save_map, save_png, to_rgb
from ssmtl.task import Croppable, Prediction, Task

DECIMALS = 2
"""Of coordinates and areas in pixels that are written."""
SCORE_DECIMALS = 4
MASKS, OVERLAYS = "masks", "overlays"
"""Folders of pictures that are written."""

Row: TypeAlias = dict[str, str]
Found: TypeAlias = dict[str, Any]
"""An object as COCO's annotations have it, with the name of its "task", and of its class as "category"."""


@dataclass
class Answers:
    """One image's columns, its objects, and the pictures that were written, relative to the folder of all."""

    columns: Row = field(default_factory=dict)
    objects: list[Found] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)


def write_answers(
    tasks: Mapping[str, Task],
    outputs: Mapping[str, Prediction],
    image: Image.Image,
    shown: tuple[int, int],
    out: Path,
    stem: str,
    colors: Colors,
) -> Answers:
    """Return what predictions, a batch of one row, say of an image, and write its masks and overlays below `out`.

    `shown` is the (height, width) of the canvas that showed the image. Raises RecipeError where two tasks would write
    one column.
    """
    answers, owners = Answers(), dict[str, str]()
    for name, task in tasks.items():
        pred = cropped(task, outputs[name], shown)
        (answer,) = task.decode(pred, [(image.height, image.width)])
        record = task.record(answer)
        for column in record.columns:
            if owners.setdefault(column, name) != name:
                raise RecipeError(
                    f"the tasks '{owners[column]}' and '{name}' both write the column '{column}' of predictions.csv; "
                    "call one of them, or a class of theirs, otherwise."
                )
        answers.columns |= record.columns
        answers.objects += [_plain(name, found) for found in record.objects]
        for title, values in record.maps.items():
            place = f"{MASKS}/{stem}--{name}{title and f'-{title}'}.png"
            save_map(values, out / place)
            answers.pictures.append(place)
        if isinstance(task, Croppable):
            place = f"{OVERLAYS}/{stem}--{name}.png"
            _save_overlay(task, image, pred, out / place, colors)
            answers.pictures.append(place)
    return answers


def _plain(task: str, found: Found) -> Found:
    """Return an object as JSON holds it: a region run-length encoded, with its box and area."""
    plain = {"task": task, **found}
    if "segmentation" in plain:
        plain |= _encoded(plain["segmentation"])
    if "bbox" in plain:
        plain["bbox"] = [round(float(side), DECIMALS) for side in plain["bbox"]]
        plain.setdefault("area", round(plain["bbox"][2] * plain["bbox"][3], DECIMALS))
    if "score" in plain:
        plain["score"] = round(float(plain["score"]), SCORE_DECIMALS)
    return plain


def _encoded(region: Bool[np.ndarray, "h w"]) -> Found:
    code = coco_mask.encode(np.asfortranarray(region, dtype=np.uint8))
    box, area = coco_mask.toBbox(code).tolist(), int(coco_mask.area(code))
    size = [int(side) for side in code["size"]]
    return {"segmentation": {"size": size, "counts": code["counts"].decode()}, "bbox": box, "area": area}


def _save_overlay(task: Task, image: Image.Image, pred: Prediction, path: Path, colors: Colors) -> None:
    source = to_rgb(torch.from_numpy(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1).copy()))
    nothing = task.collate([None], (image.height, image.width))
    row = [tree_map(lambda part: part[0], of) for of in (nothing, pred)]
    save_png(task.draw(source, row[0], row[1], colors), path)
