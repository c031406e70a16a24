"""JSON files of annotations that strangers made: lists of entries come out, or one sentence that says why not."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ssmtl.errors import DataError


def read_json(path: Path, without: Collection[str] = ()) -> Any:
    """Return the content of a JSON file; entries named in `without` are thrown away while it is read.

    The outlines of a large set take gigabytes as Python lists, its boxes don't. Raises DataError for a file that is
    missing, cut off, or not JSON.
    """

    def slim(entry: dict[str, Any]) -> dict[str, Any]:
        for name in without:
            entry.pop(name, None)
        return entry

    try:
        with path.open(encoding="utf-8-sig") as file:
            return json.load(file, object_hook=slim)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path} can't be read as JSON ({error}); it is missing, damaged or cut off: fetch it again."
        ) from error


def entries_of(path: Path, found: Any, what: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects as it is; raises DataError for anything else."""
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(
            f"{path} has no list of {what}, each with its fields, where one was expected; restore the original file."
        )
    return found


def field_of(where: str, entry: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """Return a field of an entry; raises DataError when it is missing or of another kind."""
    value = entry.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "no" if name not in entry else f"{str(value)[:40]!r} as"
        raise DataError(f"{where} has {found} '{name}', which it needs; correct it, or restore the original file.")
    return value


def file_name(where: str, name: Any) -> str:
    """Return the name of a file as it is; raises DataError for anything that is none, or leads to another folder."""
    if not isinstance(name, str) or not name or "/" in name or "\\" in name or name in (".", ".."):
        raise DataError(
            f"{where} has {str(name)[:80]!r} for a file name; give the name of a file in its folder, without a path."
        )
    return name
