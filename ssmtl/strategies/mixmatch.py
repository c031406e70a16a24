"""MixMatch (Berthelot et al. 2019): guess labels, sharpen them, and mix everything with everything."""

from abc import ABC
from typing import Annotated, ClassVar, Literal, final

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.strategies.base import Look, Need, Step
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.semi_supervised import SemiSupervised, tell
from ssmtl.strategies.tsa import TSA
from ssmtl.task import Loss, Mixable, Prediction, Task
from ssmtl.views.geometry import WEAK, View

Positive = Annotated[float, Field(gt=0)]


class Mixing(SemiSupervised, ABC):
    """Terms "supervised" and "consistency": soft cross-entropy and squared error on mixed images (Eq. 3 and 4).

    A label is guessed as the mean prediction on several weak views of an unlabeled image, in training mode but without
    a change to running statistics, and sharpened. Labeled images and all views of unlabeled ones then make one pool,
    and each image in it is mixed with another of that pool, whatever the two are (Algorithm 1). "supervised" is a mean
    over rows whose larger part is labeled, "consistency" over K times the unlabeled rows and over the classes. Gradient
    flows only through predictions of mixed images.

    Logged is what the task tells of the guesses before they are sharpened. The pool is one process's rows, so unlike
    row-wise terms these depend on how rows are dealt to processes. The papers raise the weight of "consistency"
    linearly over 16,384 steps, to 75 on CIFAR-10 and 250 on SVHN:
    `Objective(task, MixMatch(), lam=75, ramp=LinearRamp(1.0, over=16_384))`.
    """

    requires = (Mixable,)
    batch_coupled: ClassVar[bool] = True

    temperature: Positive = 0.5
    """T of sharpening: q_c is proportional to p_c^(1 / T) (Eq. 7)."""
    alpha: Positive = 0.75
    """Shares of the two images are l' = max(l, 1 - l) and 1 - l', with l from Beta(alpha, alpha) (Eq. 8 and 9)."""
    views: Annotated[int, Field(ge=1)] = 2
    """K: weak views of each unlabeled image."""
    lambda_scope: Literal["per_sample", "per_batch"] = "per_sample"
    """Whether each image draws its own l, as in the authors' program, or the batch one, as in a common PyTorch port."""
    bn_update: Literal["first", "all"] = "first"
    """`first`: the pool passes in 1 + K batches, each a blend of labeled and unlabeled rows, of which the first one
    moves running statistics, as in the authors' program. `all`: the pool passes at once, and all of it moves them."""

    @classmethod
    def examples(cls) -> "tuple[Mixing, ...]":
        return cls(), cls(views=3, lambda_scope="per_batch", bn_update="all", ood_mask=OODMask(0.5), tsa=TSA())

    @property
    def _guesses(self) -> tuple[Need, ...]:
        views = (View("weak", draw) for draw in range(self.views))
        return tuple(Need(view=view, rows="unlabeled", grad=False, bn="batch") for view in views)

    def needs(self) -> frozenset[Need]:
        return frozenset(self._guesses)

    def looks(self) -> frozenset[Look]:
        return frozenset({Look(WEAK, "labeled"), *(Look(need.view, "unlabeled") for need in self._guesses)})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        assert isinstance(task, Mixable)
        guess = torch.stack([task.probabilities(step.prediction(need)) for need in self._guesses]).mean(dim=0)
        tell(task, step, WEAK, "unlabeled", task.from_probabilities(guess))
        labels = task.one_hot(step.target(WEAK))
        copies = [step.images(need.view, "unlabeled") for need in self._guesses]
        images = torch.cat([step.images(WEAK, "labeled"), *copies])
        soft = torch.cat([labels, sharpen(guess, self.temperature).repeat(self.views, 1)])
        partner, share = self.draw(len(images), step.random())
        pred, soft = self._predict(step, mix(images, partner, share)), mix(soft, partner, share)
        labeled, unlabeled = (_rows(pred, part) for part in (slice(len(labels)), slice(len(labels), None)))
        supervised = task.soft_loss(labeled, soft[: len(labels)])
        consistency = task.soft_squared_error(unlabeled, soft[len(labels) :])
        return {
            "supervised": self.annealed(task, step, supervised, labeled, soft[: len(labels)]),
            "consistency": self._without_foreign(task, step, consistency, unlabeled, guess),
        }

    def draw(self, n: int, random: np.random.Generator) -> tuple[Tensor, Float[Tensor, " m"]]:
        """Return the partner of each of `n` rows, and l' in [0.5, 1]: one per row, or one for all."""
        partner = random.permutation(n)
        share = random.beta(self.alpha, self.alpha, size=n if self.lambda_scope == "per_sample" else 1)
        return torch.from_numpy(partner), torch.from_numpy(np.maximum(share, 1.0 - share).astype(np.float32))

    def _predict(self, step: Step, images: Float[Tensor, "n c h w"]) -> Prediction:
        """Predict the pool, in its order, in as many passes as on any other process."""
        parts = 1 if self.bn_update == "all" else 1 + self.views
        found = [step.predict(images[j::parts], bn="batch" if j else "update") for j in range(parts)]
        rows = torch.arange(len(images))
        order = torch.cat([rows[j::parts] for j in range(parts)])
        back = order.argsort().to(images.device, non_blocking=True)
        return tree_map(lambda *leaves: torch.cat(leaves)[back], *found)

    def _without_foreign(
        self, task: Task, step: Step, loss: Loss, pred: Prediction, guess: Float[Tensor, "n k"]
    ) -> Loss:
        if self.ood_mask is None:
            return loss
        if self.ood_mask.confidence == "guess":
            return self.without_foreign(step, "unlabeled", loss, guess.amax(dim=1).repeat(self.views))
        return self.masked(task, step, "unlabeled", loss, pred)


def sharpen(probabilities: Float[Tensor, "n k"], temperature: float) -> Float[Tensor, "n k"]:
    """Return p^(1 / T) / sum(p^(1 / T)), by logarithms so that no small T makes it 0 / 0 (Berthelot et al. Eq. 7)."""
    return (probabilities.log() / temperature).softmax(dim=1)


def mix(rows: Float[Tensor, "n ..."], partner: Tensor, share: Float[Tensor, " m"]) -> Float[Tensor, "n ..."]:
    """Return share * rows + (1 - share) * their partners (Berthelot et al. 2019 Eq. 10 and 11)."""
    there, own = (index.to(rows.device, non_blocking=True) for index in (partner, share))
    return torch.lerp(rows[there], rows, own.view(-1, *[1] * (rows.ndim - 1)))


def _rows(pred: Prediction, rows: slice) -> Prediction:
    return tree_map(lambda leaf: leaf[rows], pred)


@final
class MixMatch(Mixing):
    """Every unlabeled row teaches, and every labeled one, unless `ood_mask` or `tsa` say otherwise."""
