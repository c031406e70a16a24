"""The contract of a task: a frozen value that turns features into predictions, and predictions and labels into losses.

A *prediction* is what the task's head returns, a *target* what its labels become: both are tensors or NamedTuples of
tensors, rows first. A target carries its own weights, so that a real label, a pseudo-label and a missing label (weight
0) are the same type. A task never sees which method trains it.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from pydantic import Field
from torch import Tensor, nn
from torchmetrics import MetricCollection

from ssmtl.component import Component
from ssmtl.errors import DataError
from ssmtl.palette import Colors
from ssmtl.views.geometry import Geometry

IGNORE_INDEX = 255
NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
"""What names of tasks and columns look like."""

Prediction: TypeAlias = Any
Target: TypeAlias = Any
Perturb: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
"""What may happen to feature maps, finest first, between the encoder and a head; shapes stay."""


@dataclass(frozen=True, eq=False)
class BoxList:
    """The boxes of one image: `m` objects, none of them when the image was annotated and shows nothing.

    `xyxy` holds (left, top, right, bottom) on pixel edges, half-open: 0 <= left < right <= W and 0 <= top < bottom <= H
    of the canvas, so right - left counts columns of pixels. `labels` are indices into the reader's "boxes" classes;
    `crowd` marks boxes around a group, which neither teach nor count. Raises DataError for boxes that are no boxes.
    """

    xyxy: Float32[np.ndarray, "m 4"]
    labels: Int64[np.ndarray, " m"]
    crowd: Bool[np.ndarray, " m"]

    def __post_init__(self) -> None:
        shapes = self.xyxy.shape, self.labels.shape, self.crowd.shape
        if shapes != ((len(self.labels), 4), (len(self.labels),), (len(self.labels),)):
            raise DataError(
                f"boxes, labels and crowd have shapes {shapes}; expected (m, 4), (m,) and (m,) for m boxes."
            )
        good = np.isfinite(self.xyxy).all(axis=1) & (self.xyxy[:, :2] < self.xyxy[:, 2:]).all(axis=1)
        if not good.all():
            row = int(np.argmin(good))
            raise DataError(
                f"box {row} is {self.xyxy[row].tolist()}; expected finite (left, top, right, bottom) in pixels with "
                "left < right and top < bottom; correct it or leave it out."
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Bytes that the boxes occupy."""
        return self.xyxy.nbytes + self.labels.nbytes + self.crowd.nbytes


Annotation: TypeAlias = int | np.ndarray[Any, np.dtype[Any]] | BoxList


@dataclass(frozen=True, slots=True)
class Loss:
    """A ratio over the batch, one part per row: the term is sum(total) / max(floor, sum(count)), with global sums.

    For a mean over samples count is 1 a row, for pooled pixels the number of valid pixels, for anchors the number of
    positives. `total` carries the gradient; `count` never does. A row that takes no part has 0 in both. `floor` is for
    losses whose total can be positive where nothing is counted, such as that of a batch without objects.
    """

    total: Float[Tensor, " n"]
    count: Float[Tensor, " n"]
    floor: float = 0.0


class Record(NamedTuple):
    """One answer as files hold it.

    `columns` are cells of the image's row in predictions.csv, whose names begin with the task's. `maps` are written as
    gray PNG files of 8 or 16 bits, uint8 or uint16 [h, w], under the task's name and theirs; "" is the task's one map.
    `objects` become annotations of a COCO file: dicts of COCO's own fields in source pixels, such as "bbox" (left, top,
    width, height), "score" and "keypoints", with the class's name as "category" and a region, bool [h, w], as
    "segmentation".
    """

    columns: dict[str, str]
    maps: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}  # noqa: RUF012  # NamedTuples share defaults; nobody writes
    objects: tuple[dict[str, Any], ...] = ()


class FeatureSpec(NamedTuple):
    """What an encoder returns: one feature map per level, finest first, `strides` pixels of the input per cell.

    `extra` counts channels at input resolution that a bridge hands to dense heads beside the features (0 without one).
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    extra: int = 0


class Task(Component):
    """One job of the model, referred to everywhere by its `name`.

    `invariant_to` and `equivariant_to` name the transforms that leave the target as it is, or move it with the image; a
    policy may only hold transforms that every task it touches declares.
    """

    group = "tasks"
    headline: ClassVar[str]
    """Key of the metric in [0, 1], higher is better, that enters the geometric mean for choosing checkpoints."""
    annotation: ClassVar[str]
    """What is annotated: "label" (class index), "mask" (index map), "boxes", or a plugin's own word."""

    name: Annotated[str, Field(pattern=NAME)] = Field(kw_only=False)
    column: Annotated[str, Field(pattern=f"^$|{NAME}")] = ""
    """Which of the reader's annotations of that form it learns from, where the reader names several."""
    invariant_to: tuple[str, ...] = ()
    equivariant_to: tuple[str, ...] = ()

    @classmethod
    def examples(cls) -> "tuple[Task, ...]":
        """Return tasks that stand for all that this class can be: the contract suite runs on each of them."""
        return (cls(name="example"),)

    @property
    def reads(self) -> str:
        """Return the key under which samples hold its annotation, such as "label", or "label:sex" of column "sex"."""
        return f"{self.annotation}:{self.column}" if self.column else self.annotation

    @abstractmethod
    def build_head(self, features: FeatureSpec) -> nn.Module:
        """Return a head: called with (feature maps, image size, extra or None), rows first, it returns a prediction."""

    @abstractmethod
    def target(self, annotation: Annotation, classes: tuple[str, ...]) -> Target:
        """Turn one sample's annotation, in the reader's `classes`, into this task's target without a batch dimension.

        Classes are matched by name. Raises DataError for a label that this task doesn't know.
        """

    @abstractmethod
    def collate(self, targets: Sequence[Target | None], size: tuple[int, int]) -> Target:
        """Stack targets; None (not annotated) becomes weight 0. `size` is the canvas (height, width)."""

    @abstractmethod
    def warp(self, target: Target, geometry: Geometry) -> Target:
        """Move a batch of targets with the image; pixels outside become ignored. Invariant targets come back as is."""

    @abstractmethod
    def supervised_loss(self, pred: Prediction, target: Target) -> Loss:
        """Return the loss of rows against their labels; ignored and weightless parts have no influence."""

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Return metrics, updated with (prediction, target), that contain the `headline`."""

    @abstractmethod
    def decode(self, pred: Prediction, sizes: Sequence[tuple[int, int]]) -> list[Any]:
        """Return one answer per row in source pixels: `sizes` are the (height, width) of the source images."""

    @abstractmethod
    def record(self, answer: Any) -> Record:
        """Return what `ssmtl predict` writes of an answer."""

    @abstractmethod
    def draw(
        self, image: UInt8[Tensor, "3 h w"], target: Target, pred: Prediction | None, colors: Colors | None = None
    ) -> UInt8[Tensor, "3 _ _"]:
        """Return a picture of one row: the reference and the prediction over the image, or beside each other.

        The target belongs to the pixels of `image`, the prediction to an image of any size that shows the same. With
        only one of the two, or neither, the picture has the size of the image. `colors` are those of classes by name,
        for pictures that go together; None: the task's own.
        """

    @abstractmethod
    def fake_batch(
        self, n: int, seed: int, *, channels: int = 3, size: tuple[int, int] = (32, 32)
    ) -> tuple[UInt8[Tensor, "n c h w"], list[Target]]:
        """Make `n` learnable images with targets, deterministic in `seed`, for tests, smoke runs and examples."""


@runtime_checkable
class PseudoLabels(Protocol):
    """Ability: predictions can become targets."""

    def pseudo_label(self, pred: Prediction, threshold: float) -> Target:
        """Return hard, detached targets; what is predicted below `threshold` (in probability) has weight 0."""

    def unsupervised_loss(self, pred: Prediction, target: Target) -> Loss:
        """Return the loss against pseudo-targets: counts every valid part, also those whose weight is 0."""


@runtime_checkable
class Reversible(Protocol):
    """Ability: what is right can be predicted on purpose, so that losses and metrics can be tried on it."""

    def as_prediction(self, target: Target) -> Prediction:
        """Return a prediction that says exactly what a batch of targets says, surely; rows without weight say anything.

        Its supervised loss is close to the least there is, and its metrics are the best.
        """


@runtime_checkable
class Summarized(Protocol):
    """Ability: what becomes of predictions as pseudo-labels can be told in a few numbers, for people to watch."""

    def summarize(self, weak: Prediction, target: Target) -> dict[str, Loss]:
        """Return named ratios of weak predictions and the pseudo-targets made of them, moved to where they teach.

        Those in [0, 1] are called "coverage", "confidence", "precision", or "confidence_to_<percent>" for the bins of a
        histogram; any other name begins with "pseudo_". By that the report tells them from losses.
        """


@runtime_checkable
class Confident(Protocol):
    """Ability: each row's prediction says in one number how sure it is."""

    def confidence(self, pred: Prediction) -> Float[Tensor, " n"]:
        """Return a probability in [0, 1] per row, detached."""


@runtime_checkable
class Distributions(Protocol):
    """Ability: predictions are probability distributions, one per row or one per place, that can be compared.

    A *soft target* holds distributions, detached, with a weight for each place where there may be none.
    """

    def soft_target(self, pred: Prediction) -> Target:
        """Return the predicted distributions as a soft target."""

    def warp_soft(self, target: Target, geometry: Geometry) -> Target:
        """Move a soft target with the image; places outside lose their weight."""

    def squared_error(self, pred: Prediction, target: Target) -> Loss:
        """Return the squared difference to a soft target: a mean over outcomes, counting every place with a weight."""

    def kl(self, pred: Prediction, other: Prediction) -> Loss:
        """Return KL(pred || other) in nats, counting every place; the gradient flows into both."""

    def entropy(self, pred: Prediction) -> Loss:
        """Return the entropy in nats, counting every place."""


@runtime_checkable
class Mixable(Protocol):
    """Ability: one distribution over k outcomes per row, so that labels of several rows can be mixed (MixUp).

    Labels are mixed as probabilities [n, k], which stand for both real and guessed labels.
    """

    def scores(self, pred: Prediction) -> Float[Tensor, "n k"]:
        """Return logits: their softmax is `probabilities`."""

    def probabilities(self, pred: Prediction) -> Float[Tensor, "n k"]:
        """Return the predicted distributions, in float32, with their gradient."""

    def from_probabilities(self, soft: Float[Tensor, "n k"]) -> Prediction:
        """Return a prediction whose `probabilities` these are."""

    def one_hot(self, target: Target) -> Float[Tensor, "n k"]:
        """Return labels as distributions."""

    def soft_loss(self, pred: Prediction, soft: Float[Tensor, "n k"]) -> Loss:
        """Return the cross-entropy against distributions in nats, a mean over rows."""

    def soft_squared_error(self, pred: Prediction, soft: Float[Tensor, "n k"]) -> Loss:
        """Return the squared difference of the probabilities: a mean over outcomes, counting every row."""


@runtime_checkable
class Audited(Protocol):
    """Ability: where labels exist that training must not see, what is guessed can be held against them.

    The training step does that, outside of any strategy. A hidden label may be *foreign*: of a class that the task
    doesn't learn, so that whatever is guessed is wrong.
    """

    def hidden_target(self, annotation: Annotation, classes: tuple[str, ...]) -> Target:
        """Turn a hidden annotation into a target for `audit` and `foreign`, also one of an unknown class."""

    def audit(self, target: Target, hidden: Target) -> dict[str, Loss]:
        """Return "precision": how much of what the pseudo-target trusts is right, among what has a hidden label."""

    def foreign(self, hidden: Target) -> Loss:
        """Return 1 for foreign rows out of those with a hidden label."""


@runtime_checkable
class Matchable(Protocol):
    """Ability: the distributions of two sets of predictions can be compared."""

    def divergence(self, labeled: Prediction, unlabeled: Prediction, *, form: str, detach_target: bool) -> Loss:
        """Return KL(labeled || unlabeled) in one of the forms that `divergence_forms` names, a row per pair."""


@runtime_checkable
class Classified(Protocol):
    """Ability: what predictions tell apart has names."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names, in the order of the prediction's outputs."""


@runtime_checkable
class Bounded(Protocol):
    """Ability: predictions may reach beyond the images on a padded canvas, and can be kept from it."""

    def bounded(self, pred: Prediction, sizes: Int64[Tensor, "n 2"]) -> Prediction:
        """Return predictions that end where each row's image does, at (height, width) on the canvas."""


@runtime_checkable
class Croppable(Protocol):
    """Ability: predictions belong to places, so that those about a part of the canvas can be had alone."""

    def crop(self, pred: Prediction, size: tuple[int, int]) -> Prediction:
        """Return what is predicted for the top left (height, width) pixels: where a padded canvas shows its image."""


class Output(NamedTuple):
    """A tensor of an exported model, rows first, and a sentence that tells its reader what the numbers are."""

    values: Tensor
    meaning: str


@runtime_checkable
class Exportable(Protocol):
    """Ability: predictions become plain numbers by tensor operations, for programs that run without this one.

    A task without it exports its prediction as it is, tensor by tensor.
    """

    def exported(self, pred: Prediction) -> dict[str, Output]:
        """Return what predictions say, by name: probabilities, and places in pixels of the canvas.

        The operations are recorded once for all images, so none may depend on what tensors hold, nor on how many rows
        there are: `pred.shape[0]` is recorded as it should be, `len(pred)` becomes a constant.
        """

    def reading(self) -> str:
        """Return Markdown on what is left to do with the outputs, with code if it helps; "" for nothing.

        In code, `found` is the dict of output arrays by "<task>.<output>", and the last line assigns `answers`.
        """
