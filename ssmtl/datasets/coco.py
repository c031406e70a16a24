"""COCO and the many sets in its form: a folder of images, one file with all boxes, and maybe a folder of masks."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ssmtl.datasets.base import Side
from ssmtl.datasets.box_columns import BoxColumns
from ssmtl.datasets.canvas import Fit
from ssmtl.datasets.coco_json import read_coco
from ssmtl.datasets.file_table import Strings, strings
from ssmtl.datasets.files import by_stem
from ssmtl.datasets.index_maps import ClassMap
from ssmtl.datasets.scene_table import SceneReader, SceneTable, beside, inside, refuse_missing, refuse_others
from ssmtl.task import IGNORE_INDEX

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 categories of COCO, in the order of their ids."""

Place = Annotated[str, Field(pattern=r"^[^/\\]+(/[^/\\]+)*$")]
"""A path inside the root; {split} stands for the split."""


class CocoInstances(SceneReader):
    """Images of one folder, with the boxes that one `instances` file lists and, in `masks`, class indices as PNG.

    The three are paths below `root`; as they stand they fit COCO 2017. `names` are the categories that have boxes,
    `leave_out` those to throw away; `mask_names` are behind the values of masks, 255 being ignored. Without `instances`
    no image has boxes, without `masks` none has a mask (such as "unlabeled2017").

    An image that the file lists without a box shows nothing; one that it doesn't list, or that has no mask, is not
    annotated: `missing` refuses that as a mistake, or takes the image as unlabeled. Boxes without width or height,
    of which COCO has two, are refused, or dropped by `empty_boxes`.
    """

    canvas: tuple[Side, Side] = (640, 640)
    fit: Fit = "pad"
    split: Literal["train", "val", "test", "unlabeled"] = "train"
    images: Place = "{split}2017"
    instances: Place | None = "annotations/instances_{split}2017.json"
    masks: Place | None = None
    names: tuple[str, ...] = COCO_CLASSES
    leave_out: tuple[str, ...] = ()
    mask_names: Annotated[tuple[str, ...], Field(max_length=IGNORE_INDEX)] = ()
    missing: Literal["refuse", "unlabeled"] = "refuse"
    empty_boxes: Literal["refuse", "drop"] = "refuse"

    @model_validator(mode="after")
    def _masks_have_names(self) -> Self:
        if (self.masks is None) != (not self.mask_names):
            raise ValueError("masks and mask_names belong together: give the folder and what its values mean, or none")
        return self

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"mask": self.mask_names, "boxes": self.names}.get(kind, ())

    def open(self) -> SceneTable:
        root = self.folder()
        folder = self.find(root, self._place(self.images))
        images = by_stem(root, folder)
        return self.scenes(
            root,
            strings(f"{folder}/{name}" for name in images.values()),
            masks=self._masks(root, images),
            decode_mask=ClassMap.plain(len(self.mask_names), IGNORE_INDEX),
            boxes=self._boxes(root, root / folder, tuple(images.values())),
        )

    def _place(self, place: str) -> str:
        return place.replace("{split}", self.split)

    def _masks(self, root: Path, images: dict[str, str]) -> Strings | None:
        if self.masks is None:
            return None
        folder = self.find(root, self._place(self.masks))
        refuse_others(root, folder, ".png")
        found = beside(root, folder, ".png", images)
        if self.missing == "refuse":
            refuse_missing(root, folder, "mask", images, found, "set missing='unlabeled' in the reader")
        return strings(found.get(stem, "") for stem in images)

    def _boxes(self, root: Path, folder: Path, names: tuple[str, ...]) -> BoxColumns | None:
        if self.instances is None:
            return None
        path = inside(root, self._place(self.instances))
        listing = read_coco(
            path,
            self.names,
            leave_out=self.leave_out,
            drop_empty=self.empty_boxes == "drop",
            otherwise="set empty_boxes='drop' in the reader",
        )
        boxes = listing.columns(names, folder)
        if self.missing == "refuse":
            listing.refuse_unlisted(names, "set missing='unlabeled' in the reader")
        return boxes
