"""How rows and views matter to a strategy: their order doesn't, labeled ones stay apart, and targets move along."""

import pickle
import random
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ssmtl.checks import scene as scenes
from ssmtl.checks.scene import (
    mean,
    remembered,
    several_scenes,
    tasks_for,
    tensors_of,
    tried,
    unless,
    usual,
)
from ssmtl.checks.suite import check, require
from ssmtl.checks.toy_network import network_of
from ssmtl.strategies.base import Strategy
from ssmtl.task import Loss
from ssmtl.views.geometry import WEAK

WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2")
"""What has to know values before it can go on, so that a GPU would stand still."""

ODD_SEED = 20_231
"""A seed that nobody else takes."""


def _coupled(strategy: Strategy) -> str:
    return "it declares that rows of a batch meet each other (`batch_coupled`)" if strategy.batch_coupled else ""


def _draws(strategy: Strategy) -> str:
    """Say why rows can't be told from their draws."""
    for task in tasks_for(strategy)[:1]:
        with torch.random.fork_rng(devices=[]):
            step, before = usual(task).step(), torch.get_rng_state()
            strategy.losses(task, step)
            if not torch.equal(before, torch.get_rng_state()):
                return "it draws from PyTorch's own generator, as dropout does, in the order of rows"
    return ""


def _coupled_or_drawing(strategy: Strategy) -> str:
    return _coupled(strategy) or _draws(strategy)


def _nothing_moves(strategy: Strategy) -> str:
    if strategy.aligned:
        return "it declares that its views show the same place (`aligned`)"
    if all(look.view == WEAK for look in strategy.sees()):
        return "it sees a single view"
    if not set(tasks_for(strategy)) & set(scenes.TOYS):
        return "no small task of the suite has the abilities it requires"
    return _coupled(strategy)


def _no_threshold(strategy: Strategy) -> str:
    return "" if "threshold" in type(strategy).model_fields else "it has no field `threshold`"


@check(unless=unless(_coupled))
def check_labels_teach_alone(strategy: Strategy) -> None:
    """The term "supervised" is the same whatever the unlabeled rows are."""
    for task in tasks_for(strategy):
        scene = usual(task)
        ours, theirs = remembered(strategy, scene).terms, tried(strategy, replace(scene, other=True)).terms
        if "supervised" in ours:
            require(
                _same(ours["supervised"], theirs["supervised"]),
                f"'supervised' changes with the unlabeled rows on {task.kind}; use labeled rows only, give the term "
                "another name, or declare `batch_coupled = True` if rows are meant to meet.",
            )


@check(unless=unless(_coupled_or_drawing))
def check_order_is_nothing(strategy: Strategy) -> None:
    """Rows in another order, labeled ones among themselves and unlabeled ones too, give the same terms."""
    for task in tasks_for(strategy):
        # Of sure predictions several are equally sure, and what ranks rows takes the first of those.
        for scene in several_scenes(task)[:1]:
            ours = remembered(strategy, scene).terms
            theirs = tried(strategy, replace(scene, order=(3, 0, 4, 2, 1))).terms
            for name, loss in ours.items():
                require(
                    all(_close(a.sum(), b.sum()) for a, b in _parts(loss, theirs[name])),
                    f"'{name}' changes with the order of rows on {task.kind}; compare each row with "
                    "itself, or declare `batch_coupled = True` if rows are meant to meet.",
                )


@check(unless=unless(_coupled_or_drawing))
def check_rows_teach_alone(strategy: Strategy) -> None:
    """A row that takes part costs the same with fewer unlabeled rows beside it."""
    for task in tasks_for(strategy):
        for many, count in product(several_scenes(task)[:2], (1, 2)):
            few = replace(many, unlabeled=count)
            ours, theirs = remembered(strategy, many).terms, tried(strategy, few).terms
            alike = {(len(many.places(rows)), len(few.places(rows))) for rows in ("labeled", "unlabeled", "all")}
            for name, other in theirs.items():
                if (len(ours[name].total), len(other.total)) in alike:  # not where there are several copies of rows
                    total, parts = (part[: len(other.total)] for part in (ours[name].total, ours[name].count))
                    both = (parts > 0) & (other.count > 0)  # a mask may rank rows, and leave out others
                    require(
                        _close(total[both], other.total[both]) and _close(parts[both], other.count[both]),
                        f"rows cost something else in '{name}' when fewer are beside them, on {task.kind}; return sums "
                        "and counts of each row, and leave means to the engine, or declare `batch_coupled = True` if "
                        "rows are meant to meet.",
                    )


@check(unless=unless(_nothing_moves))
def check_targets_move_with_views(strategy: Strategy) -> None:
    """Turning a view by a quarter, its images, predictions and moves alike, changes no term."""
    for task in (task for task in tasks_for(strategy) if task in scenes.TOYS):
        for scene in several_scenes(task)[:3]:
            ours = remembered(strategy, scene).terms
            theirs = tried(strategy, replace(scene, turned=True)).terms
            for name, loss in ours.items():
                require(
                    _same(loss, theirs[name]),
                    f"'{name}' changes on {task.kind} when a view is turned; move targets with "
                    "task.warp(target, step.move(from, to, rows)), or declare `aligned = True`.",
                )


@check(unless=unless(_no_threshold))
def check_threshold_is_one(strategy: Strategy) -> None:
    """Raising `threshold` never lets more teach, and matters somewhere."""
    steps = (0.0, 0.6, 0.9, 1.0)
    for task in tasks_for(strategy):
        mattered = False
        for scene in several_scenes(task)[:3]:
            terms = [tried(strategy.replace(threshold=threshold), scene).terms for threshold in steps]
            for name in (name for name in terms[0] if name not in strategy.unscaled):
                totals = torch.stack([each[name].total.detach() for each in terms])
                falling = bool((totals[1:] <= totals[:-1] + 1e-5).all())
                require(
                    falling, f"'{name}' grows with `threshold` on {task.kind}; keep what is at least as sure as it."
                )
                mattered |= bool((totals[0] > totals[-1] + 1e-5).any())
        require(mattered, f"`threshold` changes nothing on {task.kind}, neither at 0 nor at 1; use it, or remove it.")


@check(unless=unless())
def check_global_random_numbers(strategy: Strategy) -> None:
    """It seeds nothing, leaves numpy's global generator alone, and its terms don't depend on Python's."""
    for task in tasks_for(strategy):
        torch.manual_seed(ODD_SEED)
        np.random.seed(ODD_SEED)  # noqa: NPY002  # strategies must not
        step, before = usual(task).step(), _generators()
        strategy.losses(task, step)
        advice = "draw from step.random() or step.noise(), which are the same after a resumption"
        for one, first, now in zip(("PyTorch", "numpy"), before, _generators(), strict=True):
            require(first == now, f"it used or seeded the global generator of {one}; {advice}.")
        state, found = random.getstate(), []
        for seed in range(2):
            random.seed(seed)
            found.append([mean(loss).item() for loss in tried(strategy, usual(task)).terms.values()])
        random.setstate(state)
        require(found[0] == found[1], f"its terms depend on Python's global generator; {advice}.")


@check(unless=unless())
def check_never_waits(strategy: Strategy) -> None:
    """It decides nothing by the values of tensors, which a GPU would have to finish first."""
    for task in tasks_for(strategy):
        one = remembered(strategy, usual(task))
        known = [*one.step.predictions.values(), *one.step.given_images.values(), one.step.target(WEAK)]
        watch = _Watch([*tensors_of(known), *network_of(task, "student").parameters()])
        with watch:
            strategy.losses(task, one.step)
        require(
            not watch.found,
            f"it calls {', '.join(sorted(watch.found))}, which waits for the GPU; use torch.where or weights instead "
            "of if, .item(), .nonzero() and masks as indices.",
        )


class _Watch(TorchDispatchMode):
    """Notes operations whose result depends on values of some tensors, or of what is made of them."""

    def __init__(self, tensors: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str] = set()
        self.known = {id(tensor): tensor for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if any(id(tensor) in self.known for tensor in tensors_of([args, kwargs])):
            self.known |= {id(tensor): tensor for tensor in tensors_of(found)}
            name = func.name().partition(".")[0]
            masked = name == "aten::index" and any(mask is not None and mask.dtype == torch.bool for mask in args[1])
            if name in WAITING or masked:
                self.found.add(name.removeprefix("aten::"))
        return found


def _generators() -> tuple[int, bytes]:
    # Python's says nothing: tools that check types at run time draw from it.
    return torch.initial_seed(), pickle.dumps(np.random.get_state())  # noqa: NPY002  # to see that it stays


def _same(one: Loss, other: Loss) -> bool:
    return all(a.shape == b.shape and _close(a, b) for a, b in _parts(one, other))


def _parts(one: Loss, other: Loss) -> tuple[tuple[Tensor, Tensor], ...]:
    return (one.total, other.total), (one.count, other.count)


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)
