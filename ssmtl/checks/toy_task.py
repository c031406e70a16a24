"""Small tasks with nearly all abilities, which strategies are tried on: a class per image, and one per pixel."""

from abc import ABC
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from ssmtl.errors import DataError, RecipeError
from ssmtl.palette import Colors
from ssmtl.task import IGNORE_INDEX, Annotation, FeatureSpec, Loss, Record, Task
from ssmtl.views.geometry import Geometry
from ssmtl.views.moving import move_labels, move_soft, move_weights
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC

CLASSES = ("dark", "gray", "bright")
SURELY = 20.0
"""Logit of what a prediction is sure of."""


class ToyTarget(NamedTuple):
    """Class indices, 255 where nothing counts, and weights: [n], or [n, h, w] of pixels."""

    labels: Int64[Tensor, "*shape"]
    weight: Float[Tensor, "*shape"]


class SoftToyTarget(NamedTuple):
    """Distributions over the classes, and a weight for each place."""

    probabilities: Float[Tensor, "n k *place"]
    weight: Float[Tensor, "n *place"]


class ToyMetrics(MetricCollection):
    """The accuracy over all places that count."""

    def __init__(self) -> None:
        micro = MulticlassAccuracy(len(CLASSES), average="micro", ignore_index=IGNORE_INDEX)
        super().__init__({"accuracy": micro}, compute_groups=False)

    def update(self, pred: Tensor, target: ToyTarget) -> None:  # type: ignore[override]  # a metric's, not a dict's
        super().update(pred, target.labels.masked_fill(target.weight == 0, IGNORE_INDEX))


class Toy(Task, ABC):
    """One of three gray levels at each place; predictions are logits [n, 3, *place]."""

    headline = "accuracy"
    annotation = "label"
    divergence_forms: ClassVar[tuple[str, ...]] = ("bernoulli", "marginal", "reference", "none")
    dense: ClassVar[bool]

    invariant_to: tuple[str, ...] = PHOTOMETRIC

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the gray levels."""
        return CLASSES

    def build_head(self, features: FeatureSpec) -> nn.Module:
        return _Head(sum(features.channels) + features.extra, dense=self.dense)

    def metrics(self) -> MetricCollection:
        return ToyMetrics()

    def supervised_loss(self, pred: Float[Tensor, "n k ..."], target: ToyTarget) -> Loss:
        """Return the cross-entropy in nats, a mean over all places with a weight."""
        return Loss(_over_places(_cross_entropy(pred, target)), _over_places((target.weight > 0).float()))

    def pseudo_label(self, pred: Float[Tensor, "n k ..."], threshold: float) -> ToyTarget:
        confidence, labels = self.probabilities(pred).detach().max(dim=1)
        return ToyTarget(labels, (confidence >= threshold).float())

    def unsupervised_loss(self, pred: Float[Tensor, "n k ..."], target: ToyTarget) -> Loss:
        """Return the cross-entropy in nats, a mean over all places that aren't ignored."""
        return Loss(_over_places(_cross_entropy(pred, target)), _over_places((target.labels != IGNORE_INDEX).float()))

    def as_prediction(self, target: ToyTarget) -> Float[Tensor, "n k ..."]:
        return SURELY * _one_hot(target.labels.masked_fill(target.labels == IGNORE_INDEX, 0))

    def summarize(self, weak: Float[Tensor, "n k ..."], target: ToyTarget) -> dict[str, Loss]:
        return {"coverage": Loss(_over_places(target.weight), _over_places(torch.ones_like(target.weight)))}

    def confidence(self, pred: Float[Tensor, "n k ..."]) -> Float[Tensor, " n"]:
        largest = self.probabilities(pred).detach().amax(dim=1)
        return largest.flatten(1).mean(dim=1) if self.dense else largest

    def probabilities(self, pred: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
        """Return the predicted distributions."""
        return pred.float().softmax(dim=1)

    def soft_target(self, pred: Float[Tensor, "n k ..."]) -> SoftToyTarget:
        probabilities = self.probabilities(pred).detach()
        return SoftToyTarget(probabilities, torch.ones_like(probabilities[:, 0]))

    def squared_error(self, pred: Float[Tensor, "n k ..."], target: SoftToyTarget) -> Loss:
        error = (self.probabilities(pred) - target.probabilities).square().mean(dim=1) * target.weight
        return Loss(_over_places(error), _over_places(target.weight))

    def kl(self, pred: Float[Tensor, "n k ..."], other: Float[Tensor, "n k ..."]) -> Loss:
        log_p, log_q = pred.float().log_softmax(dim=1), other.float().log_softmax(dim=1)
        return _mean((log_p.exp() * (log_p - log_q)).sum(dim=1))

    def entropy(self, pred: Float[Tensor, "n k ..."]) -> Loss:
        log_p = pred.float().log_softmax(dim=1)
        return _mean(-(log_p.exp() * log_p).sum(dim=1))

    def divergence(
        self, labeled: Float[Tensor, "a k ..."], unlabeled: Float[Tensor, "b k ..."], *, form: str, detach_target: bool
    ) -> Loss:
        """Return KL(labeled || unlabeled) of rows ("bernoulli") or of their means ("marginal"); "reference" is 0."""
        if form not in self.divergence_forms:
            raise RecipeError(f"the toy task has no divergence '{form}'; known: {', '.join(self.divergence_forms)}.")
        if form in ("reference", "none"):
            return _mean(0.0 * self.entropy(unlabeled).total)
        pairs = min(len(labeled), len(unlabeled))
        target = labeled.detach() if detach_target else labeled
        if form == "marginal" and pairs:
            return self.kl(target.mean(dim=0, keepdim=True), unlabeled.mean(dim=0, keepdim=True))
        return self.kl(target[:pairs], unlabeled[:pairs])

    def hidden_target(self, annotation: Annotation, classes: tuple[str, ...]) -> ToyTarget:
        """Return the labels as they are; the toy knows no foreign classes."""
        return self.target(annotation, classes)

    def audit(self, target: ToyTarget, hidden: ToyTarget) -> dict[str, Loss]:
        trusted = target.weight * (hidden.weight > 0)
        return {"precision": Loss(_over_places(trusted * (target.labels == hidden.labels)), _over_places(trusted))}

    def foreign(self, hidden: ToyTarget) -> Loss:
        known = _over_places((hidden.weight > 0).float())
        return Loss(torch.zeros_like(known), known)

    def draw(
        self, image: UInt8[Tensor, "3 h w"], target: ToyTarget, pred: Tensor | None, colors: Colors | None = None
    ) -> UInt8[Tensor, "3 h w"]:
        """Return the image as it is: gray levels show themselves."""
        return image.clone()

    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[ToyTarget]]:
        """Make noise around the gray levels."""
        dice = torch.Generator().manual_seed(seed)
        labels = (torch.arange(n) + torch.randint(len(CLASSES), (1,), generator=dice)) % len(CLASSES)
        levels = labels[:, None, None].expand(n, *size).clone()
        if self.dense:
            levels[:, size[0] // 2 :, size[1] // 4 :] = (labels[:, None, None] + 1) % len(CLASSES)
        noise = torch.randint(50, (n, channels, *size), generator=dice)
        images = (30 + 80 * levels[:, None] + noise).to(torch.uint8)
        found = levels if self.dense else labels
        return images, [ToyTarget(row, torch.ones(row.shape)) for row in found]


class ToyLabels(Toy):
    """The gray level of an image: predictions [n, 3]; the targets stay when the image moves."""

    dense = False

    invariant_to: tuple[str, ...] = (*PHOTOMETRIC, *GEOMETRIC)

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> ToyTarget:
        """Return the class by its name; raises DataError for one that is no gray level."""
        return ToyTarget(torch.tensor(_index(self.name, annotation, classes)), torch.tensor(1.0))

    def collate(self, targets: Sequence[ToyTarget | None], size: tuple[int, int]) -> ToyTarget:
        absent = ToyTarget(torch.tensor(0), torch.tensor(0.0))
        return _stacked([target or absent for target in targets], absent)

    def warp(self, target: ToyTarget, geometry: Geometry) -> ToyTarget:
        return target

    def warp_soft(self, target: SoftToyTarget, geometry: Geometry) -> SoftToyTarget:
        return target

    def scores(self, pred: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return pred.float()

    def from_probabilities(self, soft: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return soft.clamp(min=torch.finfo(soft.dtype).tiny).log()

    def one_hot(self, target: ToyTarget) -> Float[Tensor, "n k"]:
        return _one_hot(target.labels)

    def soft_loss(self, pred: Float[Tensor, "n k"], soft: Float[Tensor, "n k"]) -> Loss:
        return _mean(-(soft * pred.float().log_softmax(dim=1)).sum(dim=1))

    def soft_squared_error(self, pred: Float[Tensor, "n k"], soft: Float[Tensor, "n k"]) -> Loss:
        return _mean((soft - self.probabilities(pred)).square().mean(dim=1))

    def decode(self, pred: Float[Tensor, "n k"], sizes: Sequence[tuple[int, int]]) -> list[str]:
        """Return the most probable gray level of each row."""
        return [CLASSES[label] for label in pred.argmax(dim=1).tolist()]

    def record(self, answer: str) -> Record:
        return Record({self.name: answer})


class ToyMap(Toy):
    """The gray level of every pixel: predictions [n, 3, h, w]; the targets move with the image."""

    dense = True
    annotation = "mask"

    equivariant_to: tuple[str, ...] = GEOMETRIC

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> ToyTarget:
        """Return the classes by their names; raises DataError for one that is no gray level."""
        if not isinstance(annotation, np.ndarray) or annotation.dtype != np.uint8 or annotation.ndim != 2:
            raise DataError(f"task '{self.name}' got no uint8 map [h, w] of class indices; correct the reader.")
        table = {index: _index(self.name, index, classes) for index in np.unique(annotation).tolist()}
        labels = torch.from_numpy(np.vectorize(table.get, otypes=[np.int64])(annotation))
        return ToyTarget(labels, torch.ones(labels.shape))

    def collate(self, targets: Sequence[ToyTarget | None], size: tuple[int, int]) -> ToyTarget:
        absent = ToyTarget(torch.full(size, IGNORE_INDEX), torch.zeros(size))
        return _stacked([target or absent for target in targets], absent)

    def warp(self, target: ToyTarget, geometry: Geometry) -> ToyTarget:
        return ToyTarget(move_labels(target.labels, geometry), move_weights(target.weight, geometry))

    def warp_soft(self, target: SoftToyTarget, geometry: Geometry) -> SoftToyTarget:
        moved, valid = move_soft(target.probabilities, geometry)
        return SoftToyTarget(moved, move_weights(target.weight, geometry) * valid)

    def bounded(self, pred: Float[Tensor, "n k h w"], sizes: Int64[Tensor, "n 2"]) -> Float[Tensor, "n k h w"]:
        """Return the prediction as it is: a pixel has no extent."""
        return pred

    def crop(self, pred: Float[Tensor, "n k h w"], size: tuple[int, int]) -> Float[Tensor, "n k H W"]:
        return pred[..., : size[0], : size[1]]

    def decode(self, pred: Float[Tensor, "n k h w"], sizes: Sequence[tuple[int, int]]) -> list[Any]:
        """Return uint8 maps of class indices."""
        scaled = (F.interpolate(row[None].float(), size) for row, size in zip(pred, sizes, strict=True))
        return [logits[0].argmax(dim=0).to(torch.uint8).numpy() for logits in scaled]

    def record(self, answer: Any) -> Record:
        return Record({}, {"": answer})


class _Head(nn.Module):
    def __init__(self, channels: int, *, dense: bool) -> None:
        super().__init__()
        self.logits, self.dense = nn.Conv2d(channels, len(CLASSES), 1), dense

    def forward(self, features: list[Tensor], size: tuple[int, int], extra: Tensor | None) -> Tensor:
        maps = [F.interpolate(level, size) for level in features]
        logits: Tensor = self.logits(torch.cat(maps if extra is None else [*maps, extra], dim=1))
        return logits if self.dense else logits.mean(dim=(2, 3))


def _index(task: str, label: object, classes: tuple[str, ...]) -> int:
    if label == IGNORE_INDEX:
        return IGNORE_INDEX
    if not isinstance(label, int) or not 0 <= label < len(classes) or classes[label] not in CLASSES:
        raise DataError(f"task '{task}' got label {label} of {classes}; its classes are {CLASSES}: name one of them.")
    return CLASSES.index(classes[label])


def _stacked(targets: list[ToyTarget], like: ToyTarget) -> ToyTarget:
    if not targets:
        return ToyTarget(*(leaf.new_empty((0, *leaf.shape)) for leaf in like))
    return ToyTarget(*(torch.stack(leaves) for leaves in zip(*targets, strict=True)))


def _one_hot(labels: Int64[Tensor, "n ..."]) -> Float[Tensor, "n k ..."]:
    # F.one_hot looks at the values on a CPU, which a check takes for waiting.
    return (labels[..., None] == torch.arange(len(CLASSES), device=labels.device)).movedim(-1, 1).float()


def _cross_entropy(pred: Float[Tensor, "n k ..."], target: ToyTarget) -> Float[Tensor, "n ..."]:
    losses = F.cross_entropy(pred.float(), target.labels, reduction="none", ignore_index=IGNORE_INDEX)
    return losses * target.weight


def _mean(values: Float[Tensor, "n ..."]) -> Loss:
    return Loss(_over_places(values), _over_places(torch.ones_like(values).detach()))


def _over_places(values: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    return values.sum(dim=tuple(range(1, values.ndim))) if values.ndim > 1 else values
