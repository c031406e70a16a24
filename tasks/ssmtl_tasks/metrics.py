"""Collections that are updated with (logits, Labels), built from torchmetrics wherever it has the metric.

They can be updated batch by batch and merged over processes, also where a process or a split saw no valid label.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.wrappers import ClasswiseWrapper

from ssmtl.task import IGNORE_INDEX
from ssmtl_tasks.distributions import hard_labels, log_probabilities
from ssmtl_tasks.mask_metrics import MASK_METRICS
from ssmtl_tasks.targets import Labels

_NO_LABEL = -1


class LabeledMetrics(MetricCollection, ABC):
    """Metrics that read logits and Labels in their own way.

    Compute groups stay off: torchmetrics joins two metrics whose states happen to be equal after the first update, as
    those of Dice and Jaccard are on a perfect prediction, and from then on updates only one of them.
    """

    def __init__(self, metrics: dict[str, Any]) -> None:
        super().__init__(metrics, compute_groups=False)

    @abstractmethod
    def read(self, pred: Tensor, target: Labels) -> tuple[Tensor, ...]:
        """Return what the single metrics are updated with."""

    def update(self, pred: Tensor, target: Labels) -> None:  # type: ignore[override]  # a metric's, not a dict's
        super().update(*self.read(pred, target))

    def forward(self, pred: Tensor, target: Labels) -> dict[str, Any]:
        return super().forward(*self.read(pred, target))


class ClassificationMetrics(LabeledMetrics):
    """accuracy, auc, balanced_accuracy and f1_<class> in [0, 1], and error_pct, of the rows whose weight isn't 0."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        options: dict[str, Any] = {"num_classes": len(classes), "ignore_index": _NO_LABEL, "validate_args": False}
        f1 = MulticlassF1Score(average=None, **options)
        super().__init__(
            {
                "accuracy": MulticlassAccuracy(average="micro", **options),
                "auc": MacroAUC(**options),
                "balanced_accuracy": BalancedAccuracy(**options),
                "error_pct": ErrorRate(average="micro", **options),
                "f1": ClasswiseWrapper(f1, labels=list(classes), prefix="f1_"),
            }
        )

    def read(self, pred: Float[Tensor, "n k"], target: Labels) -> tuple[Tensor, ...]:
        labels = target.labels.where(target.weight > 0, _NO_LABEL)
        probability = pred.double().softmax(dim=1)  # float32 reaches 1 early, which would tie certain rows in the AUC
        if not len(labels):  # torchmetrics refuses an empty update, and warns where there never was one
            return probability.new_full((1, pred.shape[1]), 1 / pred.shape[1]), labels.new_full((1,), _NO_LABEL)
        return probability, labels


class MaskMetrics(LabeledMetrics):
    """Metrics of one class against its background, each the mean over images (see `mask_metrics`).

    dice, jaccard, precision, recall, ssim (masks cut at probability 0.5), soft_dice (probabilities), hausdorff (average
    Hausdorff distance in pixels of the canvas) and hausdorff_empty (how many images it had no distance for).
    """

    def __init__(self) -> None:
        super().__init__({name: metric() for name, metric in MASK_METRICS.items()})

    def read(self, pred: Float[Tensor, "n 1 h w"], target: Labels) -> tuple[Tensor, ...]:
        valid = (target.labels != IGNORE_INDEX) & (target.weight > 0)
        rows = valid.flatten(1).any(dim=1)
        probability = log_probabilities(pred)[:, 1].exp()
        return probability[rows], (target.labels == 1)[rows], valid[rows]


class LabelMapMetrics(LabeledMetrics):
    """accuracy, miou and iou_<class>, from one confusion matrix over all valid pixels of the split."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__({"label_map": LabelMapScores(classes)})

    def read(self, pred: Float[Tensor, "n k h w"], target: Labels) -> tuple[Tensor, ...]:
        labels = target.labels.where(target.weight > 0, IGNORE_INDEX).flatten()
        if not len(labels):
            return labels.new_zeros(1), labels.new_full((1,), IGNORE_INDEX)
        return hard_labels(pred).flatten(), labels


class LabelMapScores(MulticlassConfusionMatrix):
    """The share of right pixels (accuracy), |A and B| / |A or B| of each class (iou_<class>), and their mean (miou).

    A class that is neither labeled nor predicted anywhere has no IoU: it is NaN, and the mean leaves it out. One that
    is only predicted, or only labeled, has 0 and counts.
    """

    plot = Metric.plot

    def __init__(self, classes: tuple[str, ...]) -> None:
        super().__init__(num_classes=len(classes), ignore_index=IGNORE_INDEX, validate_args=False)
        self.names = tuple(f"iou_{name}" for name in classes)

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]  # a collection takes several values of a metric
        pixels = self.confmat.double()
        right = pixels.diagonal()
        iou = right / (pixels.sum(dim=0) + pixels.sum(dim=1) - right)
        scores = {"accuracy": right.sum() / pixels.sum(), "miou": iou.nanmean()}
        return scores | dict(zip(self.names, iou, strict=True))


class MacroAUC(MulticlassAUROC):
    """Area under the ROC curve, one class against the rest, averaged over the classes that have both.

    Where no class has both (a split with one class only) it is 0.5, the value of a constant score.
    """

    def compute(self) -> Tensor:  # type: ignore[override]  # torchmetrics types its parent as a curve
        scores, labels = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        positives = torch.bincount(labels, minlength=self.num_classes)
        defined = ((positives > 0) & (positives < len(labels))).nonzero().flatten().tolist()
        areas = [binary_auroc(scores[:, k], (labels == k).long(), validate_args=False) for k in defined]
        return torch.stack(areas).mean() if areas else torch.tensor(0.5, device=self.device)


class ErrorRate(MulticlassAccuracy):
    """100 - 100 * accuracy, in percent, as papers on semi-supervised classification print it; lower is better."""

    higher_is_better = False
    plot_upper_bound = 100.0

    def compute(self) -> Tensor:
        return 100 - 100 * super().compute()


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean of the recalls of the classes that occur in the reference; 0 when nothing does.

    torchmetrics' macro accuracy also counts an absent class that was predicted, with recall 0.
    """

    plot = Metric.plot

    def compute(self) -> Tensor:
        support = self.confmat.sum(dim=1)
        recall = self.confmat.diagonal() / support.clamp(min=1)
        return recall.sum() / (support > 0).sum().clamp(min=1)
