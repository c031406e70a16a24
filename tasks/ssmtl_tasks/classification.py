"""Classification: one class per image, by softmax and cross-entropy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, UInt8
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from ssmtl.errors import RecipeError
from ssmtl.models.base import Head
from ssmtl.models.heads import LinearHead
from ssmtl.palette import Colors
from ssmtl.task import Annotation, FeatureSpec, Loss, Output, Record, Task
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC
from ssmtl_tasks.distributions import confidence_histogram
from ssmtl_tasks.drawing import PREDICTED, REFERENCE, write_lines
from ssmtl_tasks.metrics import ClassificationMetrics
from ssmtl_tasks.phantoms import disks
from ssmtl_tasks.targets import FOREIGN, SURE, Labels, check_classes, class_label


@dataclass(frozen=True, slots=True)
class ClassAnswer:
    """The most probable class, its probability, and the probability of every class by name, in [0, 1]."""

    name: str
    probability: float
    probabilities: Mapping[str, float]


class Classification(Task):
    """One of `classes` per image. Predictions are logits [n, k], which `head` makes, targets `Labels` of shape [n].

    The headline is the AUC: it doesn't move with the class balance, where a collapsed predictor scores a high accuracy,
    it needs no decision threshold, which early and semi-supervised models place badly, and it is what the study of
    labels compares. With several classes it is the mean over one-against-the-rest.
    """

    headline = "auc"
    annotation = "label"

    classes: Annotated[tuple[str, ...], Field(min_length=2), AfterValidator(check_classes)]
    head: Head = LinearHead()
    invariant_to: tuple[str, ...] = (*PHOTOMETRIC, *GEOMETRIC)

    @classmethod
    def examples(cls) -> "tuple[Classification, ...]":
        return cls(name="two", classes=("no", "yes")), cls(name="four", classes=("a", "b", "c", "d"))

    def build_head(self, features: FeatureSpec) -> nn.Module:
        return self.head.build(features, len(self.classes))

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> Labels:
        return Labels(torch.tensor(class_label(annotation, classes, self.classes, self.name)), torch.tensor(1.0))

    def collate(self, targets: Sequence[Labels | None], size: tuple[int, int]) -> Labels:
        labels = [0 if target is None else int(target.labels) for target in targets]
        weights = [0.0 if target is None else float(target.weight) for target in targets]
        return Labels(torch.tensor(labels, dtype=torch.int64), torch.tensor(weights, dtype=torch.float32))

    def warp(self, target: Labels, geometry: Geometry) -> Labels:
        return target

    def supervised_loss(self, pred: Float[Tensor, "n k"], target: Labels) -> Loss:
        """Return the cross-entropy in nats, averaged over the rows with a weight (MELBA Eq. 1, L_l)."""
        return Loss(_cross_entropy(pred, target), (target.weight > 0).float())

    def pseudo_label(self, pred: Float[Tensor, "n k"], threshold: float) -> Labels:
        """Return the most probable class, with weight 1 from probability `threshold` on (Sohn et al. 2020 Eq. 4)."""
        confidence, labels = pred.detach().float().softmax(dim=1).max(dim=1)
        return Labels(labels, (confidence >= threshold).float())

    def unsupervised_loss(self, pred: Float[Tensor, "n k"], target: Labels) -> Loss:
        """Return the cross-entropy in nats, averaged over all rows, confident or not (Sohn et al. 2020 Eq. 4)."""
        return Loss(_cross_entropy(pred, target), torch.ones_like(target.weight))

    def summarize(self, weak: Float[Tensor, "n k"], target: Labels) -> dict[str, Loss]:
        """Return "coverage", the share of rows that are pseudo-labels, "confidence", and the histogram of the latter.

        Confidence is the largest probability; "confidence_to_95" is the share of rows where it lies in the bin that
        ends at 0.95, see `CONFIDENCE_BINS`.
        """
        rows = torch.ones_like(target.weight)
        largest = self.confidence(weak)
        bins = confidence_histogram(largest)
        return {"coverage": Loss(target.weight, rows), "confidence": Loss(largest, rows), **bins}

    def confidence(self, pred: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """Return the largest probability of each row."""
        return pred.detach().float().softmax(dim=1).amax(dim=1)

    def soft_target(self, pred: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return probabilities [n, k], detached: with one per row there is no place without."""
        return self.probabilities(pred).detach()

    def warp_soft(self, target: Float[Tensor, "n k"], geometry: Geometry) -> Float[Tensor, "n k"]:
        return target

    def squared_error(self, pred: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> Loss:
        return self.soft_squared_error(pred, target)

    def kl(self, pred: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Loss:
        log_p, log_q = pred.float().log_softmax(dim=1), other.float().log_softmax(dim=1)
        return _per_row((log_p.exp() * (log_p - log_q)).sum(dim=1))

    def entropy(self, pred: Float[Tensor, "n k"]) -> Loss:
        log_p = pred.float().log_softmax(dim=1)
        return _per_row(-(log_p.exp() * log_p).sum(dim=1))

    def scores(self, pred: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return pred.float()

    def probabilities(self, pred: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return pred.float().softmax(dim=1)

    def from_probabilities(self, soft: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return soft.clamp(min=torch.finfo(soft.dtype).tiny).log()

    def one_hot(self, target: Labels) -> Float[Tensor, "n k"]:
        return F.one_hot(target.labels, len(self.classes)).float()

    def soft_loss(self, pred: Float[Tensor, "n k"], soft: Float[Tensor, "n k"]) -> Loss:
        """Return the cross-entropy in nats against soft labels (Berthelot et al. 2019 Eq. 3)."""
        return _per_row(-(soft * pred.float().log_softmax(dim=1)).sum(dim=1))

    def soft_squared_error(self, pred: Float[Tensor, "n k"], soft: Float[Tensor, "n k"]) -> Loss:
        """Return the mean over classes of (soft - p)^2: the Brier score over k (Berthelot et al. 2019 Eq. 4)."""
        return _per_row((soft - self.probabilities(pred)).square().mean(dim=1))

    def hidden_target(self, annotation: Annotation, classes: tuple[str, ...]) -> Labels:
        """Return a label, or FOREIGN for a class of the reader that this task doesn't know."""
        known = {name.casefold() for name in self.classes}
        index = annotation if isinstance(annotation, int | np.integer) else -1
        if 0 <= index < len(classes) and classes[int(index)].casefold() not in known:
            return Labels(torch.tensor(FOREIGN), torch.tensor(1.0))
        return self.target(annotation, classes)

    def audit(self, target: Labels, hidden: Labels) -> dict[str, Loss]:
        """Return "precision": the share of pseudo-labels that are right; those of foreign images never are."""
        trusted = target.weight * (hidden.weight > 0)
        return {"precision": Loss(trusted * (target.labels == hidden.labels), trusted)}

    def foreign(self, hidden: Labels) -> Loss:
        known = (hidden.weight > 0).float()
        return Loss(known * (hidden.labels == FOREIGN), known)

    def as_prediction(self, target: Labels) -> Float[Tensor, "n k"]:
        return SURE * F.one_hot(target.labels.clamp(min=0), len(self.classes)).float()

    def metrics(self) -> ClassificationMetrics:
        return ClassificationMetrics(self.classes)

    def decode(self, pred: Float[Tensor, "n k"], sizes: Sequence[tuple[int, int]]) -> list[ClassAnswer]:
        rows = pred.detach().double().softmax(dim=1).tolist()
        answers = [dict(zip(self.classes, row, strict=True)) for row in rows]
        best = [max(answer, key=answer.__getitem__) for answer in answers]
        return [ClassAnswer(name, answer[name], answer) for name, answer in zip(best, answers, strict=True)]

    def record(self, answer: ClassAnswer) -> Record:
        """Return the class, its probability, and the probability of every class.

        Raises RecipeError for a class called probability, whose column would be that of the answer's own.
        """
        cells = {self.name: answer.name, f"{self.name}_probability": f"{answer.probability:.4f}"}
        if "probability" in self.classes:
            raise RecipeError(
                f"the task '{self.name}' has a class 'probability', whose column '{self.name}_probability' of "
                "predictions.csv holds the answer's own probability; call the class otherwise."
            )
        each = {f"{self.name}_{name}": f"{value:.4f}" for name, value in answer.probabilities.items()}
        return Record(cells | each)

    def exported(self, pred: Float[Tensor, "n k"]) -> dict[str, Output]:
        names = ", ".join(self.classes)
        return {"probabilities": Output(pred.float().softmax(dim=1), f"of each class, in this order: {names}")}

    def reading(self) -> str:
        """Return nothing: probabilities need no decoding."""
        return ""

    def draw(
        self,
        image: UInt8[Tensor, "3 h w"],
        target: Labels,
        pred: Float[Tensor, " k"] | None,
        colors: Colors | None = None,
    ) -> UInt8[Tensor, "3 h w"]:
        """Return the image with its class in green and the predicted one in red below: a name needs no color."""
        lines = [(self.classes[int(target.labels)], REFERENCE)] if float(target.weight) > 0 else []
        if pred is not None:
            (answer,) = self.decode(pred[None], [])
            lines.append((f"{answer.name} {answer.probability:.2f}", PREDICTED))
        return write_lines(image, lines)

    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[Labels]]:
        """Make gray noise with a bright disk whose radius says the class."""
        labels = torch.arange(n) % len(self.classes)
        radii = 0.1 + 0.3 * labels.double().numpy() / (len(self.classes) - 1)
        images, _ = disks(radii, seed, channels=channels, size=size)
        return images, [Labels(label, torch.tensor(1.0)) for label in labels]


def _per_row(total: Float[Tensor, " n"]) -> Loss:
    return Loss(total, torch.ones_like(total).detach())


def _cross_entropy(pred: Float[Tensor, "n k"], target: Labels) -> Float[Tensor, " n"]:
    return F.cross_entropy(pred.float(), target.labels, reduction="none") * target.weight
