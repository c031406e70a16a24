"""Depth: how far away each pixel is, in meters, and how sure that is."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from pydantic import Field
from ssmtl import keyed
from ssmtl.errors import DataError
from ssmtl.models.base import Head
from ssmtl.models.multimix_unet import MultiMixDecoder
from ssmtl.palette import Colors
from ssmtl.schedules import Fraction
from ssmtl.task import Annotation, FeatureSpec, Loss, Output, Record, Task
from ssmtl.views.geometry import Geometry
from ssmtl.views.moving import move_weights
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection

from ssmtl_depth.drawing import draw_depth
from ssmtl_depth.head import DepthHead
from ssmtl_depth.losses import laplace, scale_invariant
from ssmtl_depth.maps import CLOSE, LEAST_LOG_SCALE, DepthMap, DepthPrediction, closeness, depth_map
from ssmtl_depth.metrics import DepthScores
from ssmtl_depth.phantom import gray
from ssmtl_depth.scene import draw_scene

RESCALING = ("Perspective", "RandomResizedCrop", "ScaleCrop")
"""Transforms that draw things larger or smaller."""
MILLIMETERS = 65535


class Depth(Task):
    """A map of depth in meters. Predictions are `DepthPrediction`s on the canvas, targets `DepthMap`s.

    It is equivariant to whatever moves pixels and keeps their scale: flips, turns, shifts and shears, whose areas stay.
    It is **not** equivariant to `RESCALING`: the same thing drawn larger is nearer. A crop that enlarges the image
    would teach that near things are far, and no single factor on the depth mends a perspective, which enlarges one
    side. Recipes whose views do that are refused; policies that derive what tasks allow leave it out.

    The headline is delta1, the share of pixels whose depth is right within a factor of 1.25. Supervised are the scale
    invariant loss of Eigen et al. 2014 (Eq. 4) and the Laplace likelihood of the predicted scale (Kendall and Gal
    2017), per image. As a pseudo-label a pixel is trusted where, by that scale, it is probably right within 1.25.
    """

    headline = "delta1"
    annotation = "depth"

    head: Head = MultiMixDecoder()
    """Any dense head of ssmtl or of a plugin; it is asked for two maps."""
    typical: Annotated[float, Field(gt=0)] = 6.0
    """Meters that a fresh head predicts: the nearer to what images show, the sooner it learns."""
    invariance: Fraction = 0.5
    """How little a common factor on the depth of an image costs, from 0 to 1: lambda of Eigen et al. 2014."""
    certainty: Annotated[float, Field(gt=0)] = 0.1
    """Weight of the likelihood that teaches the scale, beside the loss that teaches depth."""
    invariant_to: tuple[str, ...] = PHOTOMETRIC
    equivariant_to: tuple[str, ...] = tuple(name for name in GEOMETRIC if name not in RESCALING)

    @classmethod
    def examples(cls) -> "tuple[Depth, ...]":
        return cls(name="depth"), cls(name="range", typical=20.0, invariance=1.0)

    def build_head(self, features: FeatureSpec) -> nn.Module:
        return DepthHead(self.head.build(features, 2), self.typical)

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> DepthMap:
        """Return one image's target; there are no classes. Raises DataError for what is no depth in meters."""
        return depth_map(annotation, self.name)

    def collate(self, targets: Sequence[DepthMap | None], size: tuple[int, int]) -> DepthMap:
        """Stack maps; raises DataError for one that isn't of the canvas' size."""
        nothing = DepthMap(torch.zeros(size), torch.zeros(size), torch.zeros(size, dtype=torch.bool))
        rows = [nothing if target is None else target for target in targets]
        for row in rows:
            if row.log_depth.shape != size:
                raise DataError(
                    f"task '{self.name}' got depth of {tuple(row.log_depth.shape)} pixels (height, width) for images "
                    f"of {size}; the reader must bring depth to the same canvas as images."
                )
        if not rows:
            return DepthMap(*(part.new_empty((0, *size)) for part in nothing))
        return DepthMap(*(torch.stack(parts) for parts in zip(*rows, strict=True)))

    def warp(self, target: DepthMap, geometry: Geometry) -> DepthMap:
        """Move every pixel as it is: a mean of neighbors would invent depth between a thing and what is behind it."""
        valid = move_weights(target.valid.float(), geometry) > 0
        return DepthMap(move_weights(target.log_depth, geometry), move_weights(target.weight, geometry), valid)

    def supervised_loss(self, pred: DepthPrediction, target: DepthMap) -> Loss:
        """Return the loss of depth and that of the scale, a mean over the images that have a known pixel."""
        difference, weight = _difference(pred, target), target.trusted
        of_depth = scale_invariant(difference, weight, self.invariance)
        of_scale = laplace(difference, pred.log_scale.float(), weight)
        return Loss(of_depth + self.certainty * of_scale, weight.flatten(1).any(dim=1).float())

    def pseudo_label(self, pred: DepthPrediction, threshold: float) -> DepthMap:
        """Return the predicted depth, with weight 1 where it is right within 1.25 with at least that probability."""
        sure = (closeness(pred.log_scale.detach()) >= threshold).float()
        return DepthMap(pred.log_depth.detach().float(), sure, torch.ones_like(sure, dtype=torch.bool))

    def unsupervised_loss(self, pred: DepthPrediction, target: DepthMap) -> Loss:
        """Return the absolute difference of log depth over all valid pixels, trusted or not.

        The scale learns nothing here: how wrong predictions are, only real labels can tell.
        """
        wrong = _difference(pred, target).abs() * target.trusted
        return Loss(wrong.sum(dim=(1, 2)), target.valid.float().sum(dim=(1, 2)))

    def confidence(self, pred: DepthPrediction) -> Float[Tensor, " n"]:
        """Return the share of a row's pixels that its scales expect to be right within 1.25: a predicted delta1."""
        return closeness(pred.log_scale.detach()).mean(dim=(1, 2))

    def summarize(self, weak: DepthPrediction, target: DepthMap) -> dict[str, Loss]:
        """Return "coverage", the share of valid pixels that are pseudo-labels, and "confidence"."""
        confidence, valid = self.confidence(weak), target.valid.float().sum(dim=(1, 2))
        return {
            "coverage": Loss(target.trusted.sum(dim=(1, 2)), valid),
            "confidence": Loss(confidence, torch.ones_like(confidence)),
        }

    def hidden_target(self, annotation: Annotation, classes: tuple[str, ...]) -> DepthMap:
        return self.target(annotation, classes)

    def audit(self, target: DepthMap, hidden: DepthMap) -> dict[str, Loss]:
        """Return "precision": the share of trusted pixels, among those with hidden depth, right within 1.25."""
        trusted = target.trusted * (hidden.trusted > 0)
        right = trusted * ((target.log_depth - hidden.log_depth).abs() < np.log(CLOSE))
        return {"precision": Loss(right.sum(dim=(1, 2)), trusted.sum(dim=(1, 2)))}

    def foreign(self, hidden: DepthMap) -> Loss:
        """Return 0 for every row with hidden depth: no depth is of another kind."""
        known = (hidden.trusted > 0).flatten(1).any(dim=1).float()
        return Loss(torch.zeros_like(known), known)

    def as_prediction(self, target: DepthMap) -> DepthPrediction:
        return DepthPrediction(target.log_depth, torch.full_like(target.log_depth, LEAST_LOG_SCALE))

    def metrics(self) -> MetricCollection:
        return MetricCollection({"depth": DepthScores()}, compute_groups=False)

    def decode(self, pred: DepthPrediction, sizes: Sequence[tuple[int, int]]) -> list[Float32[np.ndarray, "_ _"]]:
        """Return depth in meters per row, its logarithm brought to the source's size bilinearly."""
        return [_log_depth_at(row, size).exp().numpy() for row, size in zip(pred.log_depth, sizes, strict=True)]

    def record(self, answer: Float32[np.ndarray, "h w"]) -> Record:
        """Return the nearest and farthest twentieth and the median in meters, and a map of whole millimeters.

        The map ends at 65.535 m, which stands for all that is farther.
        """
        shares = {"near": 5, "median": 50, "far": 95}
        cells = {f"{self.name}_{word}": f"{np.percentile(answer, share):.3f}" for word, share in shares.items()}
        return Record(cells, {"": np.rint(answer * 1000.0).clip(1, MILLIMETERS).astype(np.uint16)})

    def crop(self, pred: DepthPrediction, size: tuple[int, int]) -> DepthPrediction:
        return DepthPrediction(*(part[..., : size[0], : size[1]] for part in pred))

    def exported(self, pred: DepthPrediction) -> dict[str, Output]:
        return {
            "depth": Output(pred.log_depth.float().exp(), "meters, at each pixel"),
            "closeness": Output(closeness(pred.log_scale), "probability that the depth is right within a factor 1.25"),
        }

    def reading(self) -> str:
        """Return what is left to do for an image of another size."""
        return f"Depth of `{self.name}` in the size of the image: cut it to what shows the image, and resize it."

    def draw(
        self,
        image: UInt8[Tensor, "3 h w"],
        target: DepthMap,
        pred: DepthPrediction | None,
        colors: Colors | None = None,
    ) -> UInt8[Tensor, "3 _ _"]:
        """Return reference and prediction beside each other in one scale of colors, which is drawn below."""
        size = image.shape[1], image.shape[2]
        return draw_depth(image, target, None if pred is None else _log_depth_at(pred.log_depth, size))

    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[DepthMap]]:
        """Make scenes of the phantom, in gray unless `channels` is 3."""
        scenes = [draw_scene(keyed.key("fake depth", seed, row), size, hazy=row % 2 == 1) for row in range(n)]
        images = [scene.image if channels == 3 else gray(scene.image).repeat(channels, axis=0) for scene in scenes]
        pixels = np.stack(images) if images else np.zeros((0, channels, *size), np.uint8)
        return torch.from_numpy(pixels), [depth_map(scene.depth, self.name) for scene in scenes]


def _difference(pred: DepthPrediction, target: DepthMap) -> Float[Tensor, "n h w"]:
    return pred.log_depth.float() - target.log_depth


def _log_depth_at(log_depth: Float[Tensor, "a b"], size: tuple[int, int]) -> Float32[Tensor, "h w"]:
    """Bring predicted log depth to (height, width), on the CPU."""
    whole = log_depth.detach()[None, None].float()
    return functional.interpolate(whole, size, mode="bilinear", antialias=True)[0, 0].cpu()
