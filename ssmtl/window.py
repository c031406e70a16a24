"""One task's window on a training step: what `ssmtl.strategies.base.Step` promises to a strategy."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.batch import Batch
from ssmtl.keyed import key
from ssmtl.models.multitask import MultiTaskModel, batch_statistics
from ssmtl.planning import rows_of
from ssmtl.strategies.base import Need, Rows, Statistics
from ssmtl.task import Loss, Perturb, Prediction, Target, Task
from ssmtl.views.geometry import Geometry, View, between, real_pixels
from ssmtl.views.render import Rendered


class Rendering(NamedTuple):
    """The rows of a view that were rendered: `slot[r]` is the place of batch row r in `pixels`."""

    pixels: Rendered
    slot: Tensor


class Window:
    """What a strategy sees of a step; `batch` holds no hidden label.

    `keys` are the recipe's seed, the step, the micro-step and the process. `logged`, `guesses` and `masks` collect what
    the strategy reports.
    """

    def __init__(
        self,
        task: Task,
        batch: Batch,
        rendered: Mapping[View, Rendering],
        predictions: Mapping[tuple[str, Need], Prediction],
        keys: tuple[int, int, int, int],
        steps: int,
        student: MultiTaskModel,
    ) -> None:
        self.task, self.batch, self.rendered, self.predictions = task, batch, rendered, predictions
        self.keys, self.steps, self.student = keys, steps, student
        self.number = keys[1]
        self.logged: dict[str, Loss] = {}
        self.guesses: list[tuple[View, Rows, Target]] = []
        self.masks: list[tuple[Rows, Tensor]] = []

    def prediction(self, need: Need) -> Prediction:
        return self.predictions[self.task.name, need]

    def images(self, view: View, rows: Rows) -> Tensor:
        slots = self._slots(view, rows)
        return take_rows(self.rendered[view].pixels.image, slots)

    def target(self, view: View) -> Target:
        return self._labels(self.batch, view, "labeled")

    def move(self, source: View, into: View, rows: Rows) -> Geometry:
        return between(self._geometry(source, rows), self._geometry(into, rows))

    def predict(
        self, images: Float[Tensor, "n c h w"], *, bn: Statistics = "batch", features: Perturb | None = None
    ) -> Prediction:
        rows = {self.task.name: torch.arange(len(images))}
        with batch_statistics(self.student, bn if len(images) > 1 else "eval"):  # one alone has no statistics
            pred = self.student(images, rows, features)[self.task.name]
        if not torch.is_grad_enabled():
            forget_casts()
        return pred

    def noise(self, rows: Rows, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        seed, step, micro, _ = self.keys
        positions = self.batch.positions[self._rows(rows)].tolist()
        normal = torch.empty(len(positions), *shape)
        for row, position in zip(normal, positions, strict=True):
            seeded = torch.Generator().manual_seed(key("noise", seed, step, micro, self.task.name, position))
            row.normal_(generator=seeded)
        return normal.to(self.batch.images.device, non_blocking=True)

    def random(self) -> np.random.Generator:
        return np.random.default_rng(key("random", *self.keys, self.task.name))

    def log(self, name: str, value: Loss) -> None:
        self.logged[name] = replace(value, total=value.total.detach(), count=value.count.detach())

    def audit(self, view: View, rows: Rows, target: Target) -> None:
        self.guesses.append((view, rows, tree_map(Tensor.detach, target)))

    def audit_mask(self, rows: Rows, dropped: Bool[Tensor, " n"]) -> None:
        self.masks.append((rows, dropped))

    def hidden(self, batch: Batch, view: View | None, rows: Rows) -> Target:
        """Return the hidden labels of a batch that isn't this window's own, moved into a view if there is one."""
        return self._labels(batch, view, rows, of="audit")

    def _labels(self, batch: Batch, view: View | None, rows: Rows, of: str = "targets") -> Target:
        index, images = self._rows(rows), batch.images
        there = index.to(images.device, non_blocking=True)
        labels = tree_map(lambda part: part[there], getattr(batch, of)[self.task.name])
        if view is None:
            return labels
        real = real_pixels(batch.size[index], (images.shape[2], images.shape[3]), images.device)
        return self.task.warp(labels, replace(self._geometry(view, rows), valid=real))

    def _rows(self, rows: Rows) -> Tensor:
        name = self.task.name
        return rows_of(rows, self.batch.served[name], self.batch.labeled[name])

    def _slots(self, view: View, rows: Rows) -> Tensor:
        slots = self.rendered[view].slot[self._rows(rows)] if view in self.rendered else torch.tensor([-1])
        if bool((slots < 0).any()):
            raise ValueError(
                f"the strategy of '{self.task.name}' reads the {rows} rows of the view {view}, which none of its needs "
                "asks for; add a Need or a Look for them"
            )
        return slots

    def _geometry(self, view: View, rows: Rows) -> Geometry:
        slots = self._slots(view, rows)
        return self.rendered[view].pixels.geometry.rows(slots)


def forget_casts() -> None:
    """Drop the weights that autocast has cast without a graph.

    PyTorch 2.8 hands them on to passes that train, whose weights then get no gradient; 2.15 does so no more.
    """
    torch.clear_autocast_cache()


def take_rows(tensor: Tensor, index: Tensor) -> Tensor:
    """Select rows by a CPU index, without a copy when all are asked for in order."""
    if len(index) == len(tensor) and torch.equal(index, torch.arange(len(tensor))):
        return tensor
    return tensor[index.to(tensor.device, non_blocking=True)]
