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
from ssmtl.palette import PLACED, Colors
from ssmtl.pictures import save_png, to_rgb
from ssmtl.recipe import Recipe
from ssmtl.task import Classified, Prediction, Task

COUNTED = 0.5
"""Score from which on a box counts as an object."""
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
        if task.annotation == "mask":
            answers.columns |= _areas(task, answer)
            visible = 255 if len(_classes(task)) == 1 else 1  # class indices where there are several
            save_png(torch.from_numpy(answer * np.uint8(visible))[None], out / "masks" / f"{stem}--{name}.png")
        elif task.annotation == "boxes":
            answers.columns |= _counts(task, answer)
            answers.boxes += _box_rows(name, answer)
        else:
            answers.columns |= {name: answer.name, f"{name}_probability": f"{answer.probability:.4f}"}
            answers.columns |= {f"{name}_{label}": f"{value:.4f}" for label, value in answer.probabilities.items()}
        if task.annotation in PLACED:
            _save_overlay(task, image, pred, out / "overlays" / f"{stem}--{name}.png", colors)
    return answers


def _areas(task: Task, mask: np.ndarray[Any, np.dtype[np.uint8]]) -> Row:
    """Return the share of the image that is foreground, or that shows each of several classes."""
    names = _classes(task)
    if len(names) <= 1:
        return {f"{task.name}_area": f"{(mask > 0).mean():.4f}"}
    return {f"{task.name}_{label}_area": f"{(mask == index).mean():.4f}" for index, label in enumerate(names)}


def _counts(task: Task, answer: Any) -> Row:
    sure = answer.labels[answer.scores >= COUNTED]
    return {f"{task.name}_{label}": str(int((sure == index).sum())) for index, label in enumerate(_classes(task))}


def _box_rows(task: str, answer: Any) -> list[Row]:
    rows = zip(answer.names, answer.scores.tolist(), answer.boxes.tolist(), strict=True)
    cells = [(task, name, f"{score:.4f}", *(f"{side:.2f}" for side in box)) for name, score, box in rows]
    return [dict(zip(BOX_COLUMNS, row, strict=True)) for row in cells]


def _save_overlay(task: Task, image: Image.Image, pred: Prediction, path: Path, colors: Colors) -> None:
    source = to_rgb(torch.from_numpy(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1).copy()))
    nothing = task.collate([None], (image.height, image.width))
    row = [tree_map(lambda part: part[0], of) for of in (nothing, pred)]
    save_png(task.draw(source, row[0], row[1], colors), path)


def _classes(task: Task) -> tuple[str, ...]:
    return task.classes if isinstance(task, Classified) else ()


def _shown(reader: Reader, image: Image.Image) -> tuple[int, int]:
    """Return the part of the canvas that the image fills: as in training."""
    return shown_size((image.height, image.width), reader.canvas, fit_of(reader))
