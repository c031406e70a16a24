"""Supervised learning: the loss of what is labeled, and nothing else."""

from abc import ABC
from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Bool
from torch import Tensor

from ssmtl.strategies.base import Need, Step, Strategy
from ssmtl.strategies.tsa import TSA
from ssmtl.task import Loss, Mixable, Prediction, Task
from ssmtl.views.geometry import WEAK

LABELED = Need(view=WEAK, rows="labeled")
"""The student's predictions on the weak view of labeled rows, which nearly every strategy here supervises."""


def kept(loss: Loss, keep: Bool[Tensor, " n"]) -> Loss:
    """Return the loss of some rows: the others leave the mean, and get no gradient."""
    return replace(loss, total=loss.total.where(keep, torch.zeros_like(loss.total)), count=loss.count * keep)


class Annealed(Strategy, ABC):
    """A strategy whose supervised loss may be thinned out by training signal annealing."""

    tsa: TSA | None = None
    """Which labeled rows still train (None: all)."""

    def abilities(self) -> tuple[type[Any], ...]:
        return (*super().abilities(), *(self.tsa.requires if self.tsa else ()))

    def supervised(self, task: Task, step: Step) -> Loss:
        """Return L_s of the labeled rows; without any it is an empty Loss, so the term is 0 and still has its name."""
        pred, target = step.prediction(LABELED), step.target(WEAK)
        loss = task.supervised_loss(pred, target)
        if self.tsa is None:
            return loss
        assert isinstance(task, Mixable)
        return self.annealed(task, step, loss, pred, task.one_hot(target))

    def annealed(self, task: Mixable, step: Step, loss: Loss, pred: Prediction, soft: Tensor) -> Loss:
        """Return the loss of labeled rows that still train, and log how many these are."""
        if self.tsa is None:
            return loss
        threshold = self.tsa.threshold(step.number, step.steps, soft.shape[1])
        keep = self.tsa.keep(task.scores(pred), soft, threshold)
        rows = torch.ones_like(loss.total).detach()
        step.log("tsa_kept", Loss(keep.float(), rows))
        step.log("tsa_threshold", Loss(rows * threshold, rows))
        return kept(loss, keep)


@final
class Supervised(Annealed):
    """The task's supervised loss on the weak view of the labeled rows, as the only term ("supervised")."""

    @classmethod
    def examples(cls) -> "tuple[Supervised, ...]":
        return cls(), cls(tsa=TSA("exp"))

    def needs(self) -> frozenset[Need]:
        return frozenset({LABELED})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        return {"supervised": self.supervised(task, step)}
