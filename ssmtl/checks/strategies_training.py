"""A strategy in the engine: one real step of a network with batch normalization."""

import math

import torch

from ssmtl.checks.real_step import Served, trained
from ssmtl.checks.scene import tasks_for, unless
from ssmtl.checks.suite import check, require
from ssmtl.strategies.base import Look, Need, Step, Strategy
from ssmtl.task import Loss, Task

SERVED: tuple[Served, ...] = ("both", "labeled", "unlabeled")


def _all_is_scaled(strategy: Strategy) -> str:
    return "" if strategy.unscaled else "lambda scales all of its terms, so that at 0 there is nothing to compare"


@check(unless=unless())
def check_trains(strategy: Strategy) -> None:
    """A step has a finite loss and finite gradients, also on batches without labeled or unlabeled rows."""
    for task in tasks_for(strategy):
        for served in SERVED:
            one = trained(strategy, task, served)
            finite = math.isfinite(one.loss) and all(bool(g.isfinite().all()) for g in one.gradients.values())
            require(finite, f"a step on {task.kind} with {served} rows is not finite: {one.values}.")
            silent = [name for name, _ in one.step.student.named_parameters() if name not in one.gradients]
            require(
                not silent,
                f"a batch with {served} rows leaves '{''.join(silent[:1])}' without a gradient, which other processes "
                "wait for; keep every term connected to a prediction, also without rows.",
            )


@check(unless=unless())
def check_teacher_stays(strategy: Strategy) -> None:
    """A step changes no weight and no running statistic of the teacher, and gives it no gradient."""
    for task in tasks_for(strategy):
        one = trained(strategy, task)
        for name, now in one.step.teacher.state_dict().items():
            same = torch.equal(now, one.teacher_before[name])
            require(same, f"a step changed '{name}' of the teacher, which only moves toward the student after it.")
        held = any(p.requires_grad or p.grad is not None for p in one.step.teacher.parameters())
        require(not held, "a step gave the teacher a gradient; leave its weights alone.")


@check(unless=unless(_all_is_scaled))
def check_coefficient_zero_is_absence(strategy: Strategy) -> None:
    """With lambda 0 the gradient is that of the unscaled terms alone."""
    for task in tasks_for(strategy):
        zero = trained(strategy, task, lam=0.0).gradients
        alone = trained(UnscaledTerms(inner=strategy), task).gradients
        for name, gradient in zero.items():
            other = alone.get(name, torch.zeros_like(gradient))
            same = torch.allclose(gradient, other, rtol=1e-4, atol=1e-6)
            require(
                same,
                f"with lambda 0, the gradient of '{name}' is not that of {sorted(strategy.unscaled)} alone on "
                f"{task.kind}; return every loss as a term, and keep terms finite (0 times infinity is NaN).",
            )


@check(unless=unless())
def check_bfloat16(strategy: Strategy) -> None:
    """A step in bfloat16 is finite."""
    for task in tasks_for(strategy):
        one = trained(strategy, task, bf16=True)
        finite = math.isfinite(one.loss) and all(bool(g.isfinite().all()) for g in one.gradients.values())
        require(
            finite, f"in bfloat16 a step on {task.kind} is not finite: {one.values}; use .float() before logarithms."
        )


class UnscaledTerms(Strategy):
    """A strategy without the terms that lambda scales."""

    inner: Strategy

    @property
    def aligned(self) -> bool:  # type: ignore[override]  # that of another strategy
        """Whether both views have to show the same place."""
        return self.inner.aligned

    def needs(self) -> frozenset[Need]:
        return self.inner.needs()

    def looks(self) -> frozenset[Look]:
        return self.inner.looks()

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        found = self.inner.losses(task, step)
        return {name: loss for name, loss in found.items() if name in self.inner.unscaled}
