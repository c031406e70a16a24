"""The files that predictions end up in, put together line by line: of ten thousand images none is kept in memory."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ssmtl.answers import SCORE_DECIMALS, Row
from ssmtl.prediction_log import Entry, PredictionLog
from ssmtl.task import Classified, Task

SIDES = ("left", "top", "right", "bottom")
PLACE = ("file", "output")
BOX_COLUMNS = (*PLACE, "task", "label", "score", *SIDES)
SKIPPED = "skipped.csv"


def write_files(
    log: PredictionLog, entries: Sequence[Entry], tasks: Mapping[str, Task], skipped: Mapping[Path, str]
) -> None:
    """Write predictions.csv, boxes.csv, predictions.coco.json and skipped.csv for the images in their order.

    Only what a run has is written: no boxes.csv without a task of boxes, no skipped.csv when all could be read.
    """
    done = [entry for entry in entries if entry.path not in skipped]
    if done:
        _write_csv(log.folder / "predictions.csv", _columns(log, done), _rows(log, done))
    boxed = {name for name, task in tasks.items() if task.annotation == "boxes"}
    if done and boxed:
        _write_csv(log.folder / "boxes.csv", BOX_COLUMNS, _box_rows(log, done, boxed))
    if done:
        _write_coco(log, done, tasks)
    (log.folder / SKIPPED).unlink(missing_ok=True)
    if skipped:
        rows = ({"file": str(path), "reason": reason} for path, reason in skipped.items())
        _write_csv(log.folder / SKIPPED, ("file", "reason"), rows)


def _columns(log: PredictionLog, entries: Iterable[Entry]) -> list[str]:
    names = dict.fromkeys(PLACE)
    for entry in entries:
        names |= dict.fromkeys(log.read(entry)["columns"])
    return list(names)


def _rows(log: PredictionLog, entries: Iterable[Entry]) -> Iterator[Row]:
    for entry in entries:
        yield {"file": str(entry.path), "output": entry.stem, **log.read(entry)["columns"]}


def _box_rows(log: PredictionLog, entries: Iterable[Entry], tasks: set[str]) -> Iterator[Row]:
    for entry in entries:
        for found in log.read(entry)["objects"]:
            if found["task"] in tasks:
                left, top, width, height = found["bbox"]
                sides = (f"{side:.2f}" for side in (left, top, left + width, top + height))
                score = f"{found['score']:.{SCORE_DECIMALS}f}"
                cells = (str(entry.path), entry.stem, found["task"], found["category"], score, *sides)
                yield dict(zip(BOX_COLUMNS, cells, strict=True))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    fresh = path.with_name(f".{path.name}.new")
    # A file's name may be no text in UTF-8; its bytes are shown escaped, rather than losing all that was predicted.
    with fresh.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    fresh.replace(path)


def _write_coco(log: PredictionLog, entries: Sequence[Entry], tasks: Mapping[str, Task]) -> None:
    """Write a COCO file: a category per task and class, whose "supercategory" is the task."""
    categories = _categories(log, entries, tasks)
    path = log.folder / "predictions.coco.json"
    fresh = path.with_name(f".{path.name}.new")
    head = {
        "info": {"description": f"predictions of {log.origin['run']}", "version": f"ssmtl {version('ssmtl')}"},
        "licenses": [],
        "categories": [
            {"id": number, "name": name, "supercategory": task} for (task, name), number in categories.items()
        ],
    }
    with fresh.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head)[:-1] + ', "images": [')
        _write_items(stream, _images(log, entries))
        stream.write('], "annotations": [')
        _write_items(stream, _annotations(log, entries, categories))
        stream.write("]}\n")
    fresh.replace(path)


def _write_items(stream: Any, items: Iterable[dict[str, Any]]) -> None:
    for number, item in enumerate(items):
        stream.write((",\n" if number else "\n") + json.dumps(item))


def _images(log: PredictionLog, entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(entries, start=1):
        height, width = log.read(entry)["size"]
        yield {"id": number, "file_name": str(entry.path), "width": width, "height": height}


def _annotations(
    log: PredictionLog, entries: Iterable[Entry], categories: Mapping[tuple[str, str], int]
) -> Iterator[dict[str, Any]]:
    identity = 0
    for number, entry in enumerate(entries, start=1):
        for found in log.read(entry)["objects"]:
            identity += 1
            task, name = found.pop("task"), found.pop("category")
            place = {"id": identity, "image_id": number, "category_id": categories[task, name], "iscrowd": 0}
            yield {**place, **found}


def _categories(log: PredictionLog, entries: Iterable[Entry], tasks: Mapping[str, Task]) -> dict[tuple[str, str], int]:
    """Number the classes of tasks that find objects, in their order, and whatever else is found."""
    found = {(thing["task"], thing["category"]) for entry in entries for thing in log.read(entry)["objects"]}
    placed = {task for task, _ in found}
    known = [(n, c) for n, t in tasks.items() if n in placed and isinstance(t, Classified) for c in t.classes]
    return {pair: number for number, pair in enumerate(dict.fromkeys([*known, *sorted(found)]), start=1)}
