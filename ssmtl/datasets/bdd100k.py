"""BDD100K: frames of 100,000 drives, 10 classes with boxes; and 10,000 images with masks (Yu et al. 2020)."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ssmtl.datasets.base import Side, Table
from ssmtl.datasets.box_columns import BoxColumns, Listing, Row, four_numbers, half_open
from ssmtl.datasets.cityscapes import CITYSCAPES_CLASSES
from ssmtl.datasets.file_table import Strings, strings
from ssmtl.datasets.files import images_in
from ssmtl.datasets.index_maps import ClassMap
from ssmtl.datasets.json_files import entries_of, field_of, file_name, read_json
from ssmtl.datasets.scene_table import SceneReader, SceneTable, beside, inside, refuse_missing
from ssmtl.errors import DataError, nearest
from ssmtl.task import IGNORE_INDEX

PUBLISHED: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "train": {"images": 73_570, "boxes": 69_853, "masks": 6_546, "both": 2_972, "neither": 143, "removed": 454},
        "val": {"images": 11_000, "boxes": 10_000, "masks": 1_000, "both": 0, "neither": 0, "removed": 0},
    }
)
"""How many images of the merged set have what (section 4.3 of "Multi-task learning on partially labeled datasets via
invariant/equivariant semi-supervised learning")."""

_BOXED = (
    "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "traffic light", "traffic sign",
)  # fmt: skip
_LEFT_OUT = ("other person", "other vehicle", "trailer")
_LANES = ("poly2d", "rle", "graph", "attributes")
_MASKS = (("labels/sem_seg/masks", ".png"), ("seg/labels", "_train_id.png"))

_log = logging.getLogger(__name__)


class BDD100K(SceneReader):
    """`images/100k/{train,val,test}` with `labels/det_20/det_{split}.json`, `images/10k` with `labels/sem_seg/masks`.

    `part` "100k" has boxes, "10k" has masks. "merged" holds both by file name: an image of both folders is one with
    both. Of its training images those that stand in `100k/val` are removed (454), and counts that differ from the
    published ones are logged as a warning. Its validation images are disjoint: each task is measured on its own. "test"
    has no public annotation.

    An image whose frame in the file has no boxes shows none; one without a frame is not annotated. A box names its
    last pixels, as the official converter takes it, so 1 is added. "other person", "other vehicle" and "trailer" are
    left out. Masks of the older release (`seg/labels/*_train_id.png`) will do.
    """

    canvas: tuple[Side, Side] = (720, 1280)
    split: Literal["train", "val", "test"] = "train"
    part: Literal["merged", "100k", "10k"] = "merged"

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"mask": tuple(CITYSCAPES_CLASSES.values()), "boxes": _BOXED}.get(kind, ())

    def open(self) -> SceneTable:
        root = self.folder()
        boxed = self._images(root, "100k") if self.part != "10k" else {}
        masked = self._images(root, "10k") if self.part != "100k" else {}
        removed = self._removed(root, masked)
        images = dict(sorted(({name: path for name, path in masked.items() if name not in removed} | boxed).items()))
        annotated = self.split != "test"
        table = self.scenes(
            root,
            strings(images.values()),
            masks=self._masks(root, images, masked) if masked and annotated else None,
            decode_mask=ClassMap.plain(len(CITYSCAPES_CLASSES), IGNORE_INDEX),
            boxes=self._boxes(root, images) if boxed and annotated else None,
        )
        if self.part == "merged" and annotated:
            self._report({**coverage(table), "removed": len(removed)})
        return table

    def _images(self, root: Path, part: str) -> dict[str, str]:
        folder = self.find(root, f"images/{part}/{self.split}")
        return {name: f"{folder}/{name}" for name in images_in(root, folder, (".jpg",))}

    def _removed(self, root: Path, masked: dict[str, str]) -> set[str]:
        """Return the names of images with masks that are validation images of the other part."""
        if self.part != "merged" or self.split != "train":
            return set()
        return set(images_in(root, self.find(root, "images/100k/val"), (".jpg",))) & set(masked)

    def _masks(self, root: Path, images: dict[str, str], masked: dict[str, str]) -> Strings:
        folder = self.find(root, *(f"{base}/{self.split}" for base, _ in _MASKS))
        suffix = next(suffix for base, suffix in _MASKS if folder == f"{base}/{self.split}")
        stems = {Path(name).stem: path for name, path in masked.items()}
        found = beside(root, folder, suffix, stems)
        refuse_missing(root, folder, "mask", stems, found)
        return strings(found.get(Path(name).stem, "") for name in images)

    def _boxes(self, root: Path, images: dict[str, str]) -> BoxColumns:
        listing = read_frames(inside(root, f"labels/det_20/det_{self.split}.json"))
        return listing.columns(tuple(images), root / f"images/100k/{self.split}")

    def _report(self, found: Mapping[str, int]) -> None:
        expected = PUBLISHED[self.split]
        counts = [f"{name} {count:,} (published: {expected[name]:,})" for name, count in found.items()]
        if dict(found) != dict(expected):
            _log.warning("BDD100K %s in %s: %s", self.split, self.root, ", ".join(counts))


def coverage(table: Table) -> dict[str, int]:
    """Return how many images of a table there are, have boxes, masks, both and neither."""
    boxes, masks = table.annotated("boxes"), table.annotated("mask")
    return {
        "images": len(table),
        "boxes": int(boxes.sum()),
        "masks": int(masks.sum()),
        "both": int((boxes & masks).sum()),
        "neither": int((~boxes & ~masks).sum()),
    }


def read_frames(path: Path) -> Listing:
    """Return what a `det_20` file lists: a frame per image, whose labels have a `category` and a `box2d`.

    Labels without `box2d` are lanes and areas; a frame without labels, or with null, shows nothing. Raises DataError
    for a damaged file, an image listed twice, an unknown category, and a box that is not four numbers, ends before it
    begins, or ends before its image begins.
    """
    names, rows = [], []
    for place, frame in enumerate(entries_of(path, read_json(path, without=_LANES), "frames")):
        names.append(file_name(f"{path}, frame {place},", frame.get("name")))
        labels = [] if frame.get("labels") is None else frame["labels"]
        for number, entry in enumerate(entries_of(path, labels, f"labels of {names[-1]}")):
            where = f"{path}, image {names[-1]}, label {number},"
            category = field_of(where, entry, "category", str)
            if category in _LEFT_OUT or entry.get("box2d") is None:
                continue
            if category not in _BOXED:
                raise DataError(
                    f"{where} has the category '{category}', which is none of BDD100K's; restore the original file"
                    f"{nearest(category, _BOXED)}"
                )
            corners = four_numbers(where, "box2d", _sides(entry["box2d"]))
            rows.append(Row(place, _BOXED.index(category), False, *half_open(where, corners, first=0)))
    return Listing.of(path, tuple(names), rows, terms="x1, y1, x2 + 1, y2 + 1")


def _sides(found: Any) -> Any:
    return [found.get(side) for side in ("x1", "y1", "x2", "y2")] if isinstance(found, dict) else found
