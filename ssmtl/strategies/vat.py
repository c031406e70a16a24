"""Virtual adversarial training (Miyato et al. 2018): predictions withstand the perturbation that changes them most."""

import math
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, final

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from ssmtl.strategies.base import Look, Need, Step
from ssmtl.strategies.semi_supervised import OwnPasses, tell
from ssmtl.strategies.supervised import LABELED
from ssmtl.task import Distributions, Loss, Prediction, Task
from ssmtl.views.geometry import WEAK

REFERENCE_VALUES = 32 * 32 * 3
"""Values of the images that the published lengths are meant for."""
SYMMETRIC = 2.0
"""Images are in [0, 1] here; the published lengths are those of images in [-1, 1]."""

Positive = Annotated[float, Field(gt=0)]


@final
class VAT(OwnPasses):
    """Terms "supervised", "vat" and "entropy": KL between predictions on an image and on its worst neighbor.

    The neighbor lies at the distance `epsilon` in the direction r = g / |g|, with g the gradient of KL(p(u) || p(u +
    xi d)) by d, and d random or the last r. "vat" compares p(u), without gradient, with p(u + epsilon r); "entropy" is
    `entropy` times the mean entropy of p(u), through which gradient flows. The search leaves no gradient in the
    network, and runs in float32 whatever the precision of training (a GPU may round convolutions to TensorFloat-32).

    Lengths are L2 norms of images of 32x32x3 values in [-1, 1]. Images in [0, 1] move by half of that, which is alike
    to a model with normalize="symmetric"; with another one, `epsilon` has to follow its range. Every pass draws its own
    dropout, so with dropout in the network the search also answers to its masks (WRN-28-2 has none). Unlabeled images
    are predicted once more among themselves to be compared with; only their first pass may move running statistics.

    The objective's lambda scales "vat" alone. MixMatch's program (Berthelot et al. 2019) has 0.3:
    `Objective(task, VAT(), lam=0.3, ramp=LinearRamp(0.4))`.
    """

    requires = (Distributions,)
    unscaled: ClassVar[frozenset[str]] = frozenset({"supervised", "entropy"})

    epsilon: Positive = Field(default=6.0, kw_only=False)
    """Distance of the neighbor."""
    xi: Positive = 1e-6
    """Length of the step that the search takes the gradient at. The published one is below the resolution of float32
    at most pixels, so that the search starts from rounding as much as from d; from 1e-3 on it follows d."""
    iterations: Annotated[int, Field(ge=1)] = 1
    """How often the direction is improved; each takes a pass over the unlabeled rows and the gradient by its images."""
    entropy: Annotated[float, Field(ge=0)] = 0.06
    """Weight of the entropy."""
    kl: Literal["clean_to_adv", "adv_to_clean"] = "clean_to_adv"
    """The loss is KL(clean || adversarial), as the paper has it, or KL(adversarial || clean), as MixMatch's program
    does; the search always takes the former."""
    scale_with_size: bool = True
    """Whether lengths grow with the square root of an image's number of values, so that a pixel changes as much."""

    @classmethod
    def examples(cls) -> "tuple[VAT, ...]":
        return cls(), cls(kl="adv_to_clean", bn_update="all", iterations=2)

    @property
    def _unlabeled(self) -> Need:
        return Need(view=WEAK, rows="unlabeled", bn=self.unlabeled_bn)

    def needs(self) -> frozenset[Need]:
        return frozenset({LABELED, self._unlabeled})

    def looks(self) -> frozenset[Look]:
        return frozenset({Look(WEAK, "unlabeled")})

    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        assert isinstance(task, Distributions)
        pred = step.prediction(self._unlabeled)
        images = step.images(WEAK, "unlabeled").float()
        # Among other rows, labeled ones or another task's, batch normalization predicts otherwise: no perturbation did.
        clean = _predict_again(step, images)
        moved = images + self.length(self.epsilon, images) * self.direction(task, step, images, clean)
        adversarial = step.predict(moved, bn="batch")
        vat = task.kl(clean, adversarial) if self.kl == "clean_to_adv" else task.kl(adversarial, clean)
        entropy = task.entropy(pred)
        entropy = replace(entropy, total=self.entropy * entropy.total)
        tell(task, step, WEAK, "unlabeled", clean)
        return {
            "supervised": self.supervised(task, step),
            "vat": self.masked(task, step, "unlabeled", vat, clean),
            "entropy": self.masked(task, step, "unlabeled", entropy, clean),
        }

    def length(self, published: float, images: Float[Tensor, "n c h w"]) -> float:
        """Return a length for these images in [0, 1] from one for 32x32x3 values in [-1, 1]."""
        size = math.sqrt(math.prod(images.shape[1:]) / REFERENCE_VALUES) if self.scale_with_size else 1.0
        return published / SYMMETRIC * size

    def direction(
        self, task: Distributions, step: Step, images: Float[Tensor, "n c h w"], clean: Prediction
    ) -> Float[Tensor, "n c h w"]:
        """Return the unit direction per row that the prediction changes most in, by power iteration.

        Perturbed predictions are compared with `clean`, or with its like in float32 where training is less precise.
        """
        found = _unit(step.noise("unlabeled", tuple(images.shape[1:])))
        xi = self.length(self.xi, images)
        mixed = torch.is_autocast_enabled(images.device.type)
        with torch.autocast(images.device.type, enabled=False):
            if mixed:
                clean = _predict_again(step, images)
            for _ in range(self.iterations):
                offset = (xi * found).requires_grad_()
                divergence = task.kl(clean, step.predict(images + offset, bn="batch")).total.sum()
                # No image, no graph from the offset to the divergence.
                (gradient,) = torch.autograd.grad(divergence, offset, allow_unused=True, materialize_grads=True)
                # Where rounding swallowed the offset there is no gradient, and the direction stays.
                found = torch.where(gradient.flatten(1).any(dim=1)[:, None, None, None], _unit(gradient), found)
        return found


def _predict_again(step: Step, images: Float[Tensor, "n c h w"]) -> Prediction:
    with torch.no_grad():
        return step.predict(images, bn="batch")


def _unit(direction: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Return rows of L2 norm 1; dividing by the largest value first keeps squares of small numbers from vanishing."""
    flat = direction.flatten(1)
    flat = flat / (flat.abs().amax(dim=1, keepdim=True) + 1e-12)
    return (flat / (flat.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()).view_as(direction)
