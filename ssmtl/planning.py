"""Which rows each prediction needs, and how many passes through which model that takes: decided on the CPU, per batch.

One pass per (model, bn): views are concatenated, so the student sees its weak and strong rows in one forward, as the
references do. A student without batch statistics is split once more, so that rows whose result is an argmax leave no
tape. Rows that no loss reads never enter a pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ssmtl.keyed import key
from ssmtl.objective import Objective
from ssmtl.strategies.base import Model, Need, Rows, Statistics
from ssmtl.views.geometry import View
from ssmtl.views.policy import Draw, Policy

RowIndex = Int64[Tensor, " _"]
Mask = Bool[Tensor, " _"]


@dataclass(frozen=True)
class Pass:
    """One forward: the rows of each view, in order of `views`, and where each (task, need) finds its predictions."""

    model: Model
    bn: Statistics
    grad: bool
    views: dict[View, RowIndex]
    heads: dict[str, RowIndex]
    """Per task, the places in this pass that its head predicts."""
    found: dict[tuple[str, Need], RowIndex]
    """Per task and need, the places in the head's output."""
    borrowed: bool = False


@dataclass(frozen=True)
class Plan:
    """Passes of a batch, and the rows that must be rendered per view: the first one where none is needed."""

    passes: tuple[Pass, ...]
    views: dict[View, RowIndex]


def rows_of(rows: Rows, served: Mask, labeled: Mask) -> RowIndex:
    """Return the batch rows that a need means, among those that serve the task."""
    masks = {"labeled": served & labeled, "unlabeled": served & ~labeled, "all": served}
    return masks[rows].nonzero()[:, 0]


def plan(
    objectives: Sequence[Objective],
    served: Mapping[str, Mask],
    labeled: Mapping[str, Mask],
    *,
    batch_statistics: bool,
) -> Plan:
    """Plan a batch from its CPU masks; the same passes come out for every batch, whatever it holds."""
    needs = [(o.task.name, need) for o in objectives for need in sorted(o.strategy.needs())]
    rows = {(t, need): rows_of(need.rows, served[t], labeled[t]) for t, need in needs}
    by_pass: dict[tuple[Model, Statistics, bool], list[tuple[str, Need]]] = {}
    for task, need in needs:
        tape = need.model == "student" and (need.grad or batch_statistics)
        by_pass.setdefault((need.model, need.bn, tape), []).append((task, need))
    passes = tuple(
        _pass(key, members, rows) for key, members in sorted(by_pass.items(), key=lambda item: item[0], reverse=True)
    )
    views: dict[View, RowIndex] = {}
    for one in passes:
        for view, index in one.views.items():
            views[view] = torch.cat([views[view], index]).unique() if view in views else index
    for objective in objectives:
        name = objective.task.name
        for look in sorted(objective.strategy.looks()):
            index = rows_of(look.rows, served[name], labeled[name])
            views[look.view] = torch.cat([views[look.view], index]).unique() if look.view in views else index
    first = torch.zeros(1, dtype=torch.int64)
    return Plan(passes, {view: index if len(index) else first for view, index in views.items()})


def _pass(
    key: tuple[Model, Statistics, bool], members: list[tuple[str, Need]], rows: Mapping[tuple[str, Need], RowIndex]
) -> Pass:
    """Lay out one pass; a pass without any row borrows the batch's first, so that every process runs it."""
    views = {}
    for view in sorted({need.view for _, need in members}):
        views[view] = torch.cat([rows[t, need] for t, need in members if need.view == view]).unique()
    borrowed = not sum(len(index) for index in views.values())
    if borrowed:
        views[next(iter(views))] = torch.zeros(1, dtype=torch.int64)
    starts = dict(zip(views, _starts([len(index) for index in views.values()]), strict=True))
    places = {(t, need): starts[need.view] + torch.searchsorted(views[need.view], rows[t, need]) for t, need in members}
    heads = {
        task: torch.cat([places[t, need] for t, need in members if t == task]).unique()
        for task in dict.fromkeys(t for t, _ in members)
    }
    found = {(t, need): torch.searchsorted(heads[t], places[t, need]) for t, need in members}
    model, bn, tape = key
    grad = tape and any(need.grad for _, need in members)
    return Pass(model, bn, grad, views, heads, found, borrowed)


def _starts(lengths: list[int]) -> list[int]:
    return [sum(lengths[:i]) for i in range(len(lengths))]


def draw_view(
    policy: Policy,
    view: View,
    keys: tuple[int, int, int],
    positions: Int64[Tensor, " n"],
    canvas: tuple[int, int],
    sizes: Int64[Tensor, "n 2"],
) -> Draw:
    """Draw a view of images on a canvas, keyed by (seed, step, micro-step), the view, and places in the global batch.

    What views have in common, such as a crop that follows another's, is keyed without the view.
    """
    own, shared = key("view", *keys, view.policy, view.draw), key("shared", *keys)
    return policy.sample(own, positions.numpy(), canvas, shared=shared, real=sizes)
