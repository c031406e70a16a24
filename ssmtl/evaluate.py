"""Metrics and pictures over a split, with no gradient and no augmentation."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.datasets.cached import CACHE_BYTES, remembered
from ssmtl.errors import DataError, RecipeError
from ssmtl.loader import Evaluated, batch_loader, delivered, targets_of
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.models.saliency_bridge import saliency
from ssmtl.palette import Colors
from ssmtl.pictures import at_most, enlarged, heat, recipe_colors, save_png, to_rgb, zoom_of
from ssmtl.recipe import Recipe, Split
from ssmtl.task import Bounded, Croppable, Prediction, Target, Task
from ssmtl.tiling import in_tiles
from ssmtl.views.geometry import Geometry

ROWS = 16
PIXELS = ROWS * 512 * 512
"""Most images, and about as many pixels, that are scored at once."""
LARGEST = 1600
"""Longest side in pixels of a picture that is written."""


@dataclass(frozen=True)
class EvaluationBatch:
    """Images uint8 [n, c, H, W] and targets, on the CPU, with the samples' names."""

    images: UInt8[Tensor, "n c H W"]
    sizes: Int64[Tensor, "n 2"]
    """(Height, width) of the canvas, from its top left corner, that shows each image."""
    targets: dict[str, Target]
    names: tuple[str, ...]


class SplitLoader:
    """One split, opened once and read again at every evaluation; each process takes every `world`-th sample."""

    def __init__(self, recipe: Recipe, split: Split, *, rank: int = 0, world: int = 1, workers: int = 0) -> None:
        self.split = split
        self.tasks: dict[str, Task] = {name: recipe.tasks[name] for name in split.tasks}
        self.colors = recipe_colors(recipe)
        table = remembered(split.reader.open(), CACHE_BYTES // 4)
        for name, task in self.tasks.items():
            if not table.annotated(task.reads).any():
                raise DataError(
                    f"the split '{split.name}' holds no '{task.reads}' annotation to score '{name}' with; "
                    "point it at annotated data, or take the task out of its `tasks`."
                )
            theirs = split.reader.classes(task.reads) if task.annotation == "label" else ()
            for index in range(len(theirs)):
                task.target(index, theirs)  # a class that the task doesn't know is refused before training
        self.table = table
        mine = range(rank, len(table), world)
        rows = max(1, min(ROWS, PIXELS // math.prod(split.reader.canvas)))
        batches = [mine[first : first + rows] for first in range(0, len(mine), rows)]
        self.loader = batch_loader(Evaluated(table), self._collate, batches, workers=workers, persistent=True)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        return delivered(self.loader)

    def _collate(self, samples: list[Any]) -> EvaluationBatch:
        return EvaluationBatch(
            images=torch.stack([torch.from_numpy(sample.image) for sample in samples]),
            sizes=torch.tensor([sample.size for sample in samples]),
            targets=targets_of(self.tasks, self.split.reader, samples),
            names=tuple(sample.name for sample in samples),
        )


@torch.no_grad()
def evaluate(model: MultiTaskModel, data: SplitLoader, device: torch.device) -> dict[str, float]:
    """Return `{task/metric: value}` over a split; the model's mode is restored.

    Values that a metric can't define (no sample of a class, say) are NaN.
    """
    metrics = {name: task.metrics().to(device) for name, task in data.tasks.items()}
    was_training = model.training
    model.eval()
    try:
        for batch in data:
            outputs = predict(model, batch.images.to(device), tuple(data.tasks), data.split.tile)
            for name, collection in metrics.items():
                target = tree_map(lambda part: part.to(device), batch.targets[name])
                task, pred = data.tasks[name], outputs[name]
                collection.update(task.bounded(pred, batch.sizes) if isinstance(task, Bounded) else pred, target)
    finally:
        model.train(was_training)
    return {
        f"{name}/{metric}": float(value)
        for name, collection in metrics.items()
        for metric, value in collection.compute().items()
    }


def predict(
    model: MultiTaskModel, images: UInt8[Tensor, "n c H W"], tasks: tuple[str, ...], tile: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return every named task's predictions for images as they are, in float32.

    `tile` is the (height, width) in pixels that are predicted at a time, see `in_tiles`; None for whole images. Raises
    RecipeError when a GPU has too little memory for them, and for a task that can't be predicted in tiles.
    """

    def run(part: UInt8[Tensor, "n c h w"]) -> dict[str, Any]:
        return model(part.float() / 255.0, dict.fromkeys(tasks, torch.arange(len(part))))

    try:
        with torch.autocast(images.device.type, enabled=False):
            return run(images) if tile is None else in_tiles(run, images, tile, stride=model.encoder.spec.strides[-1])
    except torch.OutOfMemoryError as error:
        height, width = tile or images.shape[-2:]
        raise RecipeError(
            f"{images.device} has too little memory to predict {len(images)} image(s) at a time, {height} x {width} "
            f"pixels of each; give the reader a smaller canvas, or, for tasks of masks alone, let their split predict "
            f"{'smaller tiles' if tile else 'tiles'}, such as tile=({height // 2}, {width // 2})."
        ) from error


def scores_once(splits: Iterable[Split], tasks: Iterable[str]) -> bool:
    """Tell whether every task is scored on one of the splits, so that their scores have one mean."""
    return sorted(task for split in splits for task in split.tasks) == sorted(tasks)


def geometric_mean(recipe: Recipe, values: dict[str, float]) -> float:
    """Return the geometric mean of the headline metrics in `values`, in [0, 1]; NaN counts as 0."""
    names = [recipe.headline(task) for task in recipe.tasks if recipe.headline(task) in values]
    numbers = [0.0 if math.isnan(values[name]) else max(0.0, values[name]) for name in names]
    return math.prod(numbers) ** (1.0 / len(numbers)) if numbers else math.nan


def draw_pictures(
    model: MultiTaskModel, data: SplitLoader, device: torch.device, folder: Path, count: int = 4
) -> list[Path]:
    """Write predictions beside references, and saliency maps of classifiers, of evenly spaced samples of a split."""
    model.eval()
    written = []
    for row in torch.linspace(0, len(data.table) - 1, min(count, len(data.table))).long().tolist():
        sample = data.table[row]
        batch = data._collate([sample])
        images = batch.images.to(device)
        with torch.no_grad():
            outputs = predict(model, images, tuple(data.tasks), data.split.tile)
        for name, task in data.tasks.items():
            pred = tree_map(Tensor.cpu, outputs[name])
            pictures = {name: draw_row(task, batch.images[0], batch.targets[name], pred, sample.size, data.colors)}
            if task.annotation == "label":
                level = enlarged(_saliency(model, images, name).cpu()[0], sample.size)
                pictures[f"{name} saliency"] = heat(enlarged(to_rgb(batch.images[0]), sample.size), level)
            for title, picture in pictures.items():
                place = folder / f"{data.split.name}--{title}--{row:05d}.png"
                written.append(save_png(at_most(picture, LARGEST), place))
    return written


def draw_row(
    task: Task,
    image: UInt8[Tensor, "c H W"],
    target: Target,
    pred: Prediction,
    size: tuple[int, int],
    colors: Colors,
) -> UInt8[Tensor, "3 _ _"]:
    """Draw one image, with target and prediction as batches of one row, small ones enlarged by a whole factor.

    `size` is the (height, width) of the canvas that shows the image; the rest of it is left out.
    """
    zoom = zoom_of(size)
    half = (zoom - 1) / 2  # the first pixel's center lands in the middle of the zoom x zoom pixels that it becomes
    matrix = torch.tensor([[[zoom, 0, half], [0, zoom, half], [0, 0, 1]]], dtype=torch.float64)
    target = task.warp(target, Geometry(matrix, (zoom * size[0], zoom * size[1])))
    pred = cropped(task, pred, size)
    target, pred = (tree_map(lambda part: part[0], of) for of in (target, pred))
    return task.draw(enlarged(to_rgb(image), size), target, pred, colors)


def cropped(task: Task, pred: Prediction, size: tuple[int, int]) -> Prediction:
    """Return what is predicted for the top left (height, width) pixels, of tasks whose predictions have places."""
    return task.crop(pred, size) if isinstance(task, Croppable) else pred


def _saliency(model: MultiTaskModel, images: UInt8[Tensor, "n c h w"], task: str) -> Float[Tensor, "n 1 h w"]:
    """Return where the classifier's score reacts to the input."""
    normalized = (images.float() / 255.0 - model.mean) / model.std
    return saliency(model.encoder, model.heads[task], normalized)
