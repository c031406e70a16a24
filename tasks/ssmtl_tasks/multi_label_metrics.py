"""Metrics of several classes per image, from torchmetrics wherever it has them."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics.classification import MultilabelAUROC, MultilabelF1Score
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities.data import dim_zero_cat

from ssmtl_tasks.metrics import LabeledMetrics
from ssmtl_tasks.targets import Labels

UNKNOWN = -1


class MultiLabelMetrics(LabeledMetrics):
    """auc and map (means over classes), f1_<class> at probability 0.5, all in [0, 1], of pairs whose weight isn't 0."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        options: dict[str, Any] = {"num_labels": len(classes), "ignore_index": UNKNOWN, "validate_args": False}
        super().__init__({"ranking": Ranking(**options), "f1": F1OfEachClass(classes, **options)})

    def read(self, pred: Float[Tensor, "n k"], target: Labels) -> tuple[Tensor, ...]:
        labels, probability = target.labels.where(target.weight > 0, UNKNOWN), pred.double().sigmoid()
        if not len(labels):  # torchmetrics refuses an empty update, and warns where there never was one
            return probability.new_full((1, pred.shape[1]), 0.5), labels.new_full((1, pred.shape[1]), UNKNOWN)
        return probability, labels


class Ranking(MultilabelAUROC):
    """Area under the ROC curve and average precision, averaged over the classes that are there and absent somewhere.

    Where no class is both, the first is 0.5, the value of a constant score, and the second undefined: NaN.
    """

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]  # torchmetrics types its parent as a curve
        scores, labels = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        areas, precisions = [], []
        for k in range(self.num_labels):
            known = labels[:, k] != UNKNOWN
            score, label = scores[known, k], labels[known, k]
            if 0 < int(label.sum()) < len(label):
                areas.append(binary_auroc(score, label, validate_args=False))
                precisions.append(binary_average_precision(score, label, validate_args=False))
        if not areas:
            return {"auc": torch.tensor(0.5, device=self.device), "map": torch.tensor(torch.nan, device=self.device)}
        return {"auc": torch.stack(areas).mean(), "map": torch.stack(precisions).mean()}


class F1OfEachClass(MultilabelF1Score):
    """F1 of each class by name, also of one alone, whose vector torchmetrics would turn into a number."""

    def __init__(self, classes: tuple[str, ...], **options: Any) -> None:
        super().__init__(average=None, **options)
        self.names = tuple(f"f1_{name}" for name in classes)

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]  # a collection takes several values of a metric
        return dict(zip(self.names, super().compute().reshape(-1), strict=True))
