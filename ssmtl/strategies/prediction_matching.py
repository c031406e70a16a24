"""MultiMix's term for masks (Haque et al. 2021): predictions on unlabeled images resemble those on labeled ones."""

from typing import ClassVar, Literal

from ssmtl.strategies.base import Need, Step
from ssmtl.strategies.supervised import LABELED, Annealed
from ssmtl.task import Loss, Matchable, Task
from ssmtl.views.geometry import WEAK

UNLABELED = Need(view=WEAK, rows="unlabeled")


class PredictionMatching(Annealed):
    """Terms "supervised" and "matching": KL(predictions on labeled || on other, unlabeled images) (MELBA Eq. 2, L_u).

    Pairs and means are made of one process's rows, so unlike row-wise terms this one depends on how rows are dealt to
    processes.
    """

    requires = (Matchable,)
    batch_coupled: ClassVar[bool] = True

    form: Literal["bernoulli", "marginal", "reference", "none"] = "bernoulli"
    """`bernoulli`: pixel by pixel, row i with row i. `marginal`: the two mean maps. `reference`: 0, as in the published
    program, which takes a softmax over one channel. `none`: no such term, and no pass over the unlabeled rows."""
    detach_target: bool = True
    """Whether the gradient stops at the predictions on labeled images."""

    @classmethod
    def examples(cls) -> "tuple[PredictionMatching, ...]":
        return cls(), cls(form="marginal", detach_target=False)

    def needs(self) -> frozenset[Need]:
        return frozenset({LABELED} if self.form == "none" else {LABELED, UNLABELED})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        assert isinstance(task, Matchable)
        terms = {"supervised": self.supervised(task, step)}
        if self.form != "none":
            labeled, unlabeled = step.prediction(LABELED), step.prediction(UNLABELED)
            terms["matching"] = task.divergence(labeled, unlabeled, form=self.form, detach_target=self.detach_target)
        return terms
