"""What a run says of one image: columns of a row, boxes, masks and overlays, all in pixels of the source image."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch.utils._pytree import tree_map

from ssmtl.datasets.base import Reader
from ssmtl.datasets.canvas import place_image, shown_size
from ssmtl.datasets.wrapped import fit_of
from ssmtl.evaluate import cropped, predict
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.palette import Colors
from ssmtl.pictures import save_map, save_png, to_rgb
from ssmtl.recipe import Recipe
from ssmtl.task import Croppable, Prediction, Task

SIDES = ("left", "top", "right", "bottom")
BOX_COLUMNS = ("task", "label", "score", *SIDES)
Row: TypeAlias = dict[str, str]


@dataclass
class Answers:
    """Columns for one image's row, and a row for each of its boxes."""

    columns: Row = field(default_factory=dict)
    boxes: list[Row] = field(default_factory=list)


def answer_image(
    model: MultiTaskModel, recipe: Recipe, image: Image.Image, out: Path, stem: str, colors: Colors
) -> Answers:
    """Predict one image as it would come to the canvas in training, and write its masks and overlays below `out`."""
    reader = recipe.sources[0].reader
    shown = _shown(reader, image)
    placed = place_image(image, reader.canvas, reader.channels, shown)
    with torch.no_grad():
        outputs = predict(model, torch.from_numpy(placed)[None], tuple(recipe.tasks))
    answers = Answers()
    for name, task in recipe.tasks.items():
        pred = cropped(task, outputs[name], shown)
        (answer,) = task.decode(pred, [(image.height, image.width)])
        record = task.record(answer)
        answers.columns |= record.columns
        for title, values in record.maps.items():
            save_map(values, out / "masks" / f"{stem}--{name}{title and f'-{title}'}.png")
        answers.boxes += [_box_row(name, found) for found in record.objects if "bbox" in found]
        if isinstance(task, Croppable):
            _save_overlay(task, image, pred, out / "overlays" / f"{stem}--{name}.png", colors)
    return answers


def _box_row(task: str, found: dict[str, Any]) -> Row:
    left, top, width, height = found["bbox"]
    sides = (f"{side:.2f}" for side in (left, top, left + width, top + height))
    return dict(zip(BOX_COLUMNS, (task, found["category"], f"{found['score']:.4f}", *sides), strict=True))


def _save_overlay(task: Task, image: Image.Image, pred: Prediction, path: Path, colors: Colors) -> None:
    source = to_rgb(torch.from_numpy(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1).copy()))
    nothing = task.collate([None], (image.height, image.width))
    row = [tree_map(lambda part: part[0], of) for of in (nothing, pred)]
    save_png(task.draw(source, row[0], row[1], colors), path)


def _shown(reader: Reader, image: Image.Image) -> tuple[int, int]:
    """Return the part of the canvas that the image fills: as in training."""
    return shown_size((image.height, image.width), reader.canvas, fit_of(reader))
