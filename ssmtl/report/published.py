"""Numbers printed in papers, kept as data with their source, and our reasons to doubt some of them.

Each `published/*.json` holds one study: its papers, what its metrics are called here, and the rows of its tables.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from ssmtl.errors import RecipeError, nearest

Setting = Mapping[str, str | int | None]


class Cell(NamedTuple):
    """One printed number, its printed ± if there is one (`Study.spread` says of what), and reasons to doubt it."""

    value: float
    sd: float | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of a table: `setting` says for which budget and data, `values` holds the cells by the paper's metric.

    `table` lists the tables, "4, 5", where several print the same row. `source` names where the numbers were taken from
    when not from this table.
    """

    paper: str
    citation: str
    table: str
    method: str
    setting: Setting
    values: Mapping[str, Cell]
    source: str | None = None


@dataclass(frozen=True)
class Metric:
    """A metric of a study: its title, the names that tasks log it under, and a remark on comparing it."""

    title: str
    ours: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True)
class Domain:
    """Where a study measured: a title, the test data in words, and remarks on reading its metrics there."""

    title: str
    data: str
    remarks: Mapping[str, str]


@dataclass(frozen=True)
class Study:
    """Everything known about a set of papers that share their metrics and settings: citations, titles, rows.

    `domain_key` is the key of a row's setting that names its domain: where the papers measure models on other data than
    they learned from, it is "domain", with the values "in" and "cross". `spread` says what is printed after a ±.
    """

    papers: Mapping[str, str]
    domain_key: str
    spread: str
    settings: Mapping[str, str]
    metrics: Mapping[str, Metric]
    domains: Mapping[str, Domain]
    rows: tuple[Row, ...]

    def domain_of(self, row: Row) -> Domain:
        """Return where a row was measured."""
        return self.domains[str(row.setting[self.domain_key])]


def lookup(paper: str, method: str, setting: Setting) -> list[Row]:
    """Return the rows of a paper's method for a setting such as `{"n_cls_labels": 100, "domain": "in"}`.

    A row whose setting holds None for a key doesn't depend on it (a classifier has no number of masks) and matches any
    value; one without that key matches none. What several tables print for one setting is joined: each number is as
    the first of them prints it. No row for a known key's value gives an empty list. Raises RecipeError for an unknown
    paper, method or key.
    """
    rows = [row for row in study(paper).rows if row.paper == paper]
    _known("method", method, {row.method for row in rows}, paper)
    for key in setting:
        _known("setting", key, {known for row in rows for known in row.setting}, paper)
    return _joined(row for row in rows if row.method == method and _matches(row.setting, setting))


def study(paper: str) -> Study:
    """Return the study that a paper belongs to; raises RecipeError naming the nearest paper."""
    known = {name: candidate for candidate in _studies() for name in candidate.papers}
    if paper not in known:
        raise RecipeError(f"no published numbers are kept of the paper '{paper}'{nearest(paper, known)}")
    return known[paper]


def _known(what: str, name: str, known: Iterable[str], paper: str) -> None:
    if name not in known:
        raise RecipeError(f"the tables of '{paper}' know no {what} '{name}'{nearest(name, known)}")


def _matches(row: Setting, wanted: Setting) -> bool:
    return all(key in row and (row[key] is None or str(row[key]) == str(value)) for key, value in wanted.items())


def _joined(rows: Iterable[Row]) -> list[Row]:
    found: dict[frozenset[tuple[str, str | int | None]], Row] = {}
    for row in rows:
        key = frozenset(row.setting.items())
        found[key] = _join(found[key], row) if key in found else row
    return list(found.values())


def _join(first: Row, second: Row) -> Row:
    both = {key: _same(first.values[key], second.values[key]) for key in first.values.keys() & second.values.keys()}
    return replace(first, table=f"{first.table}, {second.table}", values={**first.values, **second.values, **both})


def _same(first: Cell, second: Cell) -> Cell:
    sd = second.sd if first.sd is None else first.sd
    return Cell(first.value, sd, (*first.doubts, *second.doubts))


@cache
def _studies() -> tuple[Study, ...]:
    folder = files("ssmtl.report") / "published"
    found = sorted((path for path in folder.iterdir() if path.name.endswith(".json")), key=lambda path: path.name)
    return tuple(_study(json.loads(path.read_text(encoding="utf-8"))) for path in found)


def _study(data: dict[str, Any]) -> Study:
    citations = {name: str(paper["citation"]) for name, paper in data["papers"].items()}
    return Study(
        papers=citations,
        domain_key=data["domain_key"],
        spread=data["spread"],
        settings=data["settings"],
        metrics={name: Metric(**{**metric, "ours": tuple(metric["ours"])}) for name, metric in data["metrics"].items()},
        domains={name: Domain(data=_test_data(data, name), **domain) for name, domain in data["domains"].items()},
        rows=tuple(_row(row, citations) for row in data["rows"]),
    )


def _row(row: dict[str, Any], citations: Mapping[str, str]) -> Row:
    doubts = row.get("doubts", {})
    return Row(
        paper=row["paper"],
        citation=citations[row["paper"]],
        table=row["table"],
        method=row["method"],
        setting=row["setting"],
        values={
            metric: Cell(cell[0], cell[1] if len(cell) > 1 else None, tuple(doubts.get(metric, ())))
            for metric, cell in row["values"].items()
        },
        source=row.get("source"),
    )


def _test_data(data: dict[str, Any], domain: str) -> str:
    return " and ".join(
        f"{dataset['name']} ({dataset['n_test']:,} test images)"
        for dataset in data["datasets"]
        if dataset["domain"] == domain
    )
