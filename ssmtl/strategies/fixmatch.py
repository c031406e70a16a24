"""FixMatch (Sohn et al. 2020) and its two dense forms: confident predictions on a weak view teach a strong view."""

from abc import ABC
from typing import Annotated, ClassVar, Literal, final

from pydantic import Field

from ssmtl.strategies.base import Need, Statistics, Step
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.semi_supervised import SemiSupervised, tell
from ssmtl.strategies.supervised import LABELED
from ssmtl.task import Loss, PseudoLabels, Task
from ssmtl.views.geometry import STRONG, WEAK

Share = Annotated[float, Field(ge=0, le=1)]


class WeakTeachesStrong(SemiSupervised, ABC):
    """Terms "supervised" and "consistency": the loss of the strong view against hard predictions on the weak one.

    Pseudo-labels move with the image from the weak into the strong view. The mean of "consistency" runs over all valid
    parts, confident or not. No gradient reaches the weak side. Logged is what the task tells of its pseudo-labels,
    where it can (`Summarized`).
    """

    requires = (PseudoLabels,)

    threshold: Share = Field(default=0.95, kw_only=False)
    """Smallest probability of a prediction that becomes a pseudo-label."""
    pseudo_labels_from: Literal["student", "teacher"] = "student"
    """Who predicts the weak view: the student as it trains, or its moving average in evaluation mode."""
    lu_on: Literal["unlabeled", "all"] = "unlabeled"
    """Rows of the consistency term: those without a label for the task, or all."""

    @classmethod
    def examples(cls) -> "tuple[WeakTeachesStrong, ...]":
        return cls(), cls(threshold=0.7, pseudo_labels_from="teacher", lu_on="all", ood_mask=OODMask(0.5))

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
        tell(task, step, STRONG, self.lu_on, weak, target=target)
        consistency = self.masked(task, step, self.lu_on, consistency, weak)
        return {"supervised": self.supervised(task, step), "consistency": consistency}


@final
class FixMatch(WeakTeachesStrong):
    """CE(strong, hard prediction on weak) where that is confident, as Sohn et al. 2020 have it (Eq. 4).

    Views differ by whatever the task declares; the student labels, from probability 0.95 on.
    """


@final
class DenseFixMatch(WeakTeachesStrong):
    """FixMatch for tasks whose targets move with the image (Martí i Rabadán et al. 2022).

    The moving average labels the weak view, and its labels are moved into a strong view that may be cropped, flipped,
    turned and sheared otherwise. The default threshold is that of the authors' program; the study of partially labeled
    data takes 0 for masks and 0.5 for boxes (Table 10).
    """

    threshold: Share = Field(default=0.5, kw_only=False)
    pseudo_labels_from: Literal["student", "teacher"] = "teacher"


@final
class FixMatchStar(WeakTeachesStrong):
    """Dense FixMatch without equivariance: both views show the same place, and differ in color, blanks and the like.

    The baseline of the study of partially labeled data. What a task is equivariant to may only happen to both views
    alike (`follow="same"`): a crop at the same place, and a flip if the policy flips both.
    """

    aligned: ClassVar[bool] = True

    threshold: Share = Field(default=0.5, kw_only=False)
    pseudo_labels_from: Literal["student", "teacher"] = "teacher"
