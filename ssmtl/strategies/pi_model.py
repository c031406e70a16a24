"""Pi-Model (Laine and Aila 2017; Sajjadi et al. 2016): two random views of an image get the same prediction."""

from abc import ABC, abstractmethod
from typing import final

from ssmtl.strategies.base import Need, Step
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.semi_supervised import OwnPasses, tell
from ssmtl.strategies.supervised import LABELED
from ssmtl.task import Distributions, Loss, Task
from ssmtl.views.geometry import WEAK, View

FIRST, SECOND = WEAK, View("weak", 1)


class TwoViews(OwnPasses, ABC):
    """Terms "supervised" and "consistency": the squared error of probabilities between two draws of the weak view.

    "consistency" is a mean over rows (or the pixels that both views show) and over classes, so its weight must be k
    times that of a sum over k classes. Predictions on the first view are targets and get no gradient; they move into
    the second one with the image.
    """

    requires = (Distributions,)

    @classmethod
    def examples(cls) -> "tuple[TwoViews, ...]":
        return cls(), cls(bn_update="all", ood_mask=OODMask(0.5))

    @property
    @abstractmethod
    def target_need(self) -> Need:
        """The prediction of the first view that becomes the target."""

    @property
    def _student(self) -> Need:
        return Need(view=SECOND, rows="unlabeled", bn=self.unlabeled_bn)

    def needs(self) -> frozenset[Need]:
        return frozenset({LABELED, self.target_need, self._student})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        assert isinstance(task, Distributions)
        guess = step.prediction(self.target_need)
        target = task.warp_soft(task.soft_target(guess), step.move(FIRST, SECOND, "unlabeled"))
        consistency = task.squared_error(step.prediction(self._student), target)
        tell(task, step, FIRST, "unlabeled", guess)
        consistency = self.masked(task, step, "unlabeled", consistency, guess)
        return {"supervised": self.supervised(task, step), "consistency": consistency}


@final
class PiModel(TwoViews):
    """The student as it trains predicts both views, in training mode.

    With batch normalization both views share a pass, and hence its statistics, whereas MixMatch's program runs them
    apart. That program weighs "consistency" by 20 on CIFAR-10 and 5 on SVHN:
    `Objective(task, PiModel(), lam=20, ramp=LinearRamp(0.4))`.
    """

    @property
    def target_need(self) -> Need:
        return Need(view=FIRST, rows="unlabeled", grad=False, bn=self.unlabeled_bn)
