"""Tables on disk: CSV, JSONL and Parquet, read strictly into columns of text, a part at a time."""

import csv
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ssmtl.errors import DataError
from ssmtl.manifests.cells import as_text

SUFFIXES = (".csv", ".jsonl", ".parquet")

_BLOCK_BYTES = 2**16  # some thirty blocks are read ahead
_LINES = 4  # that a row may have, were all of them as long as the longest
_ROWS = 50_000
_CHECK = "run `ssmtl data check` on it to see all that is wrong and what can be repaired."

Batches: TypeAlias = Iterator[pa.RecordBatch]


def read_table(path: Path) -> pa.Table:
    """Return a table file as columns of text, in which an empty cell is null.

    CSV is UTF-8 without a byte order mark, separated by commas, with a header. A line of JSONL is an object, whose
    fields may be texts, numbers, lists or objects; so may the columns of Parquet: what isn't text becomes its JSON.
    Raises DataError for a file that is missing, damaged, of another kind, or has rows that don't fit its header.
    """
    header = read_header(path)
    if len(set(header)) < len(header):
        twice = next(name for place, name in enumerate(header) if name in header[:place])
        raise DataError(f"{path} has two columns '{twice}'; take one of them out.")
    schema = pa.schema([(name, pa.string()) for name in header])
    return pa.Table.from_batches(list(read_batches(path, header)), schema)


def read_header(path: Path) -> tuple[str, ...]:
    """Return the names of the columns, raising as `read_table` does; of JSONL, which has none, those of all lines."""
    _require_file(path)
    found: tuple[str, ...] = _READERS[path.suffix.lower()][0](path)
    return found


def read_batches(path: Path, columns: Collection[str]) -> Batches:
    """Yield some columns of a table, a few thousand rows at a time; raises as `read_table` does."""
    _require_file(path)
    yield from _READERS[path.suffix.lower()][1](path, tuple(columns))


def write_table(table: pa.Table, path: Path) -> None:
    """Write columns of text as the kind of file that the ending says, whole or not at all.

    An empty cell is nothing in CSV, absent in JSONL, null in Parquet. Raises DataError for another ending.
    """
    _require_suffix(path)
    write = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}[path.suffix.lower()]
    _write_whole(path, lambda fresh: write(table, fresh))


def write_more_jsonl(path: Path, columns: pa.Table, out: Path) -> None:
    """Write the objects of the JSONL file `path` to `out` with the fields of `columns`, a row an object.

    All others stay what they are: lists, numbers and nested objects. Raises DataError as `write_table` does.
    """

    def write(fresh: Path) -> None:
        fields = (row for batch in columns.to_batches(_ROWS) for row in batch.to_pylist())
        _write_entries(({**entry, **row} for entry, row in zip(_jsonl_entries(path), fields, strict=True)), fresh)

    _write_whole(out, write)


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    fresh = path.with_name(f".{path.name}.new")
    try:
        write(fresh)
        os.replace(fresh, path)
    except OSError as error:
        raise DataError(f"{path} can't be written ({error.strerror}); check its folder and the space left.") from error
    finally:
        fresh.unlink(missing_ok=True)


def line_of(path: Path, row: int) -> int:
    """Return the line, from 1, of a row, from 0: it comes after the header, as if Parquet had one too."""
    return row + (1 if path.suffix.lower() == ".jsonl" else 2)


def _require_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is no table that can be read; a manifest ends in {', '.join(SUFFIXES)}: convert it.")


def _require_file(path: Path) -> None:
    _require_suffix(path)
    if not path.is_file():
        raise DataError(f"{path} is missing or not a file; correct the path, or write it with `ssmtl data init`.")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes); give it a header and one row an image.")


def _csv_header(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = tuple(next(csv.reader(file, strict=True), ()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} can't be read as CSV in UTF-8 ({error}); {_CHECK}") from error
    if header and header[0].startswith("\ufeff"):
        raise DataError(f"{path} begins with a byte order mark, but plain UTF-8 was expected; {_CHECK}")
    return header


def _csv_batches(path: Path, columns: tuple[str, ...]) -> Batches:
    uneven: list[tuple[int, str]] = []

    def refuse(row: pa.csv.InvalidRow) -> str:
        uneven.append((row.actual_columns, row.text))
        return "error"

    try:
        with pa.csv.open_csv(
            path,
            pa.csv.ReadOptions(block_size=_block(path), use_threads=False),
            pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            pa.csv.ConvertOptions(
                include_columns=list(columns),
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        ) as reader:
            yield from reader
    except (pa.ArrowException, OSError) as error:
        if uneven:
            cells, text = uneven[0]
            raise DataError(
                f"{path} has a row of {cells} cells, '{text[:60]}', but its header names "
                f"{len(_csv_header(path))}; {_CHECK}"
            ) from error
        raise DataError(f"{path} can't be read as CSV in UTF-8 ({error}); {_CHECK}") from error


def _block(path: Path) -> int:
    """Return how much to read at a time: no row of a CSV file may be longer than two blocks."""
    with path.open("rb") as file:
        return max(_BLOCK_BYTES, _LINES * max(map(len, file)))


def _jsonl_entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line, text in enumerate(file, start=1):
                if not text.strip():
                    continue
                try:
                    entry = json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{path} line {line} can't be read as JSON ({error}); {_CHECK}") from error
                if not isinstance(entry, dict):
                    raise DataError(f'{path} line {line} is no object such as {{"image": "a.png"}}; {_CHECK}')
                yield entry
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as JSONL in UTF-8 ({error}); {_CHECK}") from error


def _jsonl_header(path: Path) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for entry in _jsonl_entries(path):
        found.update(dict.fromkeys(entry))
    return tuple(found)


def _jsonl_batches(path: Path, columns: tuple[str, ...]) -> Batches:
    entries = _jsonl_entries(path)
    while part := list(islice(entries, _ROWS)):
        arrays = [pa.array([as_text(entry.get(name)) for entry in part], pa.string()) for name in columns]
        yield pa.record_batch(arrays, names=list(columns))


def _parquet_header(path: Path) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise _no_parquet(path, error) from error


def _parquet_batches(path: Path, columns: tuple[str, ...]) -> Batches:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS, columns=list(columns)):
                arrays = [_texts(batch.column(name)) for name in columns]
                yield pa.record_batch(arrays, names=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise _no_parquet(path, error) from error


def _no_parquet(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} can't be read as Parquet ({error}); it is damaged or cut off: export it again.")


def _texts(column: pa.Array) -> pa.Array:
    """Return a column of Parquet as text, empty cells as null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = column.cast(pa.string())
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    return pa.array([as_text(value) for value in column.to_pylist()], pa.string())


def _write_csv(table: pa.Table, path: Path) -> None:
    pa.csv.write_csv(table, path)


def _write_jsonl(table: pa.Table, path: Path) -> None:
    _write_entries((row for batch in table.to_batches(_ROWS) for row in batch.to_pylist()), path)


def _write_entries(entries: Iterable[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for entry in entries:
            filled = {name: value for name, value in entry.items() if value is not None}
            file.write(json.dumps(filled, ensure_ascii=False) + "\n")


def _write_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


_READERS: dict[str, tuple[Callable[[Path], tuple[str, ...]], Callable[[Path, tuple[str, ...]], Batches]]] = {
    ".csv": (_csv_header, _csv_batches),
    ".jsonl": (_jsonl_header, _jsonl_batches),
    ".parquet": (_parquet_header, _parquet_batches),
}
