"""FixMatch (Sohn et al. 2020) and its dense form: confident predictions on a weak view teach a strong view."""

from typing import Annotated, Literal

from pydantic import Field

from ssmtl.strategies.base import Need, Statistics, Step, Strategy
from ssmtl.strategies.supervised import LABELED, supervised_loss
from ssmtl.task import Loss, PseudoLabels, Summarized, Task
from ssmtl.views.geometry import STRONG, WEAK


class FixMatch(Strategy):
    """Terms "supervised" and "consistency": CE(strong, hard prediction on weak), where that is confident (Eq. 4).

    Pseudo-labels move with the image from the weak into the strong view, so a task that is equivariant to geometry
    gets Dense FixMatch, and one that is invariant FixMatch. The mean runs over all valid parts, confident or not. No
    gradient reaches the weak side. Logged is what the task tells of its pseudo-labels, where it can (`Summarized`).
    """

    requires = (PseudoLabels,)

    threshold: Annotated[float, Field(ge=0, le=1, kw_only=False)] = 0.95
    """Smallest probability of a prediction that becomes a pseudo-label."""
    pseudo_labels_from: Literal["student", "teacher"] = "student"
    """Who predicts the weak view: the student as it trains, or its moving average in evaluation mode."""
    lu_on: Literal["unlabeled", "all"] = "unlabeled"
    """Rows of the consistency term: those without a label for the task, or all."""

    @property
    def _weak(self) -> Need:
        bn: Statistics = "eval" if self.pseudo_labels_from == "teacher" else "update"
        return Need(model=self.pseudo_labels_from, view=WEAK, rows=self.lu_on, grad=False, bn=bn)

    @property
    def _strong(self) -> Need:
        return Need(view=STRONG, rows=self.lu_on)

    def needs(self) -> frozenset[Need]:
        return frozenset({LABELED, self._weak, self._strong})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        assert isinstance(task, PseudoLabels)
        weak = step.prediction(self._weak)
        target = task.warp(task.pseudo_label(weak, self.threshold), step.move(WEAK, STRONG, self.lu_on))
        consistency = task.unsupervised_loss(step.prediction(self._strong), target)
        if isinstance(task, Summarized):
            for name, value in task.summarize(weak, target).items():
                step.log(name, value)
        return {"supervised": supervised_loss(task, step), "consistency": consistency}
