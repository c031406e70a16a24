"""Segmentation: one class per pixel, of one class against its background or of several."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, UInt8
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from ssmtl.errors import DataError
from ssmtl.models.base import Head
from ssmtl.models.multimix_unet import MultiMixDecoder
from ssmtl.palette import Colors
from ssmtl.task import IGNORE_INDEX, Annotation, FeatureSpec, Loss, Output, Record, Task
from ssmtl.views.geometry import Geometry
from ssmtl.views.moving import move_labels, move_soft, move_weights
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC
from ssmtl_tasks.distributions import hard_labels, log_probabilities, pixel_cross_entropy
from ssmtl_tasks.divergence import FORMS, mask_divergence
from ssmtl_tasks.drawing import PREDICTED, REFERENCE, draw_contours, draw_ignored, draw_maps
from ssmtl_tasks.losses import CrossEntropy, SegmentationLoss
from ssmtl_tasks.metrics import LabeledMetrics, LabelMapMetrics, MaskMetrics
from ssmtl_tasks.phantoms import disks
from ssmtl_tasks.targets import BACKGROUND, SURE, Labels, SoftLabels, check_classes, mask_labels


def _mask_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    check_classes(classes)
    if [name.casefold() for name in classes] == [BACKGROUND]:
        raise ValueError("one class already has an implied background; name what the mask shows")
    return classes


class Segmentation(Task):
    """A map of `classes`. Predictions are logits [n, c, h, w] on the canvas, targets `Labels` of shape [n, h, w].

    The `head` makes the former, and `loss` compares the two where there are labels.

    One class means one logit (sigmoid) against an implied background, so labels and decoded masks index ("background",
    class); several mean a softmax over exactly `classes`, so name "background" among them where it exists.
    `IGNORE_INDEX` (255) marks pixels that no loss and no metric sees. The headline of one class is its Jaccard index,
    a mean over images; of several the mIoU, of all pixels together.
    """

    annotation = "mask"
    divergence_forms: ClassVar[tuple[str, ...]] = FORMS

    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=IGNORE_INDEX), AfterValidator(_mask_classes)]
    loss: SegmentationLoss = CrossEntropy()
    head: Head = MultiMixDecoder()
    reduction: Literal["pooled", "per_image"] = "pooled"
    """The unsupervised loss is a mean over all valid pixels of the batch, or over images of their means."""
    invariant_to: tuple[str, ...] = PHOTOMETRIC
    equivariant_to: tuple[str, ...] = GEOMETRIC

    @property
    def headline(self) -> str:  # type: ignore[override]  # it depends on the number of classes
        """The metric that stands for the task."""
        return "jaccard" if len(self.classes) == 1 else "miou"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names behind the values of labels and decoded masks."""
        return (BACKGROUND, *self.classes) if len(self.classes) == 1 else self.classes

    @classmethod
    def examples(cls) -> "tuple[Segmentation, ...]":
        several = cls(name="organs", classes=(BACKGROUND, "lung", "heart"))
        return cls(name="lungs", classes=("lung",)), several, several.replace(reduction="per_image")

    def build_head(self, features: FeatureSpec) -> nn.Module:
        return self.head.build(features, len(self.classes))

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> Labels:
        return mask_labels(annotation, classes, self.outputs, self.name)

    def collate(self, targets: Sequence[Labels | None], size: tuple[int, int]) -> Labels:
        """Stack masks; raises DataError for one that isn't of the canvas' size."""
        empty = Labels(torch.full(size, IGNORE_INDEX), torch.zeros(size))
        rows = [empty if target is None else target for target in targets]
        for row in rows:
            if row.labels.shape != size:
                raise DataError(
                    f"task '{self.name}' got a mask of {tuple(row.labels.shape)} pixels (height, width) for images of "
                    f"{size}; the reader must bring masks to the same canvas as images."
                )
        if not rows:
            return Labels(empty.labels.new_empty((0, *size)), empty.weight.new_empty((0, *size)))
        return Labels(torch.stack([row.labels for row in rows]), torch.stack([row.weight for row in rows]))

    def warp(self, target: Labels, geometry: Geometry) -> Labels:
        labels = move_labels(target.labels, geometry, fill=IGNORE_INDEX)
        return Labels(labels, move_weights(target.weight, geometry))

    def supervised_loss(self, pred: Float[Tensor, "n c h w"], target: Labels) -> Loss:
        return self.loss.per_row(pred, target)

    def pseudo_label(self, pred: Float[Tensor, "n c h w"], threshold: float) -> Labels:
        """Return the most probable outcome of every pixel, with weight 1 from probability `threshold` on.

        Of one class, the outcome is the class from p = 0.5 on, and its probability max(p, 1 - p).
        """
        confidence = log_probabilities(pred.detach()).exp().amax(dim=1)
        return Labels(hard_labels(pred.detach()), (confidence >= threshold).float())

    def unsupervised_loss(self, pred: Float[Tensor, "n c h w"], target: Labels) -> Loss:
        """Return the cross-entropy in nats, averaged over all pixels that aren't ignored, confident or not.

        The weight zeroes the numerator only: dividing by the confident pixels would let a few of them weigh like many.
        With the `reduction` "per_image", an image counts 1 however many of its pixels are valid, unless none is.
        """
        losses = pixel_cross_entropy(pred, target.labels) * target.weight
        return self._over_pixels(losses, (target.labels != IGNORE_INDEX).float())

    def summarize(self, weak: Float[Tensor, "n c h w"], target: Labels) -> dict[str, Loss]:
        """Return "coverage", the share of valid pixels that are pseudo-labels, and "confidence".

        The latter is the geometric mean over the pixels of a row of their largest probability.
        """
        confidence = self.confidence(weak)
        valid = (target.labels != IGNORE_INDEX).float().sum(dim=(1, 2))
        return {
            "coverage": Loss(target.weight.sum(dim=(1, 2)), valid),
            "confidence": Loss(confidence, torch.ones_like(confidence)),
        }

    def confidence(self, pred: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """Return the geometric mean over a row's pixels of their largest probability."""
        return log_probabilities(pred.detach()).amax(dim=1).mean(dim=(1, 2)).exp()

    def soft_target(self, pred: Float[Tensor, "n c h w"]) -> SoftLabels:
        probabilities = log_probabilities(pred.detach()).exp()
        return SoftLabels(probabilities, torch.ones_like(probabilities[:, 0]))

    def warp_soft(self, target: SoftLabels, geometry: Geometry) -> SoftLabels:
        moved, valid = move_soft(target.probabilities, geometry)
        return SoftLabels(moved, move_weights(target.weight, geometry) * valid)

    def squared_error(self, pred: Float[Tensor, "n c h w"], target: SoftLabels) -> Loss:
        difference = log_probabilities(pred).exp() - target.probabilities
        return self._over_pixels(difference.square().mean(dim=1), target.weight)

    def kl(self, pred: Float[Tensor, "n c h w"], other: Float[Tensor, "n c h w"]) -> Loss:
        log_p, log_q = log_probabilities(pred), log_probabilities(other)
        divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1)
        return self._over_pixels(divergence, torch.ones_like(divergence))

    def entropy(self, pred: Float[Tensor, "n c h w"]) -> Loss:
        log_p = log_probabilities(pred)
        entropy = -(log_p.exp() * log_p).sum(dim=1)
        return self._over_pixels(entropy, torch.ones_like(entropy))

    def hidden_target(self, annotation: Annotation, classes: tuple[str, ...]) -> Labels:
        """Return a mask; one of which this task knows no class says nothing about what it predicts."""
        known = {name.casefold() for name in self.classes}
        if isinstance(annotation, np.ndarray) and known.isdisjoint(name.casefold() for name in classes):
            return Labels(torch.full(annotation.shape, IGNORE_INDEX), torch.zeros(annotation.shape))
        return self.target(annotation, classes)

    def audit(self, target: Labels, hidden: Labels) -> dict[str, Loss]:
        """Return "precision": the share of the pixels with a trusted pseudo-label and a hidden one that agree."""
        known = (target.labels != IGNORE_INDEX) & (hidden.labels != IGNORE_INDEX) & (hidden.weight > 0)
        trusted = target.weight * known
        right = trusted * (target.labels == hidden.labels)
        return {"precision": Loss(right.sum(dim=(1, 2)), trusted.sum(dim=(1, 2)))}

    def foreign(self, hidden: Labels) -> Loss:
        """Return 0 for every row with a hidden mask: masks of foreign images are all background or ignored."""
        known = (hidden.weight > 0).flatten(1).any(dim=1).float()
        return Loss(torch.zeros_like(known), known)

    def divergence(
        self, labeled: Float[Tensor, "a c h w"], unlabeled: Float[Tensor, "b c h w"], *, form: str, detach_target: bool
    ) -> Loss:
        """Return KL(labeled || unlabeled) in one of `divergence_forms` (see `mask_divergence`), a row per pair."""
        return mask_divergence(labeled, unlabeled, form=form, detach_target=detach_target)

    def as_prediction(self, target: Labels) -> Float[Tensor, "n c h w"]:
        labels = target.labels.where(target.labels != IGNORE_INDEX, 0)
        sure = SURE * F.one_hot(labels, len(self.outputs)).movedim(-1, 1).float()
        return sure[:, 1:] - sure[:, :1] if len(self.classes) == 1 else sure

    def metrics(self) -> LabeledMetrics:
        return MaskMetrics() if len(self.classes) == 1 else LabelMapMetrics(self.classes)

    def decode(
        self, pred: Float[Tensor, "n c h w"], sizes: Sequence[tuple[int, int]]
    ) -> list[UInt8[np.ndarray, "_ _"]]:
        """Return a mask per row whose values index `outputs`; logits are brought to the source's size bilinearly."""
        return [_mask_at(row, size) for row, size in zip(pred.detach(), sizes, strict=True)]

    def _over_pixels(self, values: Float[Tensor, "n h w"], weight: Float[Tensor, "n h w"]) -> Loss:
        """Return an unsupervised loss of pixels, each counting as it weighs, under the task's `reduction`."""
        total, count = (values * weight).sum(dim=(1, 2)), weight.detach().sum(dim=(1, 2))
        return (
            Loss(total, count) if self.reduction == "pooled" else Loss(total / count.clamp(min=1), count.clamp(max=1))
        )

    def record(self, answer: UInt8[np.ndarray, "h w"]) -> Record:
        """Return the share of the image that is foreground, or that shows each class, the map, and its regions.

        The map holds 0 and 255, or class indices where there are several. Background is no region.
        """
        several = len(self.classes) > 1
        shown = {name: answer == index for index, name in enumerate(self.outputs)}
        areas = {name: f"{region.mean():.4f}" for name, region in shown.items()}
        cells = {f"{self.name}_{name}_area": area for name, area in areas.items()}
        regions = {name: region for name, region in shown.items() if name.casefold() != BACKGROUND and region.any()}
        return Record(
            cells if several else {f"{self.name}_area": areas[self.classes[0]]},
            {"": answer if several else answer * np.uint8(255)},
            tuple({"category": name, "segmentation": region} for name, region in regions.items()),
        )

    def exported(self, pred: Float[Tensor, "n c h w"]) -> dict[str, Output]:
        if len(self.classes) == 1:
            return {"probabilities": Output(pred.float().sigmoid(), f"of '{self.classes[0]}' at each pixel")}
        names = ", ".join(self.classes)
        meaning = f"of each class at each pixel, in this order: {names}"
        return {"probabilities": Output(pred.float().softmax(dim=1), meaning)}

    def reading(self) -> str:
        """Return how probabilities become a mask."""
        rule = "are above 0.5" if len(self.classes) == 1 else "are the largest of their pixel"
        return (
            f"A mask of `{self.name}` is where the probabilities {rule}. For a mask in the size of the image, cut the "
            "probabilities to what shows the image and resize them bilinearly before deciding."
        )

    def crop(self, pred: Float[Tensor, "n c H W"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
        return pred[..., : size[0], : size[1]]

    def draw(
        self,
        image: UInt8[Tensor, "3 h w"],
        target: Labels,
        pred: Float[Tensor, "c H W"] | None,
        colors: Colors | None = None,
    ) -> UInt8[Tensor, "3 _ _"]:
        """Return classes in their colors, reference and prediction beside each other; of one class, both outlines.

        In one picture, the reference in green and the prediction in red, outlines show where and how far they part;
        two panels would leave that to the eye. Ignored pixels are gray.
        """
        known = (target.labels != IGNORE_INDEX) & (target.weight > 0)
        found = None if pred is None else torch.from_numpy(_mask_at(pred.detach(), (image.shape[1], image.shape[2])))
        if len(self.classes) == 1:
            picture = draw_ignored(image, ~known) if known.any() else image
            picture = draw_contours(picture, target.labels.where(known, 0), REFERENCE)
            return picture if found is None else draw_contours(picture, found, PREDICTED)
        truth = target.labels.where(known, IGNORE_INDEX) if known.any() else None
        return draw_maps(image, truth, found, self.classes, colors)

    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[Labels]]:
        """Make bright disks on noise; the disk is the second output, and every further output a brighter stripe."""
        images, masks = disks(np.full(n, 0.3), seed, channels=channels, size=size)
        labels = masks.long()
        for output in range(2, len(self.outputs)):
            columns = slice((output - 2) * size[1] // len(self.outputs), (output - 1) * size[1] // len(self.outputs))
            labels[:, : size[0] // 4, columns] = output
            images[:, :, : size[0] // 4, columns] = 255 - 40 * (output - 2) // len(self.outputs)
        return images, [Labels(row, torch.ones(size)) for row in labels]


def _mask_at(logits: Float[Tensor, "c a b"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    scaled = F.interpolate(logits[None].float(), size, mode="bilinear", antialias=True)
    return hard_labels(scaled)[0].byte().cpu().numpy()
