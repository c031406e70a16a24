"""The 32x32 images of the studies of one classifier: which reader reads what, for a data folder or without one."""

from pathlib import Path
from typing import Literal, NamedTuple

from ssmtl.datasets.base import Reader
from ssmtl.datasets.cifar import CIFAR10
from ssmtl.datasets.shapes_phantom import FIGURES, TEXTURES, ShapesPhantom
from ssmtl.datasets.subset import Subset
from ssmtl.datasets.svhn import SVHN
from ssmtl.errors import DataError

HELD_OUT = 100
"""Training images of each class that are kept for validation; which they are never depends on a run's seed."""
TRAINING = 4000
"""Training images of the phantoms."""

ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
VEHICLES = ("airplane", "automobile", "ship", "truck")

SetName = Literal["cifar10", "svhn"]


class SmallImages(NamedTuple):
    """Readers of one set of classified images: for training, to watch it, and to report.

    `own` and `foreign` are two families of its classes, in the order in which RealMix's study of mismatch exchanges
    them; empty where it has none. `original` says that the pixels are those of the papers. `flip` says that a mirrored
    image is one of the same class.
    """

    name: str
    train: Reader
    validation: Reader
    test: Reader
    classes: tuple[str, ...]
    own: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    original: bool = False
    flip: bool = True


def small_images(data: Path | None, dataset: SetName = "cifar10", size: int = 32) -> SmallImages:
    """Return the readers for what `data` holds, on a square canvas of `size` pixels.

    None: phantoms. "cifar10": the official batches, or JPEGs in class folders or a zip of them; "svhn": the cropped
    digits, without the extra ones. Raises DataError for a folder that isn't there, or digits without a folder.
    """
    canvas = (size, size)
    if data is None and dataset == "svhn":
        raise DataError("--dataset svhn is read from files; name their folder with --data, or leave --dataset out.")
    if data is None:
        return _phantoms(canvas)
    if not data.exists():
        raise DataError(f"the data folder {data} does not exist; check --data, or leave it out to train on phantoms.")
    if dataset == "svhn":
        digits = SVHN(data, split="train", canvas=canvas)
        test = digits.replace(split="test")
        return _held_out("SVHN", digits, test, original=size == 32, flip=False)
    train = CIFAR10(data, split="train", canvas=canvas)
    official = any((folder / "data_batch_1").is_file() for folder in (data, data / "cifar-10-batches-py"))
    found = _held_out("CIFAR-10", train, train.replace(split="test"), original=official and size == 32)
    return found._replace(own=ANIMALS, foreign=VEHICLES)


def _held_out(name: str, train: Reader, test: Reader, *, original: bool, flip: bool = True) -> SmallImages:
    validation, rest = Subset(reader=train, stop=HELD_OUT), Subset(reader=train, start=HELD_OUT)
    return SmallImages(name, rest, validation, test, train.classes("label"), original=original, flip=flip)


def _phantoms(canvas: tuple[int, int]) -> SmallImages:
    train = ShapesPhantom(samples=TRAINING, canvas=canvas)
    validation = train.replace(samples=200, split="val")
    test = train.replace(samples=1000, split="test")
    return SmallImages("phantoms", train, validation, test, train.classes("label"), FIGURES, TEXTURES)
