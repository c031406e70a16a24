"""The annotation files of COCO (Lin et al. 2014) and of the many sets in its form: images, categories, boxes."""

from pathlib import Path
from typing import Any, TypeAlias

from ssmtl.datasets.box_columns import Listing, Numbers, Row, as_written, four_numbers
from ssmtl.datasets.json_files import entries_of, field_of, file_name, read_json
from ssmtl.errors import DataError, nearest

Key: TypeAlias = int | str

_KEY = (int, str)
UNUSED = ("segmentation", "keypoints", "caption")
_LEFT_OUT = -1
_TAKE_OUT = "take the annotation out"


def read_coco(
    path: Path,
    classes: tuple[str, ...],
    *,
    leave_out: tuple[str, ...] = (),
    drop_empty: bool = False,
    otherwise: str = _TAKE_OUT,
) -> Listing:
    """Return what an instances file lists; boxes come from `bbox` (left, top, width, height), crowds from `iscrowd`.

    Categories become indices into `classes` by name; those of `leave_out` are thrown away, as are, with `drop_empty`,
    boxes without width or height. Raises DataError for a damaged file, two images, annotations or categories of one id,
    an image listed twice or with a size that is none, an unknown category or image, an `iscrowd` other than 0 and 1,
    and a box that is not four numbers, lies outside its image, or is empty, for which `otherwise` is the way out.
    """
    document = read_json(path, without=UNUSED)
    parts = document if isinstance(document, dict) else {}
    images, categories, annotations = (
        _by_id(path, parts.get(part), part) for part in ("images", "categories", "annotations")
    )
    names = tuple(file_name(f"{path}, image {key}", image.get("file_name")) for key, image in images.items())
    sizes = [
        (_side(f"{path}, image {key}", image, "height"), _side(f"{path}, image {key}", image, "width"))
        for key, image in images.items()
    ]
    labels = _labels(path, categories, classes, leave_out)
    rows = {key: row for row, key in enumerate(images)}
    boxes = []
    for key, entry in annotations.items():
        where = f"{path}, annotation {key}"
        row, label = _known(where, entry, "image", rows), _known(where, entry, "category", labels)
        crowd, bbox = _crowd(where, entry), four_numbers(where, "bbox", entry.get("bbox"))
        x, y, width, height = bbox
        if label == _LEFT_OUT or (drop_empty and min(width, height) == 0):
            continue
        _check_bbox(where, bbox, sizes[row], otherwise)
        boxes.append(Row(row, label, crowd, x, y, x + width, y + height))
    return Listing.of(path, names, boxes, sizes, "x, y, x + width, y + height")


def _by_id(path: Path, found: Any, part: str) -> dict[Key, dict[str, Any]]:
    """Return {id: entry} of one part of the file, in its order."""
    entries: dict[Key, dict[str, Any]] = {}
    for place, entry in enumerate(entries_of(path, found, part)):
        key = field_of(f"{path}, number {place} of its {part},", entry, "id", _KEY)
        if key in entries:
            raise DataError(f"{path} has two {part} of the id {key}; every one needs an id of its own: renumber them.")
        entries[key] = entry
    return entries


def _side(where: str, image: dict[str, Any], name: str) -> int:
    """Return a side of an image as the file gives it, 0 where it doesn't."""
    value = image.get(name)
    if value is None:
        return 0
    if type(value) is not int or not 0 < value < 2**31:
        raise DataError(
            f"{where} has {str(value)[:40]!r} for its {name}, but a whole number of pixels above 0 was expected; "
            "correct it, or take it out, as a size may be unknown."
        )
    return value


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


def _known(where: str, entry: dict[str, Any], what: str, known: dict[Key, int]) -> int:
    """Return the number behind the id of an annotation's image or category."""
    value = field_of(where, entry, f"{what}_id", _KEY)
    if value not in known:
        raise DataError(f"{where} has the {what} {value}, which the file doesn't list; restore the original file.")
    return known[value]


def _crowd(where: str, entry: dict[str, Any]) -> bool:
    value = entry.get("iscrowd")
    if value is not None and not (isinstance(value, int) and value in (0, 1)):
        raise DataError(
            f"{where} has {str(value)[:40]!r} for its 'iscrowd', but 0 or 1 was expected; correct it, or take it out "
            "where the annotation is no crowd."
        )
    return bool(value)


def _check_bbox(where: str, bbox: Numbers, size: tuple[int, int], otherwise: str) -> None:
    """Raise DataError for a box without pixels, and for one outside an image of (height, width), where it is known."""
    x, y, width, height = bbox
    if min(width, height) <= 0:
        raise DataError(
            f"{where} has the bbox {as_written(bbox)}, but its width and height, the last two, must be above 0; "
            f"correct it, or {otherwise if min(width, height) == 0 else _TAKE_OUT}."
        )
    tall, wide = size
    if all(size) and (x >= wide or y >= tall or x + width <= 0 or y + height <= 0):
        raise DataError(
            f"{where} has the bbox {as_written(bbox)}, which lies outside its image of {wide}x{tall} pixels; give "
            f"left, top, width and height in pixels of that image, or {_TAKE_OUT}."
        )
