"""Pseudo-Label (Lee 2013): the student's confident predictions teach the student."""

from typing import Annotated, final

import numpy as np
from pydantic import Field

from ssmtl.strategies.base import Need, Step
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.semi_supervised import OwnPasses, tell
from ssmtl.strategies.supervised import LABELED
from ssmtl.task import Loss, PseudoLabels, Task
from ssmtl.views.geometry import WEAK


@final
class PseudoLabel(OwnPasses):
    """Terms "supervised" and "consistency": the loss of unlabeled rows against their own hard predictions.

    (1 / B_u) sum_i 1[max p(u_i) > threshold] CE(u_i, argmax p(u_i)): one pass over the weak view gives both target and
    prediction, no gradient flows through the target, and the mean runs over all unlabeled rows (or valid pixels),
    confident or not. The baseline of MixMatch (Berthelot et al. 2019) weighs it by 1 on CIFAR-10 and 2 on SVHN:
    `Objective(task, PseudoLabel(), lam=1, ramp=LinearRamp(0.4))`.
    """

    requires = (PseudoLabels,)

    threshold: Annotated[float, Field(ge=0, le=1)] = Field(default=0.95, kw_only=False)
    """Probability that a prediction must exceed to become a pseudo-label. The comparison is strict, as in MixMatch's
    program, whereas FixMatch also takes what is equal to its threshold."""

    @classmethod
    def examples(cls) -> "tuple[PseudoLabel, ...]":
        return cls(), cls(threshold=0.7, bn_update="all", ood_mask=OODMask(0.5))

    @property
    def _unlabeled(self) -> Need:
        return Need(view=WEAK, rows="unlabeled", bn=self.unlabeled_bn)

    @property
    def _above(self) -> float:
        """The smallest float32, the type that tasks compare in, above the threshold."""
        return float(np.nextafter(np.float32(self.threshold), np.float32(np.inf)))

    def needs(self) -> frozenset[Need]:
        return frozenset({LABELED, self._unlabeled})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        assert isinstance(task, PseudoLabels)
        pred = step.prediction(self._unlabeled)
        # Within one view nothing moves, but padding and blanks lose their labels.
        target = task.warp(task.pseudo_label(pred, self._above), step.move(WEAK, WEAK, "unlabeled"))
        consistency = task.unsupervised_loss(pred, target)
        tell(task, step, WEAK, "unlabeled", pred, target=target)
        consistency = self.masked(task, step, "unlabeled", consistency, pred)
        return {"supervised": self.supervised(task, step), "consistency": consistency}
