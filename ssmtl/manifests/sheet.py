"""A table file as its owner left it: every row with its line, whatever the encoding, separator or length of rows.

Training reads tables strictly. This reader is for checking and repairing them, so it goes on where that one stops, and
says what it had to put up with.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from ssmtl.errors import DataError
from ssmtl.manifests.cells import as_text
from ssmtl.manifests.encodings import guess_encoding, guess_separator
from ssmtl.manifests.problems import Problem
from ssmtl.manifests.table import SUFFIXES, line_of, read_table

_CHUNK = 50_000
_LONGEST_CELL = 2**26
_DAMAGED = "correct the line by hand, or export the table again."


@dataclass(frozen=True, eq=False)
class Sheet:
    """The cells of a table file as text, column by column; None is an empty cell.

    `lines[row]` is the line on which a row begins, as in `Problem`. `ragged` holds the rows of a CSV file that have
    more or fewer cells than the header, as they are. `broken` tells that lines had to be left out, so that writing the
    table again would lose them.
    """

    path: Path
    header: tuple[str, ...]
    columns: tuple[pa.ChunkedArray, ...]
    lines: Int64[np.ndarray, " n"]
    problems: tuple[Problem, ...] = ()
    ragged: dict[int, list[str]] = field(default_factory=dict)
    broken: bool = False

    def __len__(self) -> int:
        return len(self.lines)

    def cell(self, row: int, column: int) -> str | None:
        """Return one cell."""
        return self.columns[column][row].as_py()

    def rows(self) -> Iterator[tuple[int, tuple[str | None, ...]]]:
        """Yield (row, its cells), a part of the table at a time."""
        for start in range(0, len(self), _CHUNK):
            parts = [column.slice(start, _CHUNK).to_pylist() for column in self.columns]
            yield from enumerate(zip(*parts, strict=True), start)


def read_sheet(path: Path) -> Sheet:
    """Return the table in a CSV, JSONL or Parquet file, with all that is odd about how it is written.

    Raises DataError where there is no table to speak of: a file that is missing, empty, of another kind, or damaged
    from its beginning.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is no table that can be read: a manifest ends in {', '.join(SUFFIXES)}; convert it.")
    if not path.is_file():
        raise DataError(f"{path} is missing or not a file; correct the path, or write one with `ssmtl data init`.")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes); a manifest has a header and one row an image.")
    try:
        return {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}[path.suffix.lower()](path)
    except UnicodeError as error:
        raise DataError(f"{path} is no text in any usual encoding ({error}); export it again as UTF-8.") from error


def _read_csv(path: Path) -> Sheet:
    """Read in chunks: Python's text of a million rows would take a gigabyte."""
    encoding, odd = guess_encoding(path)
    builder = _Builder(path, problems=[odd] if odd else [])
    former = csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding=encoding, newline="") as stream:
            separator, skipped, odd = guess_separator(stream, path.name)
            builder.problems += [odd] if odd else []
            reader = csv.reader(stream, delimiter=separator, strict=True)
            header = next(reader, [])
            if not any(cell.strip() for cell in header):
                raise DataError(f"{path} has no header in its first line; name its columns there, 'image' among them.")
            line = skipped + reader.line_num + 1
            for cells in _records(reader, builder, skipped):
                if cells:
                    builder.add(line, cells, len(header))
                line = skipped + reader.line_num + 1
    finally:
        csv.field_size_limit(former)
    return builder.sheet(tuple(header))


def _records(reader: Any, builder: "_Builder", skipped: int) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        builder.lose(
            skipped + reader.line_num, f"has a line that is no CSV ({error})", "close its quotes, or " + _DAMAGED
        )


@dataclass
class _Builder:
    """Rows on their way into columns."""

    path: Path
    problems: list[Problem]
    ragged: dict[int, list[str]] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    waiting: list[Sequence[str | None]] = field(default_factory=list)
    parts: list[list[pa.Array]] = field(default_factory=list)
    broken: bool = False

    def add(self, line: int, cells: list[str], width: int) -> None:
        if not any(map(str.strip, cells)):
            cells = [""] * width
        elif len(cells) != width:
            self._uneven(line, cells, width)
            cells = (cells + [""] * width)[:width]
        self.lines.append(line)
        self.waiting.append(cells)
        if len(self.waiting) == _CHUNK:
            self._flush()

    def lose(self, line: int, what: str, fix: str) -> None:
        """Note a line that can't become a row."""
        self.problems.append(Problem(self.path.name, line, what, fix))
        self.broken = True

    def sheet(self, header: tuple[str, ...]) -> Sheet:
        self._flush()
        columns = tuple(
            pa.chunked_array([part[place] for part in self.parts], pa.string()) for place in range(len(header))
        )
        lines = np.array(self.lines, dtype=np.int64)
        return Sheet(self.path, header, columns, lines, tuple(self.problems), self.ragged, self.broken)

    def _flush(self) -> None:
        if self.waiting:
            columns = zip(*self.waiting, strict=True)
            self.parts.append([pa.array([cell or None for cell in column], pa.string()) for column in columns])
            self.waiting.clear()

    def _uneven(self, line: int, cells: list[str], width: int) -> None:
        spare = len(cells) > width and not any(cells[width:])
        what = f"has {len(cells)} cells, but the header names {width} columns"
        fix = (
            "drop the empty cells at its end"
            if spare
            else "quote cells that hold the separator, or add what is missing"
        )
        self.problems.append(Problem(self.path.name, line, what, fix + ".", "cells" if spare else None))
        if not spare:
            self.ragged[len(self.lines)] = cells


def _read_jsonl(path: Path) -> Sheet:
    encoding, odd = guess_encoding(path)
    builder = _Builder(path, problems=[odd] if odd else [])
    places: dict[str, int] = {}
    with path.open(encoding=encoding) as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                builder.problems.append(Problem(path.name, line, "is blank", "take the line out.", "cells"))
                continue
            try:
                entry = json.loads(text)
            except (ValueError, RecursionError) as error:
                builder.lose(line, f"has a line that is no JSON ({error})", _DAMAGED)
                continue
            if not isinstance(entry, dict):
                builder.lose(
                    line, f'has {text.strip()[:40]!r} on a line, not an object such as {{"image": ...}}', _DAMAGED
                )
                continue
            for name in entry:
                places.setdefault(name, len(places))
            builder.lines.append(line)
            builder.waiting.append([as_text(entry.get(name)) for name in places])
            if len(builder.waiting) == _CHUNK:
                _widen(builder, len(places))
    _widen(builder, len(places))
    return builder.sheet(tuple(places))


def _widen(builder: _Builder, width: int) -> None:
    """Give rows, and parts already finished, the columns that later lines brought."""
    builder.waiting = [[*cells, *[None] * (width - len(cells))] for cells in builder.waiting]
    builder._flush()
    for part in builder.parts:
        part += [pa.nulls(len(part[0]), pa.string()) for _ in range(width - len(part))]


def _read_parquet(path: Path) -> Sheet:
    table = read_table(path)
    lines = np.arange(line_of(path, 0), line_of(path, len(table)), dtype=np.int64)
    return Sheet(path, tuple(table.column_names), tuple(table.columns), lines)
