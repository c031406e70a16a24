"""What the cells of a manifest say, read one at a time."""

import json
import math
from decimal import Decimal
from typing import Any, NamedTuple

from ssmtl.datasets.box_columns import Numbers, four_numbers
from ssmtl.errors import DataError

BOXES_LOOK_LIKE = '[{"class": "car", "box": [left, top, right, bottom]}]'

_COCO = ".json"


class InlineBox(NamedTuple):
    """A box as a cell gives it: its class and (left, top, right, bottom) on half-open pixel edges, not yet checked."""

    label: str
    edges: Numbers


def is_coco(text: str) -> bool:
    """Tell whether a cell of boxes names a COCO file instead of holding boxes."""
    return text.lower().endswith(_COCO)


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the class names in a cell: a JSON list of texts, or names separated by `|`.

    No name at all is `[]`. Raises DataError for a list that is damaged, and for names that are empty or there twice.
    """
    if text.startswith("["):
        names = _json(text, '["dog", "outdoors"]')
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f'{_cut(text)} is no list of class names; write it as ["dog", "outdoors"] or dog|outdoors.')
    else:
        names = text.split("|")
    if not all(names) or len(set(names)) < len(names):
        raise DataError(f"{_cut(text)} has a class name that is empty or there twice; name every class once.")
    return tuple(names)


def parse_boxes(text: str) -> tuple[InlineBox, ...]:
    """Return the boxes in a cell of JSON: [{"class": "car", "box": [left, top, right, bottom]}], `[]` for none.

    Raises DataError for anything else, also for other entries in a box. Whether a box is empty or lies in its image
    isn't looked at.
    """
    found = _json(text, BOXES_LOOK_LIKE)
    if not isinstance(found, list):
        raise DataError(f"{_cut(text)} is no list of boxes; write them as {BOXES_LOOK_LIKE}, and [] for none.")
    return tuple(_box(place, entry) for place, entry in enumerate(found, start=1))


def as_text(value: Any) -> str | None:
    """Return a field of JSON or Parquet as the cell of a CSV file holds it; None is an empty cell."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, float | Decimal):
        if math.isnan(value):
            return None  # what pandas writes where a column of numbers has a gap
        value = int(value) if math.isfinite(value) and value == int(value) else float(value)
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_unjson)
    return _unjson(value)


def _unjson(value: Any) -> str:
    """Return what JSON has no word for: dates as ISO 8601 has them, and of bytes only how many there are."""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)


def _box(place: int, entry: Any) -> InlineBox:
    if not isinstance(entry, dict) or entry.keys() != {"class", "box"}:
        raise DataError(f"box {place} is {_cut(str(entry))}; write it as {BOXES_LOOK_LIKE[1:-1]}.")
    if not isinstance(entry["class"], str) or not entry["class"]:
        raise DataError(f"box {place} has the class {entry['class']!r}, but a name was expected; correct it.")
    return InlineBox(entry["class"], four_numbers(f"box {place}", "box", entry["box"]))


def _json(text: str, example: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{_cut(text)} can't be read as JSON ({error}); write it as {example}.") from error


def _cut(text: str) -> str:
    return repr(text[:60] + "..." * (len(text) > 60))
