"""`labels.json`: which labels a run saw, by name and content, so that it can be checked and repeated elsewhere."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.progress import Progress

from ssmtl.component import mistakes
from ssmtl.datasets.base import Table, Traceable
from ssmtl.datasets.cached import CachedTable
from ssmtl.errors import DataError, nearest
from ssmtl.recipe import Recipe
from ssmtl.streams import Coverage
from ssmtl.task import Annotation, BoxList

LABELS = "labels.json"
MOST_HASHED = 100_000
THREADS = 8
PATIENCE = 2.0
Item = TypeVar("Item")
Shown = dict[str, dict[str, dict[str, str]]]


class LabelRecord(BaseModel):
    """What `labels.json` holds.

    `labels` maps task, source and sample to the SHA-256 of what the label and its image were read from, file by file:
    bytes on disk look the same to every machine, decoded pixels don't. What is no file counts by its value, what is
    made in memory by its name, and samples of a table that isn't `Traceable` by their decoded arrays. Above
    100,000 labels only names are kept (`compared` says "names"), and the hashes are empty. `sha256` is that of all
    `labels`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    budget: dict[str, Any]
    counts: dict[str, int]
    compared: Literal["names and content", "names"]
    sha256: str
    labels: Shown

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(self.model_dump_json(indent=1))
        fresh.replace(path)

    def refuse_other(self, before: "LabelRecord", path: Path, advice: str) -> None:
        """Raise DataError, which ends in `advice`, for the first label that isn't what the record at `path` says."""
        compare = self.compared == before.compared == "names and content"
        for task, sources in self.labels.items():
            expected = before.labels.get(task, {})
            for source in {**expected, **sources}:
                now, then = sources.get(source, {}), expected.get(source, {})
                changed = {name for name in now.keys() & then if compare and now[name] != then[name]}
                for name in sorted((now.keys() ^ then.keys()) | changed):
                    what = f"or its image changed since {path} was written"
                    if name not in then:
                        what = f"is visible now, but not in {path}"
                    elif name not in now:
                        what = f"is visible in {path}, but not now"
                    raise DataError(f"the label of '{task}' for {name} of the source '{source}' {what}; {advice}")


def read_record(path: Path) -> LabelRecord:
    """Read `labels.json`; raises DataError for a file that is missing, no label record, or not as it was written."""
    try:
        found = LabelRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"the label record {path} can't be read ({error.strerror}); name the labels.json of a run."
        ) from error
    except ValidationError as error:
        raise DataError(f"{path} is no label record ({mistakes(error)}); name the labels.json of a run.") from error
    if found.sha256 != _digest_of_all(found.labels):
        raise DataError(f"{path} was changed after it was written: its hash is another; copy it from its run again.")
    return found


def labels_of(
    path: Path, tables: Mapping[str, Table], annotated: Mapping[str, Bool[np.ndarray, " n"]]
) -> dict[str, Bool[np.ndarray, " n"]]:
    """Return which rows of the tables, end to end, show their label of each task as the record says.

    Its other tasks have no say. Raises DataError for a task, a source or a label that isn't there. `keep_labels`
    compares contents.
    """
    shown = read_record(path).labels
    names = {source: [table.name(row) for row in range(len(table))] for source, table in tables.items()}
    visible = {}
    for task, mask in annotated.items():
        if task not in shown:
            raise DataError(f"{path} holds no labels of the task '{task}'{nearest(task, shown)}")
        for source in shown[task]:
            if source not in tables and shown[task][source]:
                raise DataError(f"{path} holds labels of the source '{source}'{nearest(source, tables)}")
        wanted = [name in shown[task].get(source, {}) for source, rows in names.items() for name in rows]
        visible[task] = mask & np.array(wanted)
        _refuse_lacking(path, task, shown[task], names, visible[task])
    return visible


def _refuse_lacking(
    path: Path, task: str, wanted: Mapping[str, Mapping[str, str]], names: Mapping[str, list[str]], visible: Any
) -> None:
    first = 0
    for source, rows in names.items():
        here = {name for name, seen in zip(rows, visible[first : first + len(rows)], strict=True) if seen}
        first += len(rows)
        lacking = sorted(wanted.get(source, {}).keys() - here)
        if lacking:
            raise DataError(
                f"{path} shows the label of '{task}' for {lacking[0]}, but the source '{source}' has none of it "
                f"({len(lacking)} such); restore the data that the record was written for."
            )


def keep_labels(
    path: Path, recipe: Recipe, tables: Iterable[Table], coverage: Coverage, *, resume: bool, console: Console
) -> None:
    """Write the record of a run, or compare with the one that it began with.

    Raises DataError when the labels or images of a resumed run are others now, or not those of the budget's record.
    """
    found = take_stock(recipe, dict(zip(coverage.sources, tables, strict=True)), coverage, console)
    given = recipe.budget.record
    if given is not None:
        found.refuse_other(read_record(given), given, "restore the data, or take another record.")
    if resume and path.exists():
        found.refuse_other(read_record(path), path, "restore the data, or start a new run.")
    else:
        found.write(path)


class _Label(NamedTuple):
    task: str
    source: str
    row: int
    kind: str


def take_stock(recipe: Recipe, tables: Mapping[str, Table], coverage: Coverage, console: Console) -> LabelRecord:
    """Return the record of the labels that are visible; says how far it is when that takes long."""
    rows = {
        (task, source): np.flatnonzero(visible[coverage.rows(source)]).tolist()
        for task, visible in coverage.visible.items()
        for source in coverage.sources
    }
    hashed = sum(map(len, rows.values())) <= MOST_HASHED
    found = [
        _Label(*owner, row, recipe.tasks[owner[0]].reads) for owner, here in rows.items() for row in here if hashed
    ]
    digests = iter(_digests([(tables[label.source], label) for label in found], console))
    labels: Shown = {task: {} for task in coverage.visible}
    for (task, source), here in rows.items():
        labels[task][source] = {tables[source].name(row): next(digests, "") for row in here}
    return LabelRecord(
        budget=recipe.budget.model_dump(),
        counts={task: int(visible.sum()) for task, visible in coverage.visible.items()},
        compared="names and content" if hashed else "names",
        sha256=_digest_of_all(labels),
        labels=labels,
    )


def _digests(labels: list[tuple[Table, _Label]], console: Console) -> list[str]:
    """Return a hash per label; every file is read once, also where it serves several tasks."""
    parts = [_parts(table, label) for table, label in _watched(labels, len(labels), "listing labels", console)]
    files = list(dict.fromkeys(part for one in parts for part in one if isinstance(part, Path)))
    with ThreadPoolExecutor(THREADS) as pool:
        read = dict(
            zip(files, _watched(pool.map(_file_digest, files), len(files), "hashing labels", console), strict=True)
        )
    return [
        hashlib.sha256(b"".join(read[part] if isinstance(part, Path) else part for part in one)).hexdigest()
        for one in parts
    ]


def _parts(table: Table, label: _Label) -> tuple[Path | bytes, ...]:
    """Return the files behind a label and its image, and digests of what is no file."""
    origin = table.table if isinstance(table, CachedTable) else table
    if isinstance(origin, Traceable):
        parts = origin.made_of(label.row, label.kind)
    else:
        sample = table[label.row]
        parts = _bytes(sample.image), _bytes(sample.annotations[label.kind])
    return tuple(part if isinstance(part, Path) else hashlib.sha256(part).digest() for part in parts)


def _bytes(annotation: Annotation) -> bytes:
    if isinstance(annotation, BoxList):
        return b"".join(_bytes(part) for part in (annotation.xyxy, annotation.labels, annotation.crowd))
    if isinstance(annotation, np.ndarray):
        return f"{annotation.dtype} {annotation.shape}".encode() + annotation.tobytes()
    return str(annotation).encode()


def _file_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DataError(
            f"{path} can't be read ({error.strerror}); restore the file, or check its permissions."
        ) from error


def _digest_of_all(labels: Shown) -> str:
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()


def _watched(items: Iterable[Item], total: int, what: str, console: Console) -> Iterator[Item]:
    """Yield items, with a progress bar once that takes more than two seconds."""
    began = time.monotonic()
    progress = Progress(console=console, transient=True)
    try:
        bar = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(bar)
            if time.monotonic() - began > PATIENCE:
                progress.start()
    finally:
        progress.stop()
