"""The annotation files of COCO (Lin et al. 2014) and of the many sets in its form: images, categories, boxes."""

from pathlib import Path
from typing import Any, TypeAlias

from ssmtl.datasets.box_columns import Listing, Row, four_numbers
from ssmtl.datasets.json_files import entries_of, field_of, file_name, read_json
from ssmtl.errors import DataError, nearest

Key: TypeAlias = int | str

_KEY = (int, str)
_UNUSED = ("segmentation", "keypoints", "caption")
_LEFT_OUT = -1


def read_coco(
    path: Path, classes: tuple[str, ...], *, leave_out: tuple[str, ...] = (), drop_empty: bool = False
) -> Listing:
    """Return what an instances file lists; boxes come from `bbox` (left, top, width, height), crowds from `iscrowd`.

    Categories become indices into `classes` by name; those of `leave_out` are thrown away, as are, with `drop_empty`,
    boxes without width or height. Raises DataError for a damaged file, two images, annotations or categories of one id,
    an image listed twice, an unknown category or image, and a box that is not four numbers.
    """
    document = read_json(path, without=_UNUSED)
    parts = document if isinstance(document, dict) else {}
    images, categories, annotations = (
        _by_id(path, parts.get(part), part) for part in ("images", "categories", "annotations")
    )
    names = tuple(file_name(f"{path}, image {key}", image.get("file_name")) for key, image in images.items())
    sizes = [(_side(image, "height"), _side(image, "width")) for image in images.values()]
    labels = _labels(path, categories, classes, leave_out)
    rows = {key: row for row, key in enumerate(images)}
    boxes = []
    for key, entry in annotations.items():
        box = _box(f"{path}, annotation {key}", entry, rows, labels)
        if box.label != _LEFT_OUT and not (drop_empty and (box.x2 == box.x1 or box.y2 == box.y1)):
            boxes.append(box)
    return Listing.of(path, names, boxes, sizes)


def _by_id(path: Path, found: Any, part: str) -> dict[Key, dict[str, Any]]:
    """Return {id: entry} of one part of the file, in its order."""
    entries: dict[Key, dict[str, Any]] = {}
    for place, entry in enumerate(entries_of(path, found, part)):
        key = field_of(f"{path}, number {place} of its {part},", entry, "id", _KEY)
        if key in entries:
            raise DataError(f"{path} has two {part} of the id {key}; every one needs an id of its own: renumber them.")
        entries[key] = entry
    return entries


def _side(image: dict[str, Any], name: str) -> int:
    """Return a side of an image as the file gives it, 0 where it doesn't."""
    value = image.get(name)
    return value if isinstance(value, int) and 0 < value < 2**31 else 0


def _labels(
    path: Path, categories: dict[Key, dict[str, Any]], classes: tuple[str, ...], leave_out: tuple[str, ...]
) -> dict[Key, int]:
    """Return {category id: class index}, _LEFT_OUT for those to leave out."""
    labels: dict[Key, int] = {}
    for key, category in categories.items():
        name = field_of(f"{path}, category {key}", category, "name", str)
        if name not in (*classes, *leave_out):
            raise DataError(
                f"{path} has the category '{name}', which is none of the reader's classes; correct it, name it there, "
                f"or leave it out{nearest(name, classes)}"
            )
        label = _LEFT_OUT if name in leave_out else classes.index(name)
        if label != _LEFT_OUT and label in labels.values():
            raise DataError(f"{path} has two categories named '{name}'; join them under one id.")
        labels[key] = label
    return labels


def _box(where: str, entry: dict[str, Any], rows: dict[Key, int], labels: dict[Key, int]) -> Row:
    image, category = (field_of(where, entry, name, _KEY) for name in ("image_id", "category_id"))
    for name, value, known in (("image", image, rows), ("category", category, labels)):
        if value not in known:
            raise DataError(f"{where} has the {name} {value}, which the file doesn't list; restore the original file.")
    x, y, width, height = four_numbers(where, "bbox", entry.get("bbox"))
    return Row(rows[image], labels[category], bool(entry.get("iscrowd", 0)), x, y, x + width, y + height)
