"""TrainStep: one step of L = sum_t gamma_t (L_s,t + lambda_t L_u,t), and the only module that Fabric wraps.

Inside one forward: plan, views, passes, losses, and a single reduction over processes. Modules called around the
wrapper would neither synchronize nor complain, so nothing is.
"""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ssmtl.batch import Batch
from ssmtl.keyed import key
from ssmtl.models.multitask import MultiTaskModel, batch_statistics
from ssmtl.planning import Pass, Plan, draw_view, plan, rows_of
from ssmtl.recipe import Recipe
from ssmtl.strategies.base import Need, Rows
from ssmtl.task import Loss, Prediction, Target, Task
from ssmtl.views.geometry import Geometry, View, between, real_pixels
from ssmtl.views.render import Rendered, render

TINY = 1e-8


class Rendering(NamedTuple):
    """The rows of a view that were rendered: `slot[r]` is the place of batch row r in `pixels`."""

    pixels: Rendered
    slot: Tensor


class TrainStep(nn.Module):
    """Student, teacher and recipe as one module: `forward(batch, step, micro)` returns the loss and logged terms."""

    def __init__(self, recipe: Recipe, *, pretrained: bool = True) -> None:
        super().__init__()
        self.recipe = recipe
        self.student: MultiTaskModel = recipe.model.build(tuple(recipe.tasks.values()), pretrained=pretrained)
        self.teacher: MultiTaskModel = copy.deepcopy(self.student)
        self.teacher.requires_grad_(False).eval()
        self.policies = {
            (index, view): recipe.policy(source, view)
            for index, source in enumerate(recipe.sources)
            for view in recipe.used_views()
        }

    def train(self, mode: bool = True) -> "TrainStep":
        """Set the student's mode; the teacher always stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, step: int, micro: int = 0) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the loss to call backward on, and detached global values of every term and log entry.

        The loss is world size x sum of local totals / global counts, so that the mean over processes that data-parallel
        training takes is the loss of the global batch. Without any counted row a term is exactly 0.
        """
        world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        torch.manual_seed(key("dropout", self.recipe.seed, step, micro, rank))
        layout = plan(
            self.recipe.objectives,
            batch.served,
            batch.labeled,
            batch_statistics=self.student.has_batch_statistics,
        )
        rendered = {view: self._render(batch, view, rows, step, micro) for view, rows in layout.views.items()}
        predictions = self._predict(layout, rendered)
        terms, logged = self._losses(batch, rendered, predictions, step)
        return self._reduce(terms, logged, step, world)

    def update_teacher(self, step: int) -> None:
        """Move the teacher toward the student; call once after every optimizer step."""
        self.recipe.teacher.update(self.teacher, self.student, step)

    def _render(self, batch: Batch, view: View, rows: Tensor, step: int, micro: int) -> Rendering:
        """Render rows, each by its source's policy, with draws keyed by (seed, step, view, global position)."""
        parts, order = [], []
        for index, source in enumerate(self.recipe.sources):
            mine = rows[batch.sources[rows] == index]
            if len(mine):
                policy = self.policies[index, view.policy]
                keys = (self.recipe.seed, step, micro)
                draw = draw_view(policy, view, keys, batch.positions[mine], source.reader.canvas, batch.size[mine])
                where = mine.to(batch.images.device, non_blocking=True)
                parts.append(render(batch.images[where], draw))
                order.append(mine)
        slot = torch.full((len(batch),), -1)
        slot[torch.cat(order)] = torch.arange(len(rows))
        return Rendering(Rendered.cat(parts), slot)

    def _predict(self, layout: Plan, rendered: Mapping[View, Rendering]) -> dict[tuple[str, Need], Prediction]:
        predictions = {}
        for one in layout.passes:
            outputs = self._run(one, rendered)
            for (task, need), places in one.found.items():
                predictions[task, need] = _take(outputs[task], places, detach=not need.grad)
        return predictions

    def _run(self, one: Pass, rendered: Mapping[View, Rendering]) -> dict[str, Prediction]:
        images = torch.cat(
            [_rows(rendered[view].pixels.image, rendered[view].slot[rows]) for view, rows in one.views.items()]
        )
        model = self.student if one.model == "student" else self.teacher
        with torch.set_grad_enabled(one.grad), batch_statistics(model, one.bn):
            return model(images, one.heads)

    def _losses(
        self,
        batch: Batch,
        rendered: Mapping[View, Rendering],
        predictions: Mapping[tuple[str, Need], Prediction],
        step: int,
    ) -> tuple[dict[str, Loss], dict[str, Loss]]:
        terms, logged, shown = {}, {}, batch.without_audit()
        for objective in self.recipe.objectives:
            window = _Window(objective.task, shown, rendered, predictions, step, self.recipe.steps)
            for name, loss in objective.strategy.losses(objective.task, window).items():
                terms[f"{objective.task.name}/{name}"] = loss
            for name, loss in window.logged.items():
                logged[f"{objective.task.name}/{name}"] = loss
        return terms, logged

    def _reduce(
        self, terms: dict[str, Loss], logged: dict[str, Loss], step: int, world: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Divide by global counts with a single all-reduce, and weigh the terms."""
        entries = {**terms, **logged}
        totals = torch.stack([loss.total.float().sum() for loss in entries.values()])
        counts = torch.stack([loss.count.float().sum() for loss in entries.values()]).detach()
        sums = torch.stack([totals.detach(), counts])
        if world > 1:
            dist.all_reduce(sums)
        floors = torch.tensor([max(loss.floor, TINY) for loss in entries.values()])
        global_counts = sums[1].maximum(floors.to(sums.device, non_blocking=True))
        by_task = {objective.task.name: objective for objective in self.recipe.objectives}
        weights = [
            by_task[name.split("/")[0]].coefficient(name.split("/")[1], step, self.recipe.steps) for name in terms
        ]
        coefficients = torch.tensor(weights).to(totals.device, non_blocking=True)
        loss = world * (coefficients * totals[: len(terms)] / global_counts[: len(terms)]).sum()
        values = dict(zip(entries, (sums[0] / global_counts).unbind(), strict=True))
        values["loss"] = (coefficients * (sums[0] / global_counts)[: len(terms)]).sum()
        return loss, values


class _Window:
    """One task's view of the step: what `ssmtl.strategies.base.Step` promises."""

    def __init__(
        self,
        task: Task,
        batch: Batch,
        rendered: Mapping[View, Rendering],
        predictions: Mapping[tuple[str, Need], Prediction],
        number: int,
        steps: int,
    ) -> None:
        self.task, self.batch, self.rendered, self.predictions = task, batch, rendered, predictions
        self.number, self.steps = number, steps
        self.logged: dict[str, Loss] = {}

    def prediction(self, need: Need) -> Prediction:
        return self.predictions[self.task.name, need]

    def images(self, view: View, rows: Rows) -> Tensor:
        slots = self._slots(view, rows)
        return _rows(self.rendered[view].pixels.image, slots)

    def target(self, view: View) -> Target:
        rows, images = self._rows("labeled"), self.batch.images
        index = rows.to(images.device, non_blocking=True)
        labels = tree_map(lambda part: part[index], self.batch.targets[self.task.name])
        geometry = self._geometry(view, "labeled")
        real = real_pixels(self.batch.size[rows], (images.shape[2], images.shape[3]), images.device)
        return self.task.warp(labels, replace(geometry, valid=real))

    def move(self, source: View, into: View, rows: Rows) -> Geometry:
        return between(self._geometry(source, rows), self._geometry(into, rows))

    def log(self, name: str, value: Loss) -> None:
        self.logged[name] = replace(value, total=value.total.detach(), count=value.count.detach())

    def _rows(self, rows: Rows) -> Tensor:
        name = self.task.name
        return rows_of(rows, self.batch.served[name], self.batch.labeled[name])

    def _slots(self, view: View, rows: Rows) -> Tensor:
        slots = self.rendered[view].slot[self._rows(rows)] if view in self.rendered else torch.tensor([-1])
        if bool((slots < 0).any()):
            raise ValueError(
                f"the strategy of '{self.task.name}' reads the {rows} rows of the view {view}, which none of its needs "
                "asks for; add a Need for them"
            )
        return slots

    def _geometry(self, view: View, rows: Rows) -> Geometry:
        slots = self._slots(view, rows)
        return self.rendered[view].pixels.geometry.rows(slots)


def _rows(tensor: Tensor, index: Tensor) -> Tensor:
    """Select rows by a CPU index, without a copy when all are asked for in order."""
    if len(index) == len(tensor) and torch.equal(index, torch.arange(len(tensor))):
        return tensor
    return tensor[index.to(tensor.device, non_blocking=True)]


def _take(pred: Prediction, index: Tensor, *, detach: bool) -> Prediction:
    return tree_map(lambda part: _rows(part.detach() if detach else part, index), pred)
