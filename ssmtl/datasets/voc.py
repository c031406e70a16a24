"""Pascal VOC: photographs with the boxes of 20 classes, some of them with masks (Everingham et al. 2010)."""

import math
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np

from ssmtl.datasets.base import Side
from ssmtl.datasets.box_columns import Numbers, SourceBoxes, half_open
from ssmtl.datasets.canvas import Fit
from ssmtl.datasets.file_table import Strings, strings
from ssmtl.datasets.files import by_stem, listed
from ssmtl.datasets.index_maps import ClassMap
from ssmtl.datasets.scene_table import (
    BoxFiles,
    SceneReader,
    SceneTable,
    beside,
    inside,
    refuse_missing,
    refuse_others,
)
from ssmtl.errors import DataError, nearest
from ssmtl.task import IGNORE_INDEX

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_MASK_CLASSES = ("background", *VOC_CLASSES)


class PascalVOC(SceneReader):
    """`VOCdevkit/VOC2012/`: `JPEGImages`, `Annotations`, `SegmentationClass`, and the lists in `ImageSets`.

    `subset` "detection" takes the images of `ImageSets/Main` with boxes, "segmentation" those of
    `ImageSets/Segmentation` with masks. "both" takes the images of either list, with boxes, and with masks where they
    stand in the second; since one list trains on images that the other validates on, "train" leaves those out.

    Boxes in the files count pixels from 1 and include the last one. "Difficult" objects are crowds: they neither teach
    nor count. In masks, 255 is the outline of objects. Images of "test" may be without annotation, others may not.
    """

    canvas: tuple[Side, Side] = (512, 512)
    fit: Fit = "pad"
    split: Literal["train", "val", "trainval", "test"] = "train"
    year: Literal["2007", "2012"] = "2012"
    subset: Literal["detection", "segmentation", "both"] = "both"

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"mask": _MASK_CLASSES, "boxes": VOC_CLASSES}.get(kind, ())

    def open(self) -> SceneTable:
        root = self.folder()
        bases = (f"VOCdevkit/VOC{self.year}/", f"VOC{self.year}/", "")
        folder = self.find(root, *(f"{base}JPEGImages" for base in bases))
        base = folder.removesuffix("JPEGImages")
        images = by_stem(root, folder)
        lists = {"detection": ("Main",), "segmentation": ("Segmentation",), "both": ("Main", "Segmentation")}
        chosen = {kind: _stems(root, base, kind, self.split, images) for kind in lists[self.subset]}
        stems = sorted(set().union(*chosen.values()) - self._held(root, base, images))
        masks, boxes = None, None
        if "Segmentation" in chosen:
            masks = self._beside(root, f"{base}SegmentationClass", ".png", images, stems, chosen["Segmentation"])
        if "Main" in chosen:
            paths = self._beside(root, f"{base}Annotations", ".xml", images, stems, set(stems))
            boxes = BoxFiles(root, paths, voc_boxes)
        return self.scenes(
            root,
            strings(f"{folder}/{images[stem]}" for stem in stems),
            masks=masks,
            decode_mask=ClassMap.plain(len(_MASK_CLASSES), IGNORE_INDEX),
            boxes=boxes,
        )

    def _held(self, root: Path, base: str, images: dict[str, str]) -> set[str]:
        """Return the images that training must not see because one of both lists validates on them."""
        if self.subset != "both" or self.split != "train":
            return set()
        return set().union(*(_stems(root, base, kind, "val", images) for kind in ("Main", "Segmentation")))

    def _beside(
        self, root: Path, folder: str, suffix: str, images: dict[str, str], stems: list[str], wanted: set[str]
    ) -> Strings:
        """Return a path for every stem that is wanted, empty for the others."""
        found = beside(root, self.find(root, folder), suffix, images)
        refuse_others(root, folder, suffix)
        if self.split != "test":
            refuse_missing(root, folder, f"{suffix} file", {s: images[s] for s in stems if s in wanted}, found)
        return strings(found.get(stem, "") if stem in wanted else "" for stem in stems)


def _stems(root: Path, base: str, kind: str, split: str, images: dict[str, str]) -> set[str]:
    """Return the stems that a list names; raises DataError for a missing list, and for a stem without an image."""
    path = inside(root, f"{base}ImageSets/{kind}/{split}.txt")
    if not path.is_file():
        raise DataError(f"{path} is missing, which split='{split}' needs; unpack it, or set another split or subset.")
    stems = set()
    for line, stem in listed(path):
        if stem not in images:
            raise DataError(
                f"{path} line {line} names '{stem}', but {root / base / 'JPEGImages'} has no image of that stem; "
                "restore the image, or take out the line."
            )
        stems.add(stem)
    return stems


class VocObject(NamedTuple):
    """One object of an annotation file: its class, its half-open box, and whether it is marked as difficult."""

    name: str
    box: Numbers
    difficult: bool


def voc_objects(path: Path) -> tuple[tuple[int, int], list[VocObject]]:
    """Return the (height, width) that an annotation file says its image has, and its objects of whatever class.

    Raises DataError for a damaged file, a size that is none, a "difficult" other than 0 and 1, and a box that is not
    four numbers, ends before it begins, or lies outside its image.
    """
    document = _xml(path)
    size = _pixels(path, document, "size/height"), _pixels(path, document, "size/width")
    objects = []
    for number, entry in enumerate(document.findall("object")):
        where = f"{path} object {number}"
        x1, y1, x2, y2 = (_number(where, entry, f"bndbox/{side}") for side in _SIDES)
        box = half_open(where, (x1, y1, x2, y2), first=1, size=size)
        objects.append(VocObject(entry.findtext("name", "").strip(), box, _difficult(where, entry)))
    return size, objects


def voc_boxes(path: Path) -> SourceBoxes:
    """Return the boxes of an annotation file, half-open, "difficult" ones as crowds.

    Raises DataError as `voc_objects` does, and for an unknown class.
    """
    size, objects = voc_objects(path)
    for number, thing in enumerate(objects):
        if thing.name not in VOC_CLASSES:
            raise DataError(
                f"{path} object {number} is a '{thing.name}', which is none of VOC's 20 classes; correct it, or take "
                f"it out{nearest(thing.name, VOC_CLASSES)}"
            )
    return SourceBoxes(
        str(path),
        np.array([thing.box for thing in objects], dtype=np.float64).reshape(-1, 4),
        np.array([VOC_CLASSES.index(thing.name) for thing in objects], dtype=np.int64),
        np.array([thing.difficult for thing in objects], dtype=np.bool_),
        size,
    )


def _number(where: str, entry: ElementTree.Element, place: str) -> float:
    text = entry.findtext(place, "").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{where} has '{text[:40]}' for its {place}, but a finite number was expected; correct it, or restore the "
            "original file."
        )
    return number


def _pixels(path: Path, document: ElementTree.Element, place: str) -> int:
    number = _number(str(path), document, place)
    if not (0 < number < 2**31 and number.is_integer()):
        raise DataError(
            f"{path} has {number:.12g} for its {place}, but a whole number of pixels above 0 was expected; correct it, "
            "or restore the original file."
        )
    return int(number)


def _difficult(where: str, entry: ElementTree.Element) -> bool:
    text = entry.findtext("difficult", "0").strip()
    if text not in ("0", "1"):
        raise DataError(
            f"{where} has '{text[:40]}' for its difficult, but 0 or 1 was expected; correct it, or take the tag out "
            "where the object is not difficult."
        )
    return text == "1"


def _xml(path: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise DataError(f"{path} declares XML entities, which boxes don't need; restore the original file.")
        return ElementTree.fromstring(content)  # noqa: S314  what it warns of are entities
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(
            f"{path} can't be read as XML ({error}); it is missing, damaged or cut off: fetch it again."
        ) from error
