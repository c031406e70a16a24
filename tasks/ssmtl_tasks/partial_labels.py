"""The study of partially labeled data: masks and boxes on one encoder, under each of its methods.

"Multi-task learning on partially labeled datasets via invariant/equivariant semi-supervised learning". Its recipes
differ in their frames and in which of them are labeled; what they have in common is here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ssmtl.datasets.base import Reader
from ssmtl.datasets.street import StreetStudy
from ssmtl.models.deeplab import DeepLabV3Plus
from ssmtl.models.multitask import Model
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.objective import Objective
from ssmtl.optimizers import SGD, Optimizer
from ssmtl.recipe import Recipe, Source, Split, Views
from ssmtl.schedules import Poly, SigmoidRamp
from ssmtl.strategies.base import Strategy
from ssmtl.strategies.fixmatch import DenseFixMatch, FixMatchStar
from ssmtl.strategies.supervised import Supervised
from ssmtl.streams import Explicit, Implicit
from ssmtl.teacher import Teacher
from ssmtl.views.presets import dense_strong, dense_weak
from ssmtl.views.warps import HorizontalFlip
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.segmentation import Segmentation

SEGMENTATION, DETECTION = "segmentation", "detection"

MethodName = Literal["supervised", "fixmatch-star", "dense-fixmatch"]
PAPER = "partial-labels"
PAPER_NAMES = {"supervised": "Supervised", "fixmatch-star": "FixMatch*", "dense-fixmatch": "DenseFixMatch"}
Learned = Literal["both", "segmentation", "detection"]
Sampling = Literal["implicit", "explicit"]
Unlabeled = Literal["unlabeled", "all"]
Canvas = tuple[int, int]

CROP, BATCH = 800, 8
"""Side of a view in pixels, and labeled frames of a batch (Table 10)."""


class Network(NamedTuple):
    """An encoder of timm, the heads on it, and how they see and learn: what depends on the size of the frames."""

    encoder: str
    output_stride: Literal[8, 16] | None
    channels: int
    finest_stride: int
    levels: int
    anchor_scale: float
    norms: tuple[Literal["batchnorm", "groupnorm"], Literal["identity", "groupnorm"]]
    """In the heads of masks and of boxes."""
    normalize: Literal["imagenet", "symmetric"]
    scale: tuple[float, float]
    optimizer: Optimizer
    steps: int
    warmup: float
    """Share of the steps in which lambda rises to 1."""

    def longer(self, steps: int) -> "Network":
        """Return the network as the study trains it on more frames: so many steps, a tenth of them to rise.

        A small network keeps its own.
        """
        return self if self == SMALL else self._replace(steps=steps, warmup=0.1)

    def model(self, *, pretrained: bool, weights: Path | None) -> Model:
        """Return the model; `pretrained` downloads ImageNet weights, `weights` names a file of them."""
        encoder = TimmEncoder(
            self.encoder, output_stride=self.output_stride, pretrained=pretrained and weights is None, weights=weights
        )
        return Model(encoder, channels=3, normalize=self.normalize)

    def segmentation(self, reader: Reader) -> Segmentation:
        """Return the task of masks, with the reader's classes."""
        head = DeepLabV3Plus(channels=self.channels, low_level_channels=self.channels, norm=self.norms[0])
        return Segmentation(name=SEGMENTATION, classes=reader.classes("mask"), head=head)

    def detection(self, reader: Reader) -> Detection:
        """Return the task of boxes, with the reader's classes."""
        head = RetinaNetHead(
            channels=self.channels,
            finest_stride=self.finest_stride,
            levels=self.levels,
            anchor_scale=self.anchor_scale,
            norm=self.norms[1],
        )
        return Detection(name=DETECTION, classes=reader.classes("boxes"), head=head)


FULL = Network(
    encoder="resnet50",
    output_stride=16,
    channels=256,
    finest_stride=8,
    levels=5,
    anchor_scale=4.0,
    norms=("batchnorm", "identity"),
    normalize="imagenet",
    scale=(0.5, 2.0),
    optimizer=SGD(lr=1e-3, momentum=0.9, weight_decay=5e-4),
    steps=89_250,
    warmup=0.05,
)
"""Table 10 of the study, but for the output stride, which it doesn't state: DeepLabv3+ and RetinaNet share 16."""

SMALL = Network(
    encoder="test_resnet",
    output_stride=16,
    channels=64,
    finest_stride=4,
    levels=3,
    anchor_scale=2.5,
    norms=("groupnorm", "groupnorm"),
    normalize="symmetric",
    scale=(0.75, 1.5),
    optimizer=SGD(lr=2e-2, momentum=0.9, weight_decay=5e-4),
    steps=300,
    warmup=1.0,
)
"""For frames of 64 to 128 pixels on two CPU cores, from random weights."""


def network_for(reader: Reader) -> Network:
    """Return the study's network, or a small one for frames below 200 pixels."""
    return SMALL if min(reader.canvas) < 200 else FULL


def crop_for(reader: Reader) -> Canvas:
    """Return the size of the views: 800 pixels square (Table 10), or the height of frames below 512."""
    side = CROP if reader.canvas[0] >= 512 else reader.canvas[0]
    return side, side


def objectives(
    method: MethodName,
    network: Network,
    reader: Reader,
    *,
    learned: Learned = "both",
    lu_on: Unlabeled = "unlabeled",
) -> tuple[Objective, ...]:
    """Return the objective of each task that is learned: gamma is 1, lambda rises to 1.

    Masks have no threshold, boxes one of 0.5 (Table 10).
    """
    ramp = SigmoidRamp(network.warmup)
    both = ((network.segmentation(reader), 0.0), (network.detection(reader), 0.5))
    return tuple(
        Objective(task, _strategy(method, threshold, lu_on), ramp=ramp)
        for task, threshold in both
        if learned in ("both", task.name)
    )


def _strategy(method: MethodName, threshold: float, lu_on: Unlabeled) -> Strategy:
    if method == "supervised":
        return Supervised()
    kind = FixMatchStar if method == "fixmatch-star" else DenseFixMatch
    return kind(threshold, lu_on=lu_on)


def views(method: MethodName, crop: Canvas, scale: tuple[float, float], *, shared_flip: bool) -> Views:
    """Return the weak and the strong view of a method (Table 10): a crop of frames that were scaled, and a flip.

    With `shared_flip` every method flips: FixMatch* both views alike, as it has to. Without, only Dense FixMatch does.
    """
    together = method == "fixmatch-star" and shared_flip
    weak = dense_weak(crop, scale, shared_flip=together)
    if method == "supervised" and not shared_flip:
        weak = weak.replace(always=tuple(op for op in weak.always if not isinstance(op, HorizontalFlip)))
    return Views(weak=weak, strong=dense_strong(crop, scale, shared_flip=together))


def streams(method: MethodName, sampling: Sampling, batch: int, labeled_if: str = "any") -> Explicit | Implicit:
    """Return what batches are made of: `batch` labeled frames, and for the other methods as many more.

    "implicit" draws twice `batch` frames from all; "explicit" `batch` labeled ones (`labeled_if`) and `batch` others.
    Supervised learning draws labeled ones only ("uniform" in the tables).
    """
    if method == "supervised":
        return Explicit(labeled=batch, unlabeled=0, labeled_if=labeled_if)
    if sampling == "implicit":
        return Implicit(batch=2 * batch)
    return Explicit(labeled=batch, unlabeled=batch, labeled_if=labeled_if)


def sampling_name(method: MethodName, sampling: Sampling) -> str:
    """Return what the tables call the way to sample."""
    return "uniform" if method == "supervised" else sampling


def variant(recipe: str, what: str, method: MethodName, sampling: Sampling, lu_on: Unlabeled, learned: Learned) -> str:
    """Return a name that no other variant has: runs of one name differ in the seed only."""
    parts = [recipe, what.replace("+", " "), method]
    if method != "supervised":
        parts += [sampling, *["lu-on-all"] * (lu_on == "all")]
    return " ".join([*parts, *[f"{learned} only"] * (learned != "both")])


def base(
    study: StreetStudy,
    method: MethodName,
    network: Network,
    objectives: tuple[Objective, ...],
    streams: Explicit | Implicit,
    *,
    shared_flip: bool,
    pretrained: bool,
    weights: Path | None,
) -> Recipe:
    """Return a recipe but for its name, budget and published row: how it is trained (Table 10)."""
    names = tuple(objective.task.name for objective in objectives)
    crop, from_imagenet = crop_for(study.train), pretrained or weights is not None
    return Recipe(
        name=study.name,
        objectives=objectives,
        sources=(Source("frames", study.train, serves=names),),
        streams=streams,
        model=network.model(pretrained=pretrained, weights=weights),
        views=views(method, crop, network.scale, shared_flip=shared_flip),
        teacher=Teacher(decay=0.99, buffers="ema"),
        optimizer=network.optimizer,
        schedule=Poly(0.9),
        steps=network.steps,
        eval_every=network.steps // 3,
        checkpoint_every=network.steps // 6,
        validation=_splits("validation", study.validation_masks, study.validation_boxes, names),
        test=_splits("test", study.test_masks, study.test_boxes, names),
        evaluate="teacher",
        deviations=_deviations(network, streams, crop, shared_flip=shared_flip, from_imagenet=from_imagenet),
    )


def _splits(name: str, masks: Reader, boxes: Reader, tasks: Sequence[str]) -> tuple[Split, ...]:
    if masks == boxes:
        return (Split(name, masks, tasks=tuple(tasks)),)
    both = ((SEGMENTATION, masks), (DETECTION, boxes))
    return tuple(Split(f"{name} {task}", reader, tasks=(task,)) for task, reader in both if task in tasks)


def _deviations(
    network: Network, streams: Explicit | Implicit, crop: Canvas, *, shared_flip: bool, from_imagenet: bool
) -> tuple[str, ...]:
    """Return where a run differs from the study."""
    found = [
        "Scored are the last weights of the moving average. The study keeps the best on the frames that it reports.",
        "Pseudo-boxes that the weak view's border cut are dropped (within 2 pixels, where the image goes on), and "
        "boxes of which a view shows less than a tenth, or less than 2 pixels; the study names no such rule.",
    ]
    if shared_flip:
        found.append(
            "Every method flips frames, FixMatch* both views alike; in the study's Table 10 only Dense FixMatch does, "
            "which gives it an augmentation of labeled frames that the others lack (--no-shared-flip)."
        )
    if network.encoder == SMALL.encoder:
        found.append(
            f"A small network (timm's {SMALL.encoder} with {SMALL.channels} channels in its heads) at a learning rate "
            f"of {SMALL.optimizer.lr:g}, scales of {SMALL.scale[0]:g} to {SMALL.scale[1]:g}, and some hundred steps, "
            f"instead of a ResNet-50 at {FULL.optimizer.lr:g}, {FULL.scale[0]:g} to {FULL.scale[1]:g}, and "
            f"{FULL.steps:,}. Lambda rises during {SMALL.warmup:.0%} of the steps, not 5 or 10 %: the teacher starts "
            "from random weights."
        )
    else:
        found.append(
            "DeepLabv3+ and RetinaNet share an encoder of output stride 16; the study doesn't say how strides meet."
        )
    if not from_imagenet:
        found.append("The encoder starts from random weights, not from ImageNet's (--pretrained, --weights FILE).")
    if crop != (CROP, CROP):
        found.append(f"Views have {crop[0]} x {crop[1]} pixels, not {CROP} x {CROP}.")
    rows = streams.batch // 2 if isinstance(streams, Implicit) else streams.labeled
    if rows != BATCH:
        found.append(f"Batches hold {rows} labeled frames, or twice as many of all, not {BATCH}.")
    return tuple(found)
