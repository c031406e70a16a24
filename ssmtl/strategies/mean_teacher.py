"""Mean Teacher (Tarvainen and Valpola 2017): the student agrees with the moving average of itself on another view."""

from typing import Literal, final

from ssmtl.strategies.base import Need
from ssmtl.strategies.pi_model import FIRST, TwoViews


@final
class MeanTeacher(TwoViews):
    """The moving average predicts the first view, the student the second one.

    The average is that after the previous step. MixMatch's program (Berthelot et al. 2019) weighs "consistency" by 50
    on CIFAR-10 and 150 on SVHN: `Objective(task, MeanTeacher(), lam=50, ramp=LinearRamp(0.4))`.
    """

    teacher_bn: Literal["batch", "eval"] = "batch"
    """What the teacher normalizes by: the batch's statistics, as in MixMatch's program, or the running ones."""

    @classmethod
    def examples(cls) -> "tuple[MeanTeacher, ...]":
        return cls(), cls(teacher_bn="eval", bn_update="all")

    @property
    def target_need(self) -> Need:
        return Need(model="teacher", view=FIRST, rows="unlabeled", grad=False, bn=self.teacher_bn)
