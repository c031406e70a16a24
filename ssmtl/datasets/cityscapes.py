"""Cityscapes: street scenes of 50 cities with masks and instances (Cordts et al. 2016)."""

import re
from pathlib import Path
from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Int32
from pydantic import model_validator
from scipy.ndimage import find_objects, label

from ssmtl.datasets.base import Side
from ssmtl.datasets.box_columns import SourceBoxes
from ssmtl.datasets.file_table import strings
from ssmtl.datasets.files import files
from ssmtl.datasets.index_maps import ClassMap, decode_ids, numbers_in
from ssmtl.datasets.scene_table import BoxFiles, SceneReader, SceneTable, beside, folders, refuse_missing
from ssmtl.errors import DataError
from ssmtl.task import IGNORE_INDEX

CITYSCAPES_CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""{labelId: name} of the 19 classes that count, in the order of their trainIds."""

THINGS = (24, 25, 26, 27, 28, 31, 32, 33)
"""The labelIds of the classes whose objects are told apart, and have boxes."""

_UNSCORED = (*(value for value in range(35) if value not in CITYSCAPES_CLASSES), 255)
_COUNTED = 1000
_WITH_INSTANCES = range(24, 34)
_NAME = re.compile(r"(.+_\d{6}_\d{6})_leftImg8bit\.png")
_TOUCHING = np.ones((3, 3), dtype=np.bool_)


class Cityscapes(SceneReader):
    """`leftImg8bit/{train,val,test}/CITY/*_leftImg8bit.png`, with `*_labelIds` and `*_instanceIds` in `gtFine/`.

    `part` "fine" are the annotated frames: 2,975, 500 and 1,525, of which "test" has no public annotation. "extra" are
    the 19,998 of `train_extra`, without their coarse annotation. "sequence" are the frames of `leftImg8bit_sequence`
    but those of `leftImg8bit`, found by name: 29 of every 30. Both are unlabeled.

    Masks hold the 19 trainIds. A box is the hull of an instance, all its parts included; a patch of a class whose
    objects weren't told apart (id below 1000) is a crowd. Frames of one drive (CITY_SSSSSS) belong together.
    """

    canvas: tuple[Side, Side] = (1024, 2048)
    split: Literal["train", "val", "test"] = "train"
    part: Literal["fine", "extra", "sequence"] = "fine"

    @model_validator(mode="after")
    def _extra_is_for_training(self) -> Self:
        if self.part == "extra" and self.split != "train":
            raise ValueError(f"part='extra' is for training only, got split='{self.split}'; use split='train'")
        return self

    def classes(self, kind: str) -> tuple[str, ...]:
        boxed = tuple(CITYSCAPES_CLASSES[value] for value in THINGS)
        return {"mask": tuple(CITYSCAPES_CLASSES.values()), "boxes": boxed}.get(kind, ())

    def open(self) -> SceneTable:
        root = self.folder()
        base, part = {"sequence": ("leftImg8bit_sequence", self.split), "extra": ("leftImg8bit", "train_extra")}.get(
            self.part, ("leftImg8bit", self.split)
        )
        frames = _frames(root, self.find(root, f"{base}/{part}"))
        if self.part == "sequence":
            annotated = _frames(root, self.find(root, f"leftImg8bit/{self.split}"))
            frames = {stem: path for stem, path in frames.items() if stem not in annotated}
        masks, instances = None, None
        if self.part == "fine" and self.split != "test":
            masks = strings(self._annotations(root, frames, "labelIds"))
            instances = BoxFiles(root, strings(self._annotations(root, frames, "instanceIds")), instance_boxes)
        return self.scenes(
            root,
            strings(frames.values()),
            masks=masks,
            decode_mask=_MASKS,
            boxes=instances,
            groups=strings(stem.rpartition("_")[0] for stem in frames),
        )

    def _annotations(self, root: Path, frames: dict[str, str], what: str) -> list[str]:
        """Return the paths of one kind of annotation, one per frame."""
        base = self.find(root, f"gtFine/{self.split}")
        found: dict[str, str] = {}
        for city in folders(root, base):
            found |= beside(root, f"{base}/{city}", f"_gtFine_{what}.png", frames)
        refuse_missing(root, base, f"*_gtFine_{what}.png", frames, found)
        return [found[stem] for stem in frames]


_MASKS = ClassMap.of(
    dict.fromkeys(_UNSCORED, IGNORE_INDEX) | {value: index for index, value in enumerate(CITYSCAPES_CLASSES)}
)


def _frames(root: Path, base: str) -> dict[str, str]:
    """Return {CITY_SSSSSS_FFFFFF: path} of the frames of all cities in a folder."""
    frames = {}
    for city in folders(root, base):
        for name in files(root, f"{base}/{city}", (".png",)):
            match = _NAME.fullmatch(name)
            if not match:
                raise DataError(
                    f"{root / base / city / name} is not named like {city}_000000_000019_leftImg8bit.png; restore its "
                    "name, or take it out."
                )
            frames[match[1]] = f"{base}/{city}/{name}"
    if not frames:
        raise DataError(f"{root / base} has no city with frames; unpack them there, or set another `root`.")
    return frames


def instance_boxes(path: Path) -> SourceBoxes:
    """Return the half-open hulls of the instances in an `*_instanceIds.png`, and of the patches of crowds.

    Raises DataError for a file that isn't 16-bit gray, and for ids of no class.
    """
    ids = decode_ids(path)
    present = numbers_in(ids)
    kinds = np.where(present < _COUNTED, present, present // _COUNTED)
    wrong = present[np.where(present < _COUNTED, kinds >= 35, ~np.isin(kinds, _WITH_INSTANCES))]
    if len(wrong):
        raise DataError(
            f"{path} has the id {wrong[0]}, but labelIds of 0 to 34 and instances of 24000 to 33999 (labelId * 1000 + "
            "number) were expected; restore the original file."
        )
    wanted = np.isin(kinds, THINGS)
    told_apart, crowded = wanted & (present >= _COUNTED), wanted & (present < _COUNTED)
    number = np.zeros(present[-1] + 1, dtype=np.int32)
    number[present[told_apart]] = np.arange(1, told_apart.sum() + 1)
    boxes = _hulls(number[ids])
    labels = kinds[told_apart].tolist()
    for kind in kinds[crowded].tolist():
        patches = _hulls(label(ids == kind, _TOUCHING)[0])
        boxes += patches
        labels += [kind] * len(patches)
    return SourceBoxes(
        str(path),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.searchsorted(THINGS, np.array(labels, dtype=np.int64)),
        _flags(len(boxes), int(told_apart.sum())),
        ids.shape,
    )


def _hulls(numbers: Int32[np.ndarray, "h w"]) -> list[tuple[int, int, int, int]]:
    """Return (left, top, right, bottom), half-open, of the pixels of every number from 1."""
    return [(x.start, y.start, x.stop, y.stop) for y, x in find_objects(numbers)]


def _flags(count: int, first: int) -> Bool[np.ndarray, " count"]:
    return np.arange(count) >= first
