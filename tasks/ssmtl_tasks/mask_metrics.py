"""Metrics of one mask per image, averaged over images: what torchmetrics lacks or pools over the batch instead.

Every class is updated with the foreground probability, the reference and which pixels are valid, each [n, h, w]; what
is invalid is excluded. Masks are cut at probability 0.5. Where both masks of an image are empty they agree completely.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, minimum_filter
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics import Metric

SSIM_WINDOW = 7
"""Side of the uniform SSIM window in pixels."""


class MeanOverImages(Metric):
    """A number per image; the state is its sum and the count of images, so batches and processes add up exactly."""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @abstractmethod
    def values(
        self, probability: Float[Tensor, "n h w"], reference: Bool[Tensor, "n h w"], valid: Bool[Tensor, "n h w"]
    ) -> Float[Tensor, " m"]:
        """Return the value of every image that has one."""

    def update(
        self, probability: Float[Tensor, "n h w"], reference: Bool[Tensor, "n h w"], valid: Bool[Tensor, "n h w"]
    ) -> None:
        values = self.values(probability, reference & valid, valid)
        self.total += values.double().sum()
        self.count += len(values)

    def compute(self) -> Tensor:
        """Return the mean, NaN when no image had a value."""
        return self.total / self.count


class _Overlap(MeanOverImages):
    """A ratio of pixel counts of the cut masks."""

    @abstractmethod
    def ratio(self, both: Tensor, predicted: Tensor, labeled: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator from the pixels in both masks, the predicted and the reference ones."""

    def values(
        self, probability: Float[Tensor, "n h w"], reference: Bool[Tensor, "n h w"], valid: Bool[Tensor, "n h w"]
    ) -> Float[Tensor, " n"]:
        predicted = (probability >= 0.5) & valid
        sizes = [mask.flatten(1).sum(dim=1).double() for mask in (predicted & reference, predicted, reference)]
        numerator, denominator = self.ratio(*sizes)
        both_empty = (sizes[1] + sizes[2] == 0).double()
        return numerator / denominator.clamp(min=1) + both_empty


class Dice(_Overlap):
    """2 |A and B| / (|A| + |B|)."""

    def ratio(self, both: Tensor, predicted: Tensor, labeled: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * both, predicted + labeled


class Jaccard(_Overlap):
    """|A and B| / |A or B|."""

    def ratio(self, both: Tensor, predicted: Tensor, labeled: Tensor) -> tuple[Tensor, Tensor]:
        return both, predicted + labeled - both


class Precision(_Overlap):
    """Share of the predicted pixels that is right; 0 when something should have been predicted and nothing was."""

    def ratio(self, both: Tensor, predicted: Tensor, labeled: Tensor) -> tuple[Tensor, Tensor]:
        return both, predicted


class Recall(_Overlap):
    """Share of the reference pixels that was predicted; 0 when something was predicted and nothing should have been."""

    def ratio(self, both: Tensor, predicted: Tensor, labeled: Tensor) -> tuple[Tensor, Tensor]:
        return both, labeled


class SoftDice(MeanOverImages):
    """2 sum(p s) / (sum p + sum s) of the probabilities themselves: lower than Dice, and not comparable with it.

    Some published Dice figures behave like this number. 1 when both sums are 0.
    """

    def values(
        self, probability: Float[Tensor, "n h w"], reference: Bool[Tensor, "n h w"], valid: Bool[Tensor, "n h w"]
    ) -> Float[Tensor, " n"]:
        p, s = (probability * valid).double().flatten(1), reference.double().flatten(1)
        sizes = p.sum(dim=1) + s.sum(dim=1)
        return torch.where(sizes > 0, 2 * (p * s).sum(dim=1) / sizes.where(sizes > 0, 1.0), 1.0)


class _OnCpu(MeanOverImages):
    """A value from scipy or scikit-image, one image at a time."""

    @abstractmethod
    def value(
        self,
        predicted: Bool[np.ndarray, "h w"],
        reference: Bool[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
    ) -> float | None:
        """Return the image's value, None when it has none."""

    def values(
        self, probability: Float[Tensor, "n h w"], reference: Bool[Tensor, "n h w"], valid: Bool[Tensor, "n h w"]
    ) -> Float[Tensor, " m"]:
        predicted = (probability >= 0.5) & valid
        rows = zip(*(mask.cpu().numpy() for mask in (predicted, reference, valid)), strict=True)
        values = [value for row in rows if (value := self.value(*row)) is not None]
        return torch.tensor(values, dtype=torch.float64, device=self.device)


class StructuralSimilarity(_OnCpu):
    """SSIM (Wang et al. 2004) of the cut masks: 7x7 uniform window, data range 1, mean over windows of valid pixels."""

    def value(
        self,
        predicted: Bool[np.ndarray, "h w"],
        reference: Bool[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
    ) -> float | None:
        if min(valid.shape) < SSIM_WINDOW:
            return None
        whole = minimum_filter(valid, size=SSIM_WINDOW, mode="constant", cval=0)
        if not whole.any():
            return None
        _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
            predicted.astype(np.float64), reference.astype(np.float64), win_size=SSIM_WINDOW, data_range=1.0, full=True
        )
        return float(similarity[whole].mean())


class AverageHausdorff(_OnCpu):
    """Average Hausdorff distance in pixels between the foreground sets, as ITK defines it.

    The mean of two directed averages: over the pixels of one mask, the distance to the nearest pixel of the other (0
    where they overlap). The image's diagonal when exactly one mask is empty, 0 when both are.
    """

    def value(
        self,
        predicted: Bool[np.ndarray, "h w"],
        reference: Bool[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
    ) -> float:
        if not predicted.any() or not reference.any():
            return float(np.hypot(*valid.shape)) if predicted.any() or reference.any() else 0.0
        # the nearest pixel of either mask lies in the box around both, so the rest need not be transformed
        box = tuple(slice(where.min(), where.max() + 1) for where in (predicted | reference).nonzero())
        predicted, reference = predicted[box], reference[box]
        forth = distance_transform_edt(~reference)[predicted].mean()
        back = distance_transform_edt(~predicted)[reference].mean()
        return float(forth + back) / 2


class HausdorffEmpty(_OnCpu):
    """How many images entered the average Hausdorff distance with the diagonal, because one mask was empty."""

    def value(
        self,
        predicted: Bool[np.ndarray, "h w"],
        reference: Bool[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
    ) -> float:
        return float(predicted.any() != reference.any())

    def compute(self) -> Tensor:
        """Return the number of images."""
        return self.total


MASK_METRICS: dict[str, type[MeanOverImages]] = {
    "dice": Dice,
    "hausdorff": AverageHausdorff,
    "hausdorff_empty": HausdorffEmpty,
    "jaccard": Jaccard,
    "precision": Precision,
    "recall": Recall,
    "soft_dice": SoftDice,
    "ssim": StructuralSimilarity,
}
