"""TrainStep: one step of L = sum_t gamma_t (L_s,t + lambda_t L_u,t), and the only module that Fabric wraps.

Inside one forward: plan, views, passes, losses, and a single reduction over processes. Modules called around the
wrapper would neither synchronize nor complain, so nothing is.
"""

import copy
from collections.abc import Mapping

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ssmtl.batch import Batch
from ssmtl.keyed import key
from ssmtl.models.multitask import MultiTaskModel, batch_statistics
from ssmtl.planning import Pass, Plan, draw_view, plan
from ssmtl.recipe import Recipe
from ssmtl.strategies.base import Need
from ssmtl.task import Audited, Loss, Prediction, Task
from ssmtl.views.geometry import View
from ssmtl.views.render import Rendered, render
from ssmtl.window import Rendering, Window, forget_casts, take_rows

TINY = 1e-8


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
        self.watched: set[str] = set()
        """Names of logged values that are no terms of the loss, and may be NaN where nothing was counted."""

    def train(self, mode: bool = True) -> "TrainStep":
        """Set the student's mode; the teacher always stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, step: int, micro: int = 0) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the loss to call backward on, and detached global values of every term and log entry.

        The loss is world size x sum of local totals / global counts, so that the mean over processes that data-parallel
        training takes is the loss of the global batch. Without any counted row a term is exactly 0, and a value that is
        only logged NaN.
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
        keys = (self.recipe.seed, step, micro, rank)
        terms, logged = self._losses(batch, rendered, predictions, keys)
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
            [take_rows(rendered[view].pixels.image, rendered[view].slot[rows]) for view, rows in one.views.items()]
        )
        model = self.student if one.model == "student" else self.teacher
        # A row that nobody asked for is no sample of the data, and one alone has no statistics.
        with torch.set_grad_enabled(one.grad), batch_statistics(model, "eval" if one.borrowed else one.bn):
            found = model(images, one.heads)
        if not one.grad:
            forget_casts()
        return found

    def _losses(
        self,
        batch: Batch,
        rendered: Mapping[View, Rendering],
        predictions: Mapping[tuple[str, Need], Prediction],
        keys: tuple[int, int, int, int],
    ) -> tuple[dict[str, Loss], dict[str, Loss]]:
        terms: dict[str, Loss] = {}
        logged: dict[str, Loss] = {}
        shown = batch.without_audit()
        for objective in self.recipe.objectives:
            task = objective.task
            window = Window(task, shown, rendered, predictions, keys, self.recipe.steps, self.student)
            for name, loss in objective.strategy.losses(task, window).items():
                terms[f"{task.name}/{name}"] = loss
            with torch.no_grad():
                audited = _audit(task, window, batch)
            logged |= {f"{task.name}/{name}": loss for name, loss in (window.logged | audited).items()}
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
        self.watched = set(logged)
        defined = (sums[1] > 0) | (torch.arange(len(entries)) < len(terms)).to(sums.device, non_blocking=True)
        shown = (sums[0] / global_counts).where(defined, torch.nan)
        values = dict(zip(entries, shown.unbind(), strict=True))
        values["loss"] = (coefficients * (sums[0] / global_counts)[: len(terms)]).sum()
        return loss, values


def _take(pred: Prediction, index: Tensor, *, detach: bool) -> Prediction:
    return tree_map(lambda part: take_rows(part.detach() if detach else part, index), pred)


def _audit(task: Task, window: Window, batch: Batch) -> dict[str, Loss]:
    """Hold what a strategy guessed against the labels that it cannot see, not even through its window."""
    found: dict[str, Loss] = {}
    if not isinstance(task, Audited) or task.name not in batch.audit:
        return found
    for view, rows, target in window.guesses:
        found |= task.audit(target, window.hidden(batch, view, rows))
    for rows, dropped in window.masks:
        foreign = task.foreign(window.hidden(batch, None, rows))
        # MixMatch masks K copies of the rows: all rows of the first, then of the next.
        copies = len(dropped) // max(1, len(foreign.count))
        hits, known = foreign.total.repeat(copies), foreign.count.repeat(copies)
        found["foreign"] = foreign
        found["ood_masked"] = Loss(dropped.float(), torch.ones_like(known))
        found["ood_hits"] = Loss(hits * dropped, known * dropped)
    return found
