"""Metrics and pictures over a split, with no gradient and no augmentation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.datasets.cached import CachedTable
from ssmtl.errors import DataError
from ssmtl.loader import CACHE_BYTES, Evaluated, batch_loader, delivered, targets_of
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.models.saliency_bridge import saliency
from ssmtl.pictures import heat, save_png, to_rgb
from ssmtl.recipe import Recipe, Split
from ssmtl.task import Target, Task

ROWS = 16
PICTURE_SIDE = 256


@dataclass(frozen=True)
class EvaluationBatch:
    """Images uint8 [n, c, H, W] and targets, on the CPU, with the samples' names."""

    images: UInt8[Tensor, "n c H W"]
    targets: dict[str, Target]
    names: tuple[str, ...]


class SplitLoader:
    """One split, opened once and read again at every evaluation; each process takes every `world`-th sample."""

    def __init__(self, recipe: Recipe, split: Split, *, rank: int = 0, world: int = 1, workers: int = 0) -> None:
        self.split = split
        self.tasks: dict[str, Task] = {name: recipe.tasks[name] for name in split.tasks}
        table = CachedTable(split.reader.open(), CACHE_BYTES // 4)
        for name, task in self.tasks.items():
            if not table.annotated(task.annotation).any():
                raise DataError(
                    f"the split '{split.name}' holds no '{task.annotation}' annotation to score '{name}' with; "
                    "point it at annotated data, or take the task out of its `tasks`."
                )
        self.table = table
        mine = range(rank, len(table), world)
        batches = [mine[first : first + ROWS] for first in range(0, len(mine), ROWS)]
        self.loader = batch_loader(Evaluated(table), self._collate, batches, workers=workers, persistent=True)

    def __iter__(self) -> Iterator[EvaluationBatch]:
        return delivered(self.loader)

    def _collate(self, samples: list[Any]) -> EvaluationBatch:
        return EvaluationBatch(
            images=torch.stack([torch.from_numpy(sample.image) for sample in samples]),
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
            outputs = predict(model, batch.images.to(device), tuple(data.tasks))
            for name, collection in metrics.items():
                target = tree_map(lambda part: part.to(device), batch.targets[name])
                collection.update(outputs[name], target)
    finally:
        model.train(was_training)
    return {
        f"{name}/{metric}": float(value)
        for name, collection in metrics.items()
        for metric, value in collection.compute().items()
    }


def predict(model: MultiTaskModel, images: UInt8[Tensor, "n c H W"], tasks: tuple[str, ...]) -> dict[str, Any]:
    """Return every named task's predictions for images as they are, in float32."""
    with torch.autocast(images.device.type, enabled=False):
        rows = torch.arange(len(images))
        return model(images.float() / 255.0, dict.fromkeys(tasks, rows))


def geometric_mean(recipe: Recipe, values: dict[str, float]) -> float:
    """Return the geometric mean of the headline metrics in `values`, in [0, 1]; NaN counts as 0."""
    names = [recipe.headline(task) for task in recipe.tasks if recipe.headline(task) in values]
    numbers = [0.0 if math.isnan(values[name]) else max(0.0, values[name]) for name in names]
    return math.prod(numbers) ** (1.0 / len(numbers)) if numbers else math.nan


def draw_pictures(
    model: MultiTaskModel, data: SplitLoader, device: torch.device, folder: Path, count: int = 4
) -> list[Path]:
    """Write predictions beside references, and saliency maps of classifiers, of evenly spaced samples of a split."""
    rows = torch.linspace(0, len(data.table) - 1, min(count, len(data.table))).long().tolist()
    batch = data._collate([data.table[row] for row in rows])
    model.eval()
    with torch.no_grad():
        outputs = predict(model, batch.images.to(device), tuple(data.tasks))
    written = []
    for name, task in data.tasks.items():
        for index, row in enumerate(rows):
            target = tree_map(lambda part, i=index: _enlarged(part[i]), batch.targets[name])
            pred = tree_map(lambda part, i=index: part[i].cpu(), outputs[name])
            picture = task.draw(to_rgb(_enlarged(batch.images[index])), target, pred)
            written.append(save_png(picture, folder / f"{data.split.name}--{name}--{row:05d}.png"))
        if task.annotation == "label":
            maps = _saliency(model, batch.images.to(device), name).cpu()
            for index, row in enumerate(rows):
                picture = heat(to_rgb(_enlarged(batch.images[index])), _enlarged(maps[index]))
                written.append(save_png(picture, folder / f"{data.split.name}--{name} saliency--{row:05d}.png"))
    return written


def _enlarged(part: Tensor) -> Tensor:
    """Repeat the pixels of a small image or map, so that outlines and letters on it stay thin."""
    zoom = max(1, PICTURE_SIDE // max(part.shape[-2:])) if part.ndim >= 2 else 1
    return part.repeat_interleave(zoom, -2).repeat_interleave(zoom, -1) if zoom > 1 else part


def _saliency(model: MultiTaskModel, images: UInt8[Tensor, "n c h w"], task: str) -> Float[Tensor, "n 1 h w"]:
    """Return where the classifier's score reacts to the input."""
    normalized = (images.float() / 255.0 - model.mean) / model.std
    return saliency(model.encoder, model.heads[task], normalized)
