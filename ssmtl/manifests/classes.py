"""The classes file beside a manifest: what the classes of its columns are called, in the order of their indices."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ssmtl.datasets.coco_json import UNUSED
from ssmtl.datasets.json_files import entries_of, field_of, read_json
from ssmtl.datasets.remote import fetch, is_uri
from ssmtl.errors import DataError, nearest
from ssmtl.manifests.cells import is_coco, parse_boxes, parse_labels
from ssmtl.manifests.columns import Column, annotations
from ssmtl.task import IGNORE_INDEX

Names = tuple[str, ...]


def classes_path(path: Path) -> Path:
    """Return where the classes file of a manifest lies: `<stem>.classes.json` beside it."""
    return path.with_name(f"{path.stem}.classes.json")


def read_classes(path: Path, columns: Iterable[Column]) -> dict[str, Names]:
    """Return {kind: class names} of the classes file beside a manifest, {} where there is none.

    Raises DataError for a damaged file, a kind that no column has, names that are no list of different texts, and a
    column of masks without names.
    """
    place, known = classes_path(path), annotations(columns)
    found = _read(place) if place.exists() else {}
    if not isinstance(found, dict):
        raise DataError(f'{place} is no object; write it as {{"label": ["normal", "pneumonia"]}}, a list a column.')
    kinds = {column.kind for column in known}
    for kind, names in found.items():
        if kind not in kinds:
            raise DataError(
                f"{place} names classes of '{kind}', which is no annotation of {path.name}{nearest(kind, kinds)}"
            )
        _check_names(place, kind, names)
    for column in known:
        if column.form == "mask" and column.kind not in found:
            raise DataError(
                f"{place} doesn't say what the pixel values of '{column.kind}' mean; add "
                f'{{"{column.kind}": ["background", ...]}}, the name of value 0 first.'
            )
    return {kind: tuple(names) for kind, names in found.items()}


def _read(place: Path) -> Any:
    """Return the content of a classes file, which its owner wrote: nobody can fetch it again."""
    try:
        return read_json(place)
    except DataError as error:
        cause, how = error.__cause__, "correct it"
        why = f" ({cause})"
        if isinstance(cause, json.JSONDecodeError):
            why = f" at line {cause.lineno}, column {cause.colno} ({cause.msg})"
            how = "correct it there: a comma too many or missing, or a quote"
        raise DataError(
            f"{place} can't be read as JSON{why}; {how}. Without that file, the classes are those that the cells name, "
            "and those of masks are unknown."
        ) from error


def write_classes(path: Path, classes: Mapping[str, Names]) -> Path:
    """Write the classes file of the manifest at `path`, and return where."""
    place = classes_path(path)
    place.write_text(json.dumps({kind: list(names) for kind, names in classes.items()}, indent=1, ensure_ascii=False))
    return place


def found_classes(root: Path, column: Column, cells: pa.ChunkedArray, *, remote: bool = False) -> Names:
    """Return the class names that a column holds, sorted; raises DataError for a cell that can't be read.

    COCO files behind protocols are fetched with `remote` only.
    """
    texts = [text for text in pc.unique(cells).to_pylist() if text is not None]
    if column.form == "label":
        return tuple(sorted(texts))
    if column.form == "labels":
        return tuple(sorted({name for text in texts for name in parse_labels(text)}))
    names = {box.label for text in texts if not is_coco(text) for box in parse_boxes(text)}
    for text in filter(is_coco, texts):
        names.update(_categories(_local(root, text, remote=remote)))
    return tuple(sorted(names))


def _local(root: Path, text: str, *, remote: bool) -> Path:
    if not is_uri(text):
        return root / text
    if not remote:
        raise DataError(f"'{text}' lies behind a protocol, and nothing is fetched unasked; allow it with --remote.")
    return fetch(text)


def _categories(path: Path) -> list[str]:
    document = read_json(path, without=("annotations", "images", *UNUSED))
    found = document.get("categories") if isinstance(document, dict) else None
    return [field_of(str(path), entry, "name", str) for entry in entries_of(path, found, "categories")]


def _check_names(place: Path, kind: str, names: Any) -> None:
    texts = isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)
    if not texts or not names or len({name.casefold() for name in names}) < len(names):
        raise DataError(
            f"{place} has {str(names)[:60]} for the classes of '{kind}', but a list of different names was expected, "
            "where upper and lower case count as the same; correct it."
        )
    if kind.partition(":")[0] == "mask" and len(names) > IGNORE_INDEX:
        raise DataError(
            f"{place} has {len(names)} classes of '{kind}', but a mask can hold {IGNORE_INDEX}, as {IGNORE_INDEX} "
            "means ignored; join some."
        )
