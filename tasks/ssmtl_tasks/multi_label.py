"""Multi-label classification: any number of classes per image, each by its own sigmoid."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, UInt8
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from ssmtl.errors import DataError, nearest
from ssmtl.models.base import Head
from ssmtl.models.heads import LinearHead
from ssmtl.palette import Colors
from ssmtl.task import Annotation, FeatureSpec, Loss, Output, Record, Task
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC
from ssmtl_tasks.distributions import confidence_histogram
from ssmtl_tasks.drawing import PREDICTED, REFERENCE, write_lines
from ssmtl_tasks.multi_label_metrics import MultiLabelMetrics
from ssmtl_tasks.phantoms import stripes
from ssmtl_tasks.targets import Labels, check_classes

SURE = 10.0
"""Logit of a class that is certainly there."""
CLASSES_TEXT = "a uint8 vector with 1 for classes that are there and 0 for others"


@dataclass(frozen=True, slots=True)
class LabelsAnswer:
    """The classes whose probability is at least one half, and the probability of every class by name, in [0, 1]."""

    names: tuple[str, ...]
    probabilities: Mapping[str, float]


class MultiLabel(Task):
    """Any of `classes` per image. Predictions are logits [n, k], targets `Labels` of shape [n, k] that hold 0 and 1.

    The `head` makes the former. A class that the reader doesn't name is unknown, not absent: its weight is 0. The
    headline is the AUC, a mean over classes, for the reasons that hold for `Classification`.
    """

    headline = "auc"
    annotation = "labels"

    classes: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(check_classes)]
    head: Head = LinearHead()
    invariant_to: tuple[str, ...] = (*PHOTOMETRIC, *GEOMETRIC)

    @classmethod
    def examples(cls) -> "tuple[MultiLabel, ...]":
        return cls(name="one", classes=("wet",)), cls(name="several", classes=("a", "b", "c"))

    def build_head(self, features: FeatureSpec) -> nn.Module:
        return self.head.build(features, len(self.classes))

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> Labels:
        """Turn a vector over the reader's `classes` into labels; a class that the task doesn't learn says nothing.

        Raises DataError for another type or length, for other numbers, and where no class has the same name in both.
        """
        if (
            not isinstance(annotation, np.ndarray)
            or annotation.dtype != np.uint8
            or annotation.shape != (len(classes),)
        ):
            given = f"{annotation.dtype} {annotation.shape}" if isinstance(annotation, np.ndarray) else repr(annotation)
            raise DataError(
                f"task '{self.name}' got {given} for its labels; it expects {CLASSES_TEXT}, one for each of the "
                f"reader's {len(classes)} classes. Check the reader's annotation '{self.reads}'."
            )
        if annotation.size and annotation.max() > 1:
            raise DataError(
                f"task '{self.name}' got labels with the number {annotation.max()}; it expects {CLASSES_TEXT}."
            )
        theirs = {name.casefold(): index for index, name in enumerate(classes)}
        places = [theirs.get(name.casefold()) for name in self.classes]
        if all(place is None for place in places):
            raise DataError(
                f"task '{self.name}' learns {self.classes}, but the reader names {classes}; no class has the same name "
                f"in both: rename the task's classes{nearest(self.classes[0], classes)}"
            )
        labels = [0 if place is None else int(annotation[place]) for place in places]
        return Labels(torch.tensor(labels), torch.tensor([float(place is not None) for place in places]))

    def collate(self, targets: Sequence[Labels | None], size: tuple[int, int]) -> Labels:
        k = len(self.classes)
        empty = Labels(torch.zeros(k, dtype=torch.int64), torch.zeros(k))
        rows = [empty if target is None else target for target in targets]
        if not rows:
            return Labels(torch.zeros(0, k, dtype=torch.int64), torch.zeros(0, k))
        return Labels(torch.stack([row.labels for row in rows]), torch.stack([row.weight for row in rows]))

    def warp(self, target: Labels, geometry: Geometry) -> Labels:
        return target

    def supervised_loss(self, pred: Float[Tensor, "n k"], target: Labels) -> Loss:
        """Return the binary cross-entropy in nats, averaged over all known pairs of image and class."""
        return Loss(_cross_entropy(pred, target), (target.weight > 0).float().sum(dim=1))

    def pseudo_label(self, pred: Float[Tensor, "n k"], threshold: float) -> Labels:
        """Return for every class whether it is there, with weight 1 where that is at least `threshold` probable."""
        confidence = _confidence(pred)
        return Labels((pred.detach() >= 0).long(), (confidence >= threshold).float())

    def unsupervised_loss(self, pred: Float[Tensor, "n k"], target: Labels) -> Loss:
        """Return the binary cross-entropy in nats, averaged over all pairs of image and class, confident or not."""
        return Loss(_cross_entropy(pred, target), torch.ones_like(target.weight).sum(dim=1))

    def summarize(self, weak: Float[Tensor, "n k"], target: Labels) -> dict[str, Loss]:
        """Return "coverage", the share of pairs that are pseudo-labels, "confidence", and the histogram of the latter.

        Confidence is that of an image: the geometric mean over classes.
        """
        rows, confidence = torch.ones_like(target.weight[:, 0]), self.confidence(weak)
        coverage = Loss(target.weight.sum(dim=1), torch.ones_like(target.weight).sum(dim=1))
        return {"coverage": coverage, "confidence": Loss(confidence, rows), **confidence_histogram(confidence)}

    def confidence(self, pred: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """Return the geometric mean over classes of the probability of what is more probable: there, or not."""
        return _confidence(pred).log().mean(dim=1).exp()

    def soft_target(self, pred: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return the probability of each class, detached."""
        return pred.detach().float().sigmoid()

    def warp_soft(self, target: Float[Tensor, "n k"], geometry: Geometry) -> Float[Tensor, "n k"]:
        return target

    def squared_error(self, pred: Float[Tensor, "n k"], target: Float[Tensor, "n k"]) -> Loss:
        return _pairs((pred.float().sigmoid() - target).square())

    def kl(self, pred: Float[Tensor, "n k"], other: Float[Tensor, "n k"]) -> Loss:
        yes = pred.float().sigmoid() * (F.logsigmoid(pred.float()) - F.logsigmoid(other.float()))
        no = (-pred.float()).sigmoid() * (F.logsigmoid(-pred.float()) - F.logsigmoid(-other.float()))
        return _pairs(yes + no)

    def entropy(self, pred: Float[Tensor, "n k"]) -> Loss:
        yes = pred.float().sigmoid() * F.logsigmoid(pred.float())
        return _pairs(-yes - (-pred.float()).sigmoid() * F.logsigmoid(-pred.float()))

    def hidden_target(self, annotation: Annotation, classes: tuple[str, ...]) -> Labels:
        return self.target(annotation, classes)

    def audit(self, target: Labels, hidden: Labels) -> dict[str, Loss]:
        """Return "precision": the share of pseudo-labels, a class of an image each, that are right."""
        trusted = target.weight * (hidden.weight > 0)
        return {"precision": Loss((trusted * (target.labels == hidden.labels)).sum(dim=1), trusted.sum(dim=1))}

    def foreign(self, hidden: Labels) -> Loss:
        """Return 0: an image may well show none of the classes."""
        known = (hidden.weight > 0).any(dim=1).float()
        return Loss(torch.zeros_like(known), known)

    def as_prediction(self, target: Labels) -> Float[Tensor, "n k"]:
        return SURE * (2.0 * target.labels - 1.0)

    def metrics(self) -> MultiLabelMetrics:
        return MultiLabelMetrics(self.classes)

    def decode(self, pred: Float[Tensor, "n k"], sizes: Sequence[tuple[int, int]]) -> list[LabelsAnswer]:
        rows = [dict(zip(self.classes, row, strict=True)) for row in pred.detach().double().sigmoid().tolist()]
        return [LabelsAnswer(tuple(name for name, value in row.items() if value >= 0.5), row) for row in rows]

    def record(self, answer: LabelsAnswer) -> Record:
        """Return the classes joined by "|", as a manifest takes them, "[]" for none, and every class's probability.

        They are a JSON list where the name of one would be taken for several, or for such a list.
        """
        each = {f"{self.name}_{name}": f"{value:.4f}" for name, value in answer.probabilities.items()}
        plain = answer.names and not any("|" in name or name.startswith("[") for name in answer.names)
        cell = "|".join(answer.names) if plain else json.dumps(list(answer.names), ensure_ascii=False)
        return Record({self.name: cell} | each)

    def exported(self, pred: Float[Tensor, "n k"]) -> dict[str, Output]:
        names = ", ".join(self.classes)
        return {"probabilities": Output(pred.float().sigmoid(), f"of each class by itself, in this order: {names}")}

    def reading(self) -> str:
        """Return from which probability on `ssmtl predict` names a class."""
        return f"A class of `{self.name}` is there when its probability is at least 0.5."

    def draw(
        self,
        image: UInt8[Tensor, "3 h w"],
        target: Labels,
        pred: Float[Tensor, " k"] | None,
        colors: Colors | None = None,
    ) -> UInt8[Tensor, "3 h w"]:
        """Return the image with its classes in green, a line each, and the predicted ones in red below."""
        there = (target.labels == 1) & (target.weight > 0)
        lines = [(name, REFERENCE) for name, yes in zip(self.classes, there.tolist(), strict=True) if yes]
        if pred is not None:
            (answer,) = self.decode(pred[None], [])
            lines += [(f"{name} {answer.probabilities[name]:.2f}", PREDICTED) for name in answer.names]
        return write_lines(image, lines)

    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[Labels]]:
        """Make gray noise with a bright stripe for each class that is there; row 0 shows none, and row 1 all."""
        images, there = stripes(n, len(self.classes), seed, channels=channels, size=size)
        return images, [Labels(row.long(), torch.ones(len(self.classes))) for row in there]


def _confidence(pred: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    return pred.detach().float().abs().sigmoid()


def _pairs(values: Float[Tensor, "n k"]) -> Loss:
    """Return a mean over all pairs of image and class."""
    return Loss(values.sum(dim=1), torch.ones_like(values).sum(dim=1).detach())


def _cross_entropy(pred: Float[Tensor, "n k"], target: Labels) -> Float[Tensor, " n"]:
    each = F.binary_cross_entropy_with_logits(pred.float(), target.labels.float(), reduction="none")
    return (each * target.weight).sum(dim=1)
