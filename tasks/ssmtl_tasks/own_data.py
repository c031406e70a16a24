"""Tasks for the columns of one's own data, on one encoder: defaults for small data and one GPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ssmtl.datasets.base import Reader
from ssmtl.datasets.manifest import Manifest
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.errors import RecipeError
from ssmtl.manifests.opened import splits_of
from ssmtl.models.deeplab import DeepLabV3Plus
from ssmtl.models.multitask import Model
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.strategies.base import Strategy
from ssmtl.strategies.fixmatch import DenseFixMatch, FixMatch
from ssmtl.strategies.supervised import Supervised
from ssmtl.task import Task
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.multi_label import MultiLabel
from ssmtl_tasks.segmentation import Segmentation

Method = Literal["semi-supervised", "supervised"]
FEWEST_CLASSES = {"label": 2}
"""Classes that a column needs to be learned, where it isn't one."""
SMALL = 200
"""Side in pixels below which heads are narrow, and boxes are looked for at a finer stride."""
STRIDE: Literal[16] = 16
"""Of the encoder's coarsest features, which masks and boxes share."""


class OwnData(NamedTuple):
    """Where images come from: readers of each split (None: there is none), and kinds of annotations with classes.

    `unlearned` are kinds that only images for validation or test have: nothing can learn them.
    """

    train: Reader
    validation: Reader | None
    test: Reader | None
    kinds: tuple[tuple[str, tuple[str, ...]], ...]
    unlearned: tuple[str, ...] = ()

    def unlabeled(self, kind: str) -> bool:
        """Tell whether some training images lack the annotation."""
        return not bool(self.train.open().annotated(kind).all())

    def scored(self, reader: Reader | None, tasks: Sequence[Task]) -> tuple[str, ...]:
        """Return the names of the tasks that a split has labels of."""
        table = None if reader is None else reader.open()
        return () if table is None else tuple(task.name for task in tasks if table.annotated(task.reads).any())


def own_data(manifest: Path | None, side: int, *, allow_outside: bool = False, remote: bool = False) -> OwnData:
    """Return the readers of a manifest's splits, or those of street phantoms without one.

    `allow_outside` and `remote` allow files outside of the manifest's folder, and behind protocols, as in its check.
    Raises DataError for a manifest that `ssmtl data check` hasn't passed, RecipeError for one without any annotation,
    or without images for training.
    """
    canvas = (side, side)
    if manifest is None:
        train = StreetPhantom(samples=160, canvas=canvas)
        kinds = tuple((kind, train.classes(kind)) for kind in ("mask", "boxes"))
        held_out = train.replace(samples=32)
        return OwnData(train, held_out.replace(split="val"), held_out.replace(split="test"), kinds)
    divided = splits_of(manifest)
    if "train" not in divided:
        raise RecipeError(
            f"{manifest} has no image for training: its column 'split' says train nowhere. Run: ssmtl data split "
            f"{manifest}"
        )
    readers = {
        name: Manifest.of(
            manifest,
            split=name,
            canvas=canvas,
            channels=3,
            fit="pad",
            alpha="over_black",
            allow_outside=allow_outside,
            remote=remote,
        )
        for name in divided
    }
    table = readers["train"].open()
    kinds = tuple((kind, names) for kind, names in readers["train"].named if table.annotated(kind).any())
    for kind, names in kinds:
        fewest = FEWEST_CLASSES.get(kind.partition(":")[0], 1)
        if len(names) < fewest:
            raise RecipeError(
                f"the column '{kind}' of {manifest} has {len(names)} class(es) ({', '.join(names)}), but at least "
                f"{fewest} can be learned; label images of others, name them in the classes file, or take it out."
            )
    if not kinds:
        raise RecipeError(
            f"{manifest} has no training image with an annotation; fill cells of the columns label, labels, mask or "
            "boxes for some."
        )
    others = tuple(kind for kind, _ in readers["train"].named if kind not in dict(kinds))
    tables = [readers[name].open() for name in divided] if others else []
    unlearned = tuple(kind for kind in others if any(table.annotated(kind).any() for table in tables))
    return OwnData(readers["train"], readers.get("val"), readers.get("test"), kinds, unlearned)


def model(name: str, *, pretrained: bool, weights: Path | None) -> Model:
    """Return a model on an encoder of timm; `pretrained` downloads ImageNet weights, `weights` names a file of them."""
    known = pretrained or weights is not None
    encoder = TimmEncoder(name, output_stride=STRIDE, pretrained=pretrained and weights is None, weights=weights)
    return Model(encoder, channels=3, normalize="imagenet" if known else "symmetric")


def task_for(kind: str, classes: tuple[str, ...], side: int) -> Task:
    """Return the task that learns an annotation kind, such as "label" or "mask:lungs", named after its column."""
    form, _, column = kind.partition(":")
    name, small = column or form, side < SMALL
    width = 64 if small else 128
    if form == "label":
        return Classification(name=name, column=column, classes=classes)
    if form == "labels":
        return MultiLabel(name=name, column=column, classes=classes)
    if form == "mask":
        maps = DeepLabV3Plus(channels=width, low_level_channels=width, norm="groupnorm")
        return Segmentation(name=name, column=column, classes=classes, head=maps)
    head = RetinaNetHead(
        channels=width,
        finest_stride=4 if small else 8,
        levels=4,
        anchor_scale=2.5 if small else 3.0,
        norm="groupnorm",
    )
    return Detection(name=name, column=column, classes=classes, head=head)


def strategy_for(task: Task, method: Method, threshold: float, *, unlabeled: bool) -> Strategy:
    """Return how a task learns: FixMatch for classes, Dense FixMatch for masks and boxes, labels alone without others.

    The teacher, an average of the student, makes the pseudo-labels: it is steadier on small data. `threshold` is that
    of classes, 0.95 in Sohn et al. 2020; that of boxes is 0.5 (Martí i Rabadán et al. 2022), and 0.8 for masks, which
    have none there, keeps early guesses out.
    """
    if method == "supervised" or not unlabeled:
        return Supervised()
    if task.annotation in ("label", "labels"):
        return FixMatch(threshold=threshold, pseudo_labels_from="teacher")
    return DenseFixMatch(threshold=0.5 if task.annotation == "boxes" else 0.8)
