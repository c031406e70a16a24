"""Boxes as strangers write them into one cell: recognized, named, and turned into the notation of a manifest.

A manifest holds JSON, `[{"class": "car", "box": [left, top, right, bottom]}]`, in half-open pixel edges. Four bare
numbers may be corners or a corner and a size; which of the two is known only from all boxes of a column.
"""

import ast
import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from ssmtl.datasets.box_columns import Numbers
from ssmtl.errors import DataError

Form: TypeAlias = Literal["numbers", "yolo", "coco", "corners"]
Order: TypeAlias = Literal["corners", "size"]

_CLASS_KEYS = ("class", "category", "category_name", "label", "name", "class_name", "category_id", "class_id")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_MIDDLE = 1.0
_TINY = 2


class Written(NamedTuple):
    """One box as it stands in a cell: its class, by name or number where there is one, and four numbers."""

    label: str | None
    numbers: Numbers


class Notation(NamedTuple):
    """What a cell is written in: its name for people, what its numbers are, and its boxes."""

    name: str
    form: Form
    boxes: tuple[Written, ...]


def recognize(text: str) -> Notation | None:
    """Return the notation of a cell that is not that of a manifest, None for one that nobody knows.

    Raises DataError for numbers that can be read in two ways.
    """
    text = text.strip()
    if text[:1] in ("[", "(", "{"):
        found = _json(text)
        return _of_lists(found) if found is not None else _of_numbers(text.strip("[]()"))
    return _of_numbers(text)


def corners(written: Numbers, form: Form, order: Order | None, size: tuple[int, int]) -> Numbers | None:
    """Return (left, top, right, bottom) in pixels of an image of (height, width); None where `order` is needed."""
    a, b, c, d = written
    if form == "yolo":
        height, width = size
        a, b, c, d = (a - c / 2) * width, (b - d / 2) * height, c * width, d * height
    if form in ("yolo", "coco") or (form == "numbers" and order == "size"):
        c, d = a + c, b + d
    elif form == "numbers" and order is None:
        return None
    return round(a, 3), round(b, 3), round(c, 3), round(d, 3)


def fits(written: Numbers, order: Order, size: tuple[int, int]) -> bool:
    """Tell whether four numbers make a box inside an image of (height, width), give or take a pixel."""
    a, b, c, d = written
    right, bottom = (c, d) if order == "corners" else (a + c, b + d)
    height, width = size
    return -_MIDDLE <= a < right <= width + _MIDDLE and -_MIDDLE <= b < bottom <= height + _MIDDLE


def are_fractions(boxes: Sequence[Numbers], size: tuple[int, int]) -> bool:
    """Tell whether all numbers of an image's boxes are within 0 and 1, though its (height, width) is above (2, 2)."""
    return bool(boxes) and all(size) and max(size) > _TINY and all(0 <= side <= 1 for box in boxes for side in box)


def in_pixels(fractions: Numbers, size: tuple[int, int]) -> Numbers:
    """Return x, y, x, y in fractions of the sides of an image of (height, width) as pixels."""
    (height, width), (a, b, c, d) = size, fractions
    return a * width, b * height, c * width, d * height


def dump(boxes: list[tuple[str, Numbers]]) -> str:
    """Return boxes as a cell of a manifest."""
    entries = [
        {"class": name, "box": [int(side) if side == int(side) else side for side in box]} for name, box in boxes
    ]
    return json.dumps(entries, ensure_ascii=False)


def _json(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return _lists(read(text))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _lists(found: Any) -> Any:
    """Return tuples as lists, at any depth."""
    if isinstance(found, dict):
        return {name: _lists(part) for name, part in found.items()}
    return [_lists(part) for part in found] if isinstance(found, list | tuple) else found


def _of_lists(found: Any) -> Notation | None:
    entries = found if isinstance(found, list) else [found]
    if entries and all(isinstance(entry, dict) for entry in entries):
        return _of_objects(entries)
    if len(entries) == 4 and all(isinstance(entry, int | float) for entry in entries):
        entries = [entries]
    boxes = [_four(entry) for entry in entries]
    known = tuple(Written(None, box) for box in boxes if box)
    if not known or len(known) < len(boxes):
        return None
    return Notation("a Python list of four bare numbers a box", "numbers", known)


def _of_objects(entries: list[dict[str, Any]]) -> Notation | None:
    """Understand a list of objects: `bbox` is COCO's (left, top, width, height), `box` what a manifest has."""
    key = "bbox" if all("bbox" in entry for entry in entries) else "box"
    boxes = []
    for entry in entries:
        box = _four(entry.get(key))
        label = next((entry[name] for name in _CLASS_KEYS if isinstance(entry.get(name), str | int)), None)
        if box is None:
            return None
        boxes.append(Written(None if label is None else str(label), box))
    if key == "bbox":
        return Notation("COCO entries, whose bbox is left, top, width, height", "coco", tuple(boxes))
    return Notation("a Python list of dictionaries", "corners", tuple(boxes))


def _four(found: Any) -> Numbers | None:
    if not isinstance(found, list) or len(found) != 4 or not all(type(side) in (int, float) for side in found):
        return None
    a, b, c, d = map(float, found)
    return (a, b, c, d) if all(map(math.isfinite, (a, b, c, d))) else None


def _of_numbers(text: str) -> Notation | None:
    """Understand numbers (and class names) between commas, blanks, semicolons and line ends."""
    rows = [row for row in re.split(r"[;\n|]", text) if row.strip()]
    decimal = _decimal_commas(text)
    if decimal:
        _require_one_reading(rows, decimal)
        return Notation("bare numbers with decimal commas", "numbers", decimal)
    boxes = []
    for row in rows:
        words = row.replace(",", " ").split()
        numbers = words[-4:]
        if len(words) not in (4, 5) or not all(_NUMBER.fullmatch(word) for word in numbers):
            return None
        a, b, c, d = map(float, numbers)
        boxes.append(Written(words[0] if len(words) == 5 else None, (a, b, c, d)))
    if not boxes:
        return None
    fractions = all(0 <= side <= 1 for box in boxes for side in box.numbers)
    named = [box.label is not None for box in boxes]
    if fractions and all(named):
        return Notation("YOLO lines, class cx cy w h in fractions of the image", "yolo", tuple(boxes))
    if fractions or any(named):
        return None
    return Notation("bare numbers", "numbers", tuple(boxes))


def _require_one_reading(rows: list[str], decimal: tuple[Written, ...]) -> None:
    """Refuse numbers with decimal commas that are whole boxes, too, where their commas separate numbers."""
    words = [row.replace(",", " ").split() for row in rows]
    if all(len(numbers) % 4 == 0 for numbers in words):
        one = " ".join(f"{side:g}" for side in decimal[0].numbers)
        raise DataError(
            f"'{';'.join(rows)[:60]}' may be {len(decimal)} box(es) with decimal commas, the first {one}, or "
            f"{sum(map(len, words)) // 4} of whole numbers, the first {' '.join(words[0][:4])}; write them as JSON."
        )


def _decimal_commas(text: str) -> tuple[Written, ...]:
    """Return boxes whose numbers are written like 10,5; none where the commas may separate numbers."""
    words = [word for word in re.split(r"[;\s]+", text) if word]
    if len(words) % 4 or not any(_DECIMAL_COMMA.fullmatch(word) for word in words):
        return ()
    if not all(_DECIMAL_COMMA.fullmatch(word) or _NUMBER.fullmatch(word) for word in words):
        return ()
    values = [float(word.replace(",", ".")) for word in words]
    return tuple(Written(None, (a, b, c, d)) for a, b, c, d in zip(*(values[at::4] for at in range(4)), strict=True))
