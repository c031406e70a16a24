"""Class names as people type them: the same name in capitals, with blanks, in every form of cell."""

import json
from collections.abc import Mapping

from ssmtl.errors import DataError
from ssmtl.manifests.cells import is_coco, parse_boxes, parse_labels
from ssmtl.manifests.columns import Column
from ssmtl.manifests.notations import dump

NO_VALUES = frozenset(("nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "#N/A", "NaT"))
"""What programs write into a cell that has no value; in a manifest it would be one."""


def names_in(column: Column, text: str | None) -> tuple[str, ...]:
    """Return the class names that a cell holds itself, none where it can't be read."""
    try:
        if text is None or (column.form == "boxes" and is_coco(text)):
            return ()
        if column.form == "boxes":
            return tuple(box.label for box in parse_boxes(text))
        return (text,) if column.form == "label" else parse_labels(text)
    except DataError:
        return ()


def respelled(column: Column, text: str, names: Mapping[str, str]) -> str:
    """Return a cell whose class names are others, where `names` has one for them."""
    if column.form == "boxes":
        return dump([(names.get(box.label, box.label), box.edges) for box in parse_boxes(text)])
    if column.form == "label":
        return names.get(text, text)
    return json.dumps(list(dict.fromkeys(names.get(name, name) for name in parse_labels(text))), ensure_ascii=False)


def spelled_alike(names: Mapping[str, int]) -> dict[str, str]:
    """Return {spelling: the most frequent one} of names that differ only in blanks and the case of letters."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: (-names[name], len(name), name)):
        spellings.setdefault(fold(name), []).append(name)
    usual = {key: found[0].strip() for key, found in spellings.items()}
    return {name: usual[fold(name)] for name in names if name != usual[fold(name)]}


def fold(name: str) -> str:
    """Return a name without what people type differently: its case, and blanks around and in it."""
    return " ".join(name.split()).casefold()
