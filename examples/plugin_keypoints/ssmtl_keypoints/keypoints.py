"""Keypoints: named points in an image, one heatmap each, by a spatial softmax."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchmetrics import MetricCollection

from ssmtl.models.base import Head
from ssmtl.models.heads import SmpUnetDecoder
from ssmtl.palette import Colors
from ssmtl.task import NAME, Annotation, FeatureSpec, Loss, Output, Record, Task
from ssmtl.views.geometry import Geometry, real_pixels, upload
from ssmtl.views.moving import move_points
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC
from ssmtl_keypoints.drawing import draw_points
from ssmtl_keypoints.fake import bright_squares
from ssmtl_keypoints.metrics import PointScores, right_places
from ssmtl_keypoints.points import Points, PointsAnswer, collate_points, gaussians, locate, read_points
from ssmtl_keypoints.sides import MIRRORS, Pairs, check_pairs, exchanged, mirrors

COUNTED = 0.5
"""Confidence from which on a point counts as found."""
OUTSIDE = -1e4
"""Logit of a pixel that shows nothing; its probability is 0 in float32."""
PointName = Annotated[str, Field(pattern=NAME)]


class Keypoints(Task):
    """Named `points`, each somewhere in the image. Predictions are logits [n, k, h, w] on the canvas, targets `Points`.

    A softmax over all pixels makes a map the distribution of where its point is (He et al. 2017, section 5, in Mask
    R-CNN). So no map can end up empty everywhere, as heatmaps with a squared error do that learn from their own
    predictions (Xie et al. 2021). The price: every point is somewhere, and only its confidence, the probability near
    the peak, tells that it may be hidden or not in the image at all.

    **Flips.** A mirror image exchanges left and right: unless `mirrored` says which points change places, the task
    does not declare HorizontalFlip and VerticalFlip, and ssmtl refuses recipes whose views flip. `mirrored=()` says
    that none does.

    >>> face = Keypoints("face", points=("left_eye", "right_eye", "nose"))
    >>> "HorizontalFlip" in face.equivariant_to
    False
    >>> "HorizontalFlip" in face.replace(mirrored=(("left_eye", "right_eye"),)).equivariant_to
    True

    Headline: PCK@0.1, see `PointScores`.
    """

    headline = "pck"
    annotation = "keypoints"

    points: Annotated[tuple[PointName, ...], Field(min_length=1)]
    mirrored: Pairs | None = None
    """Pairs that a mirror image exchanges, such as (("left_eye", "right_eye"),); the others keep their names."""
    sigma: Annotated[float, Field(ge=0.5, le=50)] = 1.5
    """Standard deviation, in pixels of the canvas, of the Gaussian that a map is taught."""
    pck_of: Literal["points", "canvas"] = "points"
    """What a tenth of is near enough: the longer side of the box around the image's points, or of the canvas."""
    head: Head = SmpUnetDecoder()
    """Any dense head of ssmtl: it is built with one output for each point."""
    invariant_to: tuple[str, ...] = PHOTOMETRIC
    equivariant_to: tuple[str, ...] = tuple(name for name in GEOMETRIC if name not in MIRRORS)

    def model_post_init(self, _context: Any, /) -> None:
        """Declare flips where it is said what they do, unless the declaration was given."""
        if self.mirrored is not None and "equivariant_to" not in self.model_fields_set:
            object.__setattr__(self, "equivariant_to", (*self.equivariant_to, *MIRRORS))

    @model_validator(mode="after")
    def _consistent(self) -> "Keypoints":
        folded = [name.casefold() for name in self.points]
        if len(set(folded)) < len(folded):
            raise ValueError(f"{self.points} names a point twice (upper and lower case count as the same); remove one")
        if len(folded) == 1 and self.pck_of == "points":
            raise ValueError("one point alone spans no box to compare distances with; set pck_of='canvas'")
        if self.mirrored is not None:
            check_pairs(self.points, self.mirrored)
        elif flips := sorted({*MIRRORS} & {*self.equivariant_to}):
            raise ValueError(
                f"equivariant_to names {flips[0]}, but nothing says what a mirror image does to {self.points}; give "
                "`mirrored` the pairs that change places, or () if none does"
            )
        return self

    @classmethod
    def examples(cls) -> "tuple[Keypoints, ...]":
        face = cls(name="face", points=("left_eye", "right_eye", "nose"))
        return (
            face,
            face.replace(mirrored=(("left_eye", "right_eye"),)),
            cls(name="tip", points=("tip",), pck_of="canvas"),
        )

    @property
    def reach(self) -> int:
        """Pixels to each side of a peak that belong to it: three standard deviations."""
        return math.ceil(3 * self.sigma)

    def build_head(self, features: FeatureSpec) -> nn.Module:
        return self.head.build(features, len(self.points))

    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> Points:
        return read_points(annotation, classes, self.points, self.name)

    def collate(self, targets: Sequence[Points | None], size: tuple[int, int]) -> Points:
        """Stack rows; raises DataError for a point outside of the canvas."""
        return collate_points(targets, size, self.points, self.name)

    def warp(self, target: Points, geometry: Geometry) -> Points:
        """Move places, not maps, and exchange names where the image is mirrored.

        What leaves the view, comes from padding or is blanked is no longer there. Raises ValueError for a mirror image
        when `mirrored` doesn't say what becomes of the points.
        """
        xy, seen = move_points(target.xy, geometry)
        present = target.present & seen
        xy, weight = xy.where(present[..., None], 0.0), target.weight * present
        flipped = mirrors(geometry)
        if self.mirrored is None and flipped.any():
            raise ValueError(f"'{self.name}' can't be mirrored: give it `mirrored`, the pairs that change places")
        if self.mirrored and flipped.any():
            index, where = (upload(part, xy.device) for part in (exchanged(self.points, self.mirrored), flipped))
            xy = torch.where(where[:, None, None], xy[:, index], xy)
            weight = torch.where(where[:, None], weight[:, index], weight)
            present = torch.where(where[:, None], present[:, index], present)
        size = torch.tensor(geometry.size).expand(len(xy), 2)
        return Points(xy, weight, present, upload(size, xy.device))

    def supervised_loss(self, pred: Float[Tensor, "n k h w"], target: Points) -> Loss:
        """Return KL(Gaussian || map) in nats, a mean over the points that teach.

        It is the cross-entropy less the Gaussian's own entropy, which no gradient sees, so that 0 is the least.
        """
        return Loss((self._divergence(pred, target) * target.weight).sum(dim=1), target.weight.sum(dim=1))

    def pseudo_label(self, pred: Float[Tensor, "n k h w"], threshold: float) -> Points:
        """Return the places of the peaks, with weight 1 where the probability around them reaches `threshold`."""
        xy, confidence = locate(pred.detach(), self.reach)
        size = torch.tensor(pred.shape[-2:]).expand(len(pred), 2)
        present = torch.ones_like(confidence, dtype=torch.bool)
        return Points(xy, (confidence >= threshold).float(), present, upload(size, xy.device))

    def unsupervised_loss(self, pred: Float[Tensor, "n k h w"], target: Points) -> Loss:
        """Return the same divergence, counting every point in the view, trusted or not."""
        return Loss((self._divergence(pred, target) * target.weight).sum(dim=1), target.present.float().sum(dim=1))

    def summarize(self, weak: Float[Tensor, "n k h w"], target: Points) -> dict[str, Loss]:
        """Return "coverage", the share of points in the view that are pseudo-labels, and their mean "confidence"."""
        confidence = self.confidence(weak)
        return {
            "coverage": Loss(target.weight.sum(dim=1), target.present.float().sum(dim=1)),
            "confidence": Loss(confidence, torch.ones_like(confidence)),
        }

    def confidence(self, pred: Float[Tensor, "n k h w"]) -> Float[Tensor, " n"]:
        """Return the mean over a row's points of the probability around their peaks."""
        return locate(pred.detach(), self.reach)[1].mean(dim=1)

    def hidden_target(self, annotation: Annotation, classes: tuple[str, ...]) -> Points:
        """Return a target as `target` does: readers that name other points have no faces of this task."""
        return self.target(annotation, classes)

    def audit(self, target: Points, hidden: Points) -> dict[str, Loss]:
        """Return "precision": the share of trusted points that are right, see `PointScores`, of those with a label."""
        right, scored = right_places(target.xy, hidden, self.pck_of)
        trusted = target.weight * scored
        return {"precision": Loss((trusted * right).sum(dim=1), trusted.sum(dim=1))}

    def foreign(self, hidden: Points) -> Loss:
        """Return 0 for every row with hidden points: there are no classes that they could be strange to."""
        known = (hidden.weight > 0).any(dim=1).float()
        return Loss(torch.zeros_like(known), known)

    def as_prediction(self, target: Points) -> Float[Tensor, "n k h w"]:
        """Return the Gaussians that are taught, on the target's own canvas, and even maps where nothing is known."""
        height, width = (int(side) for side in target.size.amax(dim=0)) if len(target.size) else (1, 1)
        down, across = gaussians(target.xy, (height, width), self.sigma)
        return (down[..., None] + across[..., None, :]).where(target.present[..., None, None], 0.0)

    def metrics(self) -> MetricCollection:
        scores = PointScores(self.points, partial(locate, reach=self.reach), self.pck_of)
        return MetricCollection({"points": scores}, compute_groups=False)

    def decode(self, pred: Float[Tensor, "n k h w"], sizes: Sequence[tuple[int, int]]) -> list[PointsAnswer]:
        """Return the places of each row's points in its source image, whatever their confidence."""
        places, confidence = (part.cpu() for part in locate(pred.detach(), self.reach))
        answers = []
        for xy, sure, (height, width) in zip(places, confidence, sizes, strict=True):
            scale = torch.tensor([width / pred.shape[3], height / pred.shape[2]])
            answers.append(PointsAnswer(self.points, ((xy + 0.5) * scale - 0.5).numpy(), sure.numpy()))
        return answers

    def record(self, answer: PointsAnswer) -> Record:
        """Return x, y and confidence of each point, and one object with COCO's keypoints.

        Its points with a confidence of at least 0.5 have COCO's v = 2, the others x = y = v = 0. Its box, in pixel
        edges as boxes are, is that around the former; an image without any has no object.
        """
        cells: dict[str, str] = {}
        for name, (x, y), sure in zip(answer.names, answer.xy.tolist(), answer.confidence.tolist(), strict=True):
            values = (("x", f"{x:.2f}"), ("y", f"{y:.2f}"), ("confidence", f"{sure:.4f}"))
            cells |= {f"{self.name}_{name}_{what}": text for what, text in values}
        found = answer.confidence >= COUNTED
        if not found.any():
            return Record(cells)
        places = [
            [x, y, 2] if yes else [0, 0, 0] for (x, y), yes in zip(answer.xy.tolist(), found.tolist(), strict=True)
        ]
        (left, top), (right, bottom) = answer.xy[found].min(axis=0).tolist(), answer.xy[found].max(axis=0).tolist()
        person = {
            "category": self.name,
            "bbox": [left + 0.5, top + 0.5, right - left, bottom - top],
            "score": float(answer.confidence[found].mean()),
            "keypoints": [number for place in places for number in place],
            "num_keypoints": int(found.sum()),
        }
        return Record(cells, objects=(person,))

    def exported(self, pred: Float[Tensor, "n k h w"]) -> dict[str, Output]:
        xy, confidence = locate(pred, self.reach)
        names = ", ".join(self.points)
        return {
            "points": Output(xy, f"(x, y) in pixel centers of the input, in this order: {names}"),
            "confidences": Output(confidence, "that each point is there, in [0, 1], in the same order"),
        }

    def reading(self) -> str:
        """Return how places in the input become places in the image."""
        return (
            f"`{self.name}` finds every point somewhere: leave out those with a low confidence. A place x of an input "
            "whose w columns show an image of W columns is at (x + 0.5) * W / w - 0.5 in the image; y likewise."
        )

    def crop(self, pred: Float[Tensor, "n k H W"], size: tuple[int, int]) -> Float[Tensor, "n k h w"]:
        return pred[..., : size[0], : size[1]]

    def bounded(self, pred: Float[Tensor, "n k h w"], sizes: Int64[Tensor, "n 2"]) -> Float[Tensor, "n k h w"]:
        real = real_pixels(sizes, (pred.shape[2], pred.shape[3]), pred.device)
        return pred if real is None else pred.masked_fill(~real[:, None], OUTSIDE)

    def draw(
        self,
        image: UInt8[Tensor, "3 h w"],
        target: Points,
        pred: Float[Tensor, "k H W"] | None,
        colors: Colors | None = None,
    ) -> UInt8[Tensor, "3 h w"]:
        """Return the image with reference points in green, found ones in red, and lines from one to the other.

        Of what is predicted, points with a confidence below 0.5 are left out.
        """
        found = None
        if pred is not None:
            (found,) = self.decode(pred[None], [(image.shape[1], image.shape[2])])
        known = target.weight > 0
        reference = {
            name: tuple(xy) for name, xy, yes in zip(self.points, target.xy.tolist(), known, strict=True) if yes
        }
        if found is None:
            return draw_points(image, reference, {})
        sure = zip(self.points, found.xy.tolist(), found.confidence >= COUNTED, strict=True)
        return draw_points(image, reference, {name: tuple(xy) for name, xy, yes in sure if yes})

    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[Points]]:
        """Make squares on noise, a brightness for each point; in every fifth row the first one is missing."""
        return bright_squares(n, len(self.points), seed, channels=channels, size=size)

    def _divergence(self, pred: Float[Tensor, "n k h w"], target: Points) -> Float[Tensor, "n k"]:
        """Return KL(Gaussian || map) of every point; the Gaussian is a product, so that no map of it is ever made."""
        logs = pred.float().flatten(2).log_softmax(dim=-1).view_as(pred)
        down, across = gaussians(target.xy, (pred.shape[2], pred.shape[3]), self.sigma)
        y, x = down.exp(), across.exp()
        cross = ((logs * x[:, :, None]).sum(dim=-1) * y).sum(dim=-1)
        return (y * down).sum(dim=-1) + (x * across).sum(dim=-1) - cross
