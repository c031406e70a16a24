"""What semi-supervised strategies share: a loss of unlabeled rows that a mask can thin out, and what is told of it."""

from abc import ABC
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from ssmtl.strategies.base import Rows, Statistics, Step
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.supervised import Annealed, kept
from ssmtl.task import Confident, Loss, Prediction, PseudoLabels, Summarized, Target, Task
from ssmtl.views.geometry import View


class SemiSupervised(Annealed, ABC):
    """A strategy with a loss for each unlabeled row, of which a mask may leave some out."""

    ood_mask: OODMask | None = None
    """Which unlabeled rows teach (None: all)."""

    def abilities(self) -> tuple[type[Any], ...]:
        return (*super().abilities(), *(self.ood_mask.requires if self.ood_mask else ()))

    def masked(self, task: Task, step: Step, rows: Rows, loss: Loss, guess: Prediction) -> Loss:
        """Return the loss of the rows that the model is sure enough of, by the prediction behind their targets."""
        if self.ood_mask is None:
            return loss
        assert isinstance(task, Confident)
        return self.without_foreign(step, rows, loss, task.confidence(guess))

    def without_foreign(self, step: Step, rows: Rows, loss: Loss, confidence: Float[Tensor, " n"]) -> Loss:
        """Return the loss of rows that the mask keeps by their confidence, and log how it fares."""
        if self.ood_mask is None:
            return loss
        keep = self.ood_mask.keep(confidence)
        step.audit_mask(rows, ~keep)
        return kept(loss, keep)


class OwnPasses(SemiSupervised, ABC):
    """A strategy that predicts labeled and unlabeled rows apart, as the methods beside MixMatch do in its program."""

    bn_update: Literal["first", "all"] = "first"
    """Passes that move the running statistics of batch normalization: the first, over labeled rows, or all of them."""

    @property
    def unlabeled_bn(self) -> Statistics:
        """What an unlabeled pass of the student does to running statistics."""
        return "batch" if self.bn_update == "first" else "update"


def tell(task: Task, step: Step, view: View, rows: Rows, guess: Prediction, target: Target = None) -> None:
    """Log what the task tells of a prediction as a pseudo-label, and have it compared with hidden labels.

    `target` are the pseudo-labels where the strategy has made some, in the `view`; otherwise all of them count.
    """
    if target is None:
        if not isinstance(task, PseudoLabels):
            return
        target = task.pseudo_label(guess, 0.0)
    if isinstance(task, Summarized):
        for name, value in task.summarize(guess, target).items():
            step.log(name, value)
    step.audit(view, rows, target)
