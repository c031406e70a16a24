"""CamVid: 701 frames of street video with masks (Brostow et al. 2009), and boxes that were derived from them."""

from pathlib import Path
from typing import Literal

from ssmtl.datasets.base import Side
from ssmtl.datasets.coco_json import read_coco
from ssmtl.datasets.file_table import strings
from ssmtl.datasets.files import by_stem
from ssmtl.datasets.index_maps import ClassMap
from ssmtl.datasets.json_files import read_json
from ssmtl.datasets.scene_table import SceneReader, SceneTable, beside, inside, refuse_missing
from ssmtl.errors import DataError

_NAMES = (
    "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
)  # fmt: skip
_VOID = len(_NAMES)
_BOXED = ("car", "pedestrian", "bicyclist")


class CamVid(SceneReader):
    """`{train,val,test}/{images,masks}`, `instances_{split}.json` in COCO's form, and `classes.json`.

    Masks hold the 11 classes of SegNet's selection (Badrinarayanan et al. 2017), 11 being void. With its split of 367,
    101 and 233 frames, all are annotated; the validation frames are one dense video. Frames of a video belong together.
    """

    canvas: tuple[Side, Side] = (360, 480)
    split: Literal["train", "val", "test"] = "train"

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"mask": _NAMES, "boxes": _BOXED}.get(kind, ())

    def open(self) -> SceneTable:
        root = self.folder()
        folder, maps = self.find(root, f"{self.split}/images"), self.find(root, f"{self.split}/masks")
        _check_classes(inside(root, "classes.json"))
        images = by_stem(root, folder)
        masks = beside(root, maps, ".png", images)
        refuse_missing(root, maps, "mask", images, masks)
        names = tuple(images.values())
        listing = read_coco(inside(root, f"instances_{self.split}.json"), _BOXED)
        boxes = listing.columns(names, root / folder)
        listing.refuse_unlisted(names)
        return self.scenes(
            root,
            strings(f"{folder}/{name}" for name in names),
            masks=strings(masks[stem] for stem in images),
            decode_mask=ClassMap.plain(len(_NAMES), _VOID),
            boxes=boxes,
            groups=strings(stem.partition("_")[0] for stem in images),
        )


def _check_classes(path: Path) -> None:
    found = read_json(path)
    stated = (found.get("names"), found.get("ignore_index")) if isinstance(found, dict) else (None, None)
    if stated != ([*_NAMES, "Void"], _VOID):
        raise DataError(
            f"{path} gives the names {stated[0]} and the ignore_index {stated[1]}, but CamVid has {', '.join(_NAMES)} "
            f"and Void, and {_VOID}; restore the original file, or read other sets with CocoInstances."
        )
