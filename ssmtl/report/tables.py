"""The metric table of a run: ours beside the published row for the same budget, with the doubts about that row."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from ssmtl.errors import RecipeError
from ssmtl.report import published
from ssmtl.report.records import Record, Run, read_run

COLLECTION = ("kind", "root", "hospital")
"""Fields of a reader that say which collection of images it reads, as opposed to which part of it."""

ELSEWHERE = "published, on other data"
ABBREVIATIONS = {
    "ap": "AP",
    "auc": "AUC",
    "dice": "Dice",
    "f1": "F1",
    "iou": "IoU",
    "jaccard": "Jaccard",
    "map": "mAP",
    "miou": "mIoU",
    "pct": "%",
    "ssim": "SSIM",
}
OF_CLASSES = ("ap", "iou")
"""What metrics of one class start with, before the class's name."""


PERCENT = "_pct"
"""What the names of metrics in percent end with."""
MEDIAN = "median of last "
"""What the name of a checkpoint starts with that stands for several, before their number."""


class Line(NamedTuple):
    """One metric of one task: a cell per column of ours, the published cell, and numbers of footnotes."""

    task: str
    metric: str
    ours: tuple[str, ...]
    published: str
    notes: tuple[int, ...]


@dataclass(frozen=True)
class SplitTable:
    """The metrics of one split. `columns` name whose weights were scored, `source` the published row, if any.

    `spread` says what stands after its ±. `warnings` must be read before comparing anything; `remarks` say how ours was
    measured; `footnotes` are numbered from 1.
    """

    split: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    source: str = ""
    spread: str = ""
    published_title: str = "published"
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()


class Reference(NamedTuple):
    """The published row for one split, with the study that explains its metrics."""

    row: published.Row
    study: published.Study
    domain: published.Domain
    same_data: bool


def metric_table(run: Path) -> Table:
    """Return a run's metrics for the terminal; raises CheckpointError for a folder that isn't a run."""
    record = read_run(run)
    tables = split_tables(record)
    columns = list(dict.fromkeys(name for table in tables for name in table.columns))
    out = Table(
        title=Text(f"{record.info.name}, seed {record.info.seed}"), title_justify="left", caption_justify="left"
    )
    out.add_column("split")
    out.add_column("metric")
    for name in columns or ["ours"]:
        out.add_column(Text(name), justify="right")
    titles = dict.fromkeys(table.published_title for table in tables if table.source)
    if titles:
        out.add_column(" or ".join(titles), justify="right")
    for table in tables:
        for index, line in enumerate(table.lines):
            cells = dict(zip(table.columns, line.ours, strict=True))
            ours = [Text(cells.get(name, "")) for name in columns]
            label = f"{line.task}: {line.metric}" if line.task else line.metric
            split = Text(table.split if index == 0 else "")
            theirs = [Text(line.published)] if titles else []
            out.add_row(split, Text(label), *ours, *theirs, end_section=index == len(table.lines) - 1)
    nothing = [] if tables else ["This run has no metrics yet."]
    out.caption = Text("\n".join(_sentences(tables) or record.missing or nothing))
    return out


def split_tables(run: Run) -> list[SplitTable]:
    """Return a table per test split; without a test, the last validation, which is never beside published numbers."""
    tested = run.phase("test")
    records = tested or run.phase("validation")
    tables = []
    for split in dict.fromkeys(record.split for record in records):
        scored: dict[tuple[str, str], Record] = {}
        for record in records:
            if record.split == split:
                scored[(record.checkpoint, record.weights)] = record
        tables.append(_split_table(run, split, scored, tested=bool(tested)))
    return tables


def number(value: float, metric: str = "") -> str:
    """Write a metric with three decimals, percents with two, counts as integers, and what is not finite in words."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if metric.endswith(PERCENT):
        return f"{value:.2f}"
    if value.is_integer() and abs(value) > 1:
        return f"{value:.0f}"
    return f"{value:.3f}"


def title(metric: str) -> str:
    """Write a metric's name for people: words instead of underscores, capitals for what is an abbreviation."""
    return " ".join(ABBREVIATIONS.get(word, word) for word in metric.split("_"))


def _split_table(run: Run, split: str, scored: Mapping[tuple[str, str], Record], *, tested: bool) -> SplitTable:
    warnings: list[str] = []
    if not tested:
        last = max(record.step for record in scored.values())
        warnings.append(f"This run has not been tested: these are its validation metrics at step {last}.")
    names = list(dict.fromkeys(name for record in scored.values() for name in record.values))
    of_tasks = any("/" in name for name in names)
    reference = _reference(run, split, warnings) if tested and of_tasks else None
    names.sort(key=lambda name: name.partition("/")[0] if "/" in name else "~")
    footnotes: list[str] = []
    lines: list[Line] = []
    for (task, kind), group in groupby(names, key=_family):
        members = list(group)
        lines += [_line(name, scored.values(), reference, footnotes) for name in members]
        if kind and len(members) > 1:
            cells = tuple(_over_classes(record, members) for record in scored.values())
            lines.append(Line(task, f"{title(kind)}: mean ± population SD over classes", cells, "", ()))
    return SplitTable(
        split=split,
        columns=_columns(scored),
        lines=tuple(lines),
        source=_source(reference),
        spread=reference.study.spread if reference else "",
        published_title="published" if reference is None or reference.same_data else ELSEWHERE,
        warnings=tuple(warnings),
        remarks=_remarks(scored),
        footnotes=tuple(footnotes),
    )


def _columns(scored: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    ways = [", ".join(part for part in pair if part) for pair in scored]
    return tuple(f"ours ({way})" if way else "ours" for way in ways)


def _remarks(scored: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    several = dict.fromkeys(
        checkpoint.removeprefix(MEDIAN) for checkpoint, _ in scored if checkpoint.startswith(MEDIAN)
    )
    return tuple(
        f"Ours is the median of the last {count} checkpoints, of each metric by itself; none is chosen by its test."
        for count in several
    )


def _line(name: str, records: Iterable[Record], reference: Reference | None, footnotes: list[str]) -> Line:
    task, _, metric = name.rpartition("/")
    ours = tuple(number(record.values[name], name) if name in record.values else "" for record in records)
    if reference is not None:
        for key, described in reference.study.metrics.items():
            if metric.lower() in described.ours and key in reference.row.values:
                cell = reference.row.values[key]
                text = " ± ".join(number(value, key) for value in (cell.value, cell.sd) if value is not None)
                remarks = [*cell.doubts, described.remark, reference.domain.remarks.get(key, "")]
                notes = tuple(_footnote(remark, footnotes) for remark in remarks if remark)
                return Line(task, described.title, ours, text, notes)
    return Line(task, title(metric), ours, "", ())


def _family(name: str) -> tuple[str, str]:
    """Return a metric's task, and of a metric of one class which one it is, else ""."""
    task, _, metric = name.rpartition("/")
    kind, of, _ = metric.partition("_")
    return task, kind if of and kind in OF_CLASSES else ""


def _over_classes(record: Record, names: Sequence[str]) -> str:
    """Return the mean and the population standard deviation (ddof 0) over the classes that have a value."""
    known = [record.values[name] for name in names if name in record.values]
    values = [value for value in known if not math.isnan(value)]
    if not values:
        return number(math.nan) if known else ""
    return f"{number(fmean(values))} ± {number(pstdev(values))}"


def _footnote(remark: str, footnotes: list[str]) -> int:
    if remark not in footnotes:
        footnotes.append(remark)
    return footnotes.index(remark) + 1


def _reference(run: Run, split: str, warnings: list[str]) -> Reference | None:
    """Find the published row that a recipe names for a split, or say in `warnings` why there is none."""
    named = run.recipe.get("published")
    if not isinstance(named, dict):
        return None
    paper, method = str(named.get("paper")), str(named.get("method"))
    domain, reader = _domain(run.recipe, split)
    try:
        setting, study = _setting(named.get("setting")), published.study(paper)
        setting |= _where(study, domain)
        rows = published.lookup(paper, method, setting)
    except RecipeError as error:
        warnings.append(f"There is no published row: {error}")
        return None
    if len(rows) != 1:
        budget = ", ".join(f"{key} = {value}" for key, value in setting.items())
        found = f"{len(rows)} rows" if rows else "no row"
        warnings.append(
            f"{paper} has {found} of {method} for {budget}, so none is shown; a row needs its exact budget."
        )
        return None
    same_data = named.get("same_data") is True
    where = study.domain_of(rows[0])
    if not same_data:
        warnings.append(
            f"The published numbers are from other data: the paper tested on {where.data}, this run on other "
            f"images, read by {reader}. They are shown for orientation; they are not a comparison."
        )
    return Reference(rows[0], study, where, same_data)


def _setting(value: Any) -> dict[str, Any]:
    """Read a setting as the recipe dumps it: a list of [key, value], or an object."""
    try:
        return {str(key): number for key, number in dict(value or ()).items()}
    except (TypeError, ValueError):
        raise RecipeError(f"its setting is {value!r}, expected pairs of a key and a value.") from None


def _where(study: published.Study, domain: str) -> dict[str, str]:
    """Return what a setting says of the domain; raises RecipeError where a study knows only that of its training."""
    if study.domain_key == "domain":
        return {"domain": domain}
    if domain == "cross":
        raise RecipeError("the paper measured models on the data they learned from, and this split reads other data.")
    return {}


def _domain(recipe: Mapping[str, Any], split: str) -> tuple[str, str]:
    """Return "in" when a training source reads the collection that a test split reads, else "cross"; and its reader."""
    readers = [entry["reader"] for entry in _entries(recipe, "test") if entry.get("name") == split]
    if not readers:
        return "in", "a reader that the recipe does not name"
    collections = [_collection(entry["reader"]) for entry in _entries(recipe, "sources")]
    return "in" if _collection(readers[0]) in collections else "cross", str(_innermost(readers[0]).get("kind"))


def _entries(recipe: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    entries = recipe.get(field)
    found = entries if isinstance(entries, list) else []
    return [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get("reader"), dict)]


def _collection(reader: Mapping[str, Any]) -> tuple[Any, ...]:
    inside = _innermost(reader)
    return tuple(inside.get(field) for field in COLLECTION)


def _innermost(reader: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the reader that opens files: one around another brings images of the same collection."""
    while isinstance(inside := reader.get("reader"), dict):
        reader = inside
    return reader


def _source(reference: Reference | None) -> str:
    if reference is None:
        return ""
    row = reference.row
    titles = reference.study.settings
    setting = ", ".join(
        f"{name} {row.setting[key]}" for key, name in titles.items() if row.setting.get(key) is not None
    )
    taken = f"; numbers from: {row.source}" if row.source else ""
    table = f"Table{'s' if ',' in row.table else ''} {row.table}"
    return f"{row.method} in {row.citation}, {table} ({reference.domain.title}: {setting}){taken}"


def _sentences(tables: Sequence[SplitTable]) -> list[str]:
    """Return what a reader of the terminal table must know, in short; the page says it per cell."""
    elsewhere = [table for table in tables if table.published_title == ELSEWHERE]
    found = [
        *(sentence for table in tables if table not in elsewhere for sentence in table.warnings),
        *(sentence for table in elsewhere for sentence in table.warnings[:-1]),
        *(sentence for table in tables for sentence in table.remarks),
        *(f"Published: {table.source}." for table in tables if table.source),
    ]
    if elsewhere:
        found.append("The published numbers are from other data: for orientation, not a comparison.")
    doubtful = sum(bool(line.notes) for table in tables for line in table.lines)
    if doubtful:
        found.append(f"{doubtful} published number(s) come with a doubt or a remark; report.html says which.")
    return list(dict.fromkeys(found))
