"""Supervised learning: the loss of what is labeled, and nothing else."""

from ssmtl.strategies.base import Need, Step, Strategy
from ssmtl.task import Loss, Task
from ssmtl.views.geometry import WEAK

LABELED = Need(view=WEAK, rows="labeled")
"""The student's predictions on the weak view of labeled rows, which every strategy here supervises."""


def supervised_loss(task: Task, step: Step) -> Loss:
    """Return L_s of the labeled rows; without any it is an empty Loss, so the term is 0 and still has its name."""
    return task.supervised_loss(step.prediction(LABELED), step.target(WEAK))


class Supervised(Strategy):
    """The task's supervised loss on the weak view of the labeled rows, as the only term ("supervised")."""

    def needs(self) -> frozenset[Need]:
        return frozenset({LABELED})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        return {"supervised": supervised_loss(task, step)}
