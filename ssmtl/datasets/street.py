"""The streets of the study of partially labeled data: which reader reads what, for a data folder or without one."""

from pathlib import Path
from typing import Literal, NamedTuple

from ssmtl.datasets.base import Reader
from ssmtl.datasets.bdd100k import BDD100K
from ssmtl.datasets.camvid import CamVid
from ssmtl.datasets.cityscapes import Cityscapes
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.errors import DataError

PHANTOM_HEIGHT = 64
TRAINING = 640
"""Training scenes of the phantoms: 40 labels are a sixteenth."""

TrainSet = Literal["train", "train+trainextra", "train+trainextra+sequence"]


class StreetStudy(NamedTuple):
    """Readers of frames with masks and boxes: the set's name, frames for training, to watch it, and to report.

    `extra` are frames without any label, by name. Where annotations for testing aren't public, `test_masks` and
    `test_boxes` are the validation frames.
    """

    name: str
    train: Reader
    validation_masks: Reader
    validation_boxes: Reader
    test_masks: Reader
    test_boxes: Reader
    extra: tuple[tuple[str, Reader], ...] = ()


def street_study(data: Path | None, height: int | None = None, train_set: TrainSet = "train") -> StreetStudy:
    """Return the readers for what `data` holds, on a canvas of `height` pixels and the frames' own aspect.

    None: phantoms, 64 x 128 by default. A folder with `leftImg8bit/` and `gtFine/`: Cityscapes at 1024 x 2048, with
    `leftImg8bit/train_extra` and `leftImg8bit_sequence` as `train_set` says. A folder with `classes.json`, `train/`,
    `val/` and `test/`: CamVid at 360 x 480. Raises DataError for any other, and for a set without such extra frames.
    """
    if data is None:
        return _phantoms(_or(height, PHANTOM_HEIGHT), train_set)
    _check(data)
    if (data / "leftImg8bit").is_dir():
        return _cityscapes(Cityscapes(data, canvas=_canvas(_or(height, 1024), (1, 2))), train_set)
    if not (data / "classes.json").is_file():
        raise DataError(
            f"the data folder {data} holds neither 'leftImg8bit/' (Cityscapes) nor 'classes.json' (CamVid with train/, "
            "val/ and test/); check --data, or leave it out to train on phantoms."
        )
    if train_set != "train":
        raise DataError(f"{data} holds CamVid, which has no unlabeled frames; use its train set alone.")
    train = CamVid(data, canvas=_canvas(_or(height, 360), (3, 4)))
    validation, test = train.replace(split="val"), train.replace(split="test")
    return StreetStudy("CamVid", train, validation, validation, test, test)


def bdd100k_study(data: Path | None, height: int | None = None) -> StreetStudy:
    """Return BDD100K's readers, at 720 x 1280 by default; without `data`, phantoms at 64 x 128.

    Validation frames with masks are others than those with boxes. Raises DataError for a folder without `images/`.
    """
    if data is None:
        return _phantoms(_or(height, PHANTOM_HEIGHT), "train")
    _check(data)
    if not (data / "images").is_dir():
        raise DataError(
            f"the data folder {data} has no 'images/' (BDD100K); check --data, or leave it out to train on phantoms."
        )
    train = BDD100K(data, canvas=_canvas(_or(height, 720), (9, 16)))
    masks, boxes = train.replace(split="val", part="10k"), train.replace(split="val", part="100k")
    return StreetStudy("BDD100K", train, masks, boxes, masks, boxes)


def _check(data: Path) -> None:
    if not data.is_dir():
        raise DataError(f"the data folder {data} does not exist; check --data, or leave it out to train on phantoms.")


def _or(height: int | None, default: int) -> int:
    return default if height is None else height


def _canvas(height: int, aspect: tuple[int, int]) -> tuple[int, int]:
    return height, round(height * aspect[1] / aspect[0])


def _phantoms(height: int, train_set: TrainSet) -> StreetStudy:
    """Return scenes; the extra ones are 4 times as many for each part, which nobody annotated."""
    train = StreetPhantom(canvas=_canvas(height, (1, 2)), samples=TRAINING)
    validation, test = train.replace(split="val", samples=60), train.replace(split="test", samples=200)
    parts = train_set.split("+")[1:]
    extra = tuple(
        (part, train.replace(first=1_000_000 * place, samples=4 * TRAINING, annotated=False))
        for place, part in enumerate(parts, start=1)
    )
    return StreetStudy("phantoms", train, validation, validation, test, test, extra)


def _cityscapes(train: Cityscapes, train_set: TrainSet) -> StreetStudy:
    validation = train.replace(split="val")
    names: dict[str, Literal["extra", "sequence"]] = {"trainextra": "extra", "sequence": "sequence"}
    extra = tuple((part, train.replace(part=names[part])) for part in train_set.split("+")[1:])
    return StreetStudy("Cityscapes", train, validation, validation, validation, validation, extra)
