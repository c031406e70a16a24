"""Table files, read strictly and written whole."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssmtl.errors import DataError
from ssmtl.manifests.table import line_of, read_header, read_table, write_table

ROWS = [
    {"image": "a.png", "label": "x,y", "boxes": '[{"class": "car", "box": [0, 1, 2, 3]}]'},
    {"image": 'b "1".png', "label": None, "boxes": "[]"},
    {"image": "ü\n.png", "label": "None", "boxes": None},
]
TABLE = pa.Table.from_pylist(ROWS, pa.schema([(name, pa.string()) for name in ROWS[0]]))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_what_is_written_comes_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_table(TABLE, path)
    assert read_table(path).equals(TABLE)
    assert read_header(path) == ("image", "label", "boxes")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_writing_leaves_the_old_table_where_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("image\na.png\n")
    with pytest.raises(pa.ArrowException):
        write_table(pa.table({"image": pa.array([[1]])}), path)
    assert path.read_text() == "image\na.png\n"
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(DataError, match=r"ends in \.csv, \.jsonl, \.parquet"):
        write_table(TABLE, tmp_path / "table.xlsx")


def test_jsonl_and_parquet_may_hold_lists_and_numbers(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "labels": ["x", "y"], "label": 1.0, "boxes": [{"class": "car", "box": [0, 1, 2, 3]}]},
        {"image": "b.png", "labels": None, "label": None, "boxes": []},
    ]
    jsonl, parquet = tmp_path / "table.jsonl", tmp_path / "table.parquet"
    jsonl.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    expected = {
        "image": ["a.png", "b.png"],
        "labels": ['["x", "y"]', None],
        "label": ["1", None],
        "boxes": ['[{"class": "car", "box": [0, 1, 2, 3]}]', "[]"],
    }
    assert read_table(jsonl).to_pydict() == expected
    assert read_table(parquet).to_pydict() == expected


def test_texts_that_look_like_gaps_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('image,label\na.png,NA\nb.png,null\nc.png,""\nd.png,\n')
    assert read_table(path).column("label").to_pylist() == ["NA", "null", None, None]


def test_a_row_far_longer_than_a_block_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    boxes = json.dumps([{"class": "car", "box": [0, 1, 2, 3]}] * 30_000)
    write_table(pa.table({"image": ["a.png", "b.png"], "boxes": [boxes, None]}), path)
    assert read_table(path).column("boxes").to_pylist() == [boxes, None]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"is empty \(0 bytes\)"),
        ("image\né.png\n".encode("latin-1"), "can't be read as CSV in UTF-8"),
        (b"\xef\xbb\xbfimage\na.png\n", "byte order mark"),
        (b"image,label\na.png\n", "has a row of 1 cells, 'a.png', but its header names 2"),
        (b"image,label\na.png,x,y\n", "has a row of 3 cells"),
        (b"image,image\na.png,b.png\n", "two columns 'image'"),
    ],
)
def test_a_damaged_csv_is_refused_with_the_word_to_type(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_table(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b'{"image": "a.png"}\n{"image": \n', "line 2 can't be read as JSON"),
        ("t.jsonl", b'["a.png"]\n', "line 1 is no object"),
        ("t.jsonl", b'{"image": "\xe9"}\n', "can't be read as JSONL in UTF-8"),
        ("t.parquet", b"PAR1 and so on", "can't be read as Parquet"),
        ("t.xlsx", b"image", "ends in .csv, .jsonl, .parquet"),
    ],
)
def test_other_damage_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_table(tmp_path / name)
    with pytest.raises(DataError, match="missing or not a file"):
        read_table(tmp_path / "gone.csv")


def test_lines_count_from_one_and_a_header_is_a_line() -> None:
    assert [line_of(Path(name), 0) for name in ("a.csv", "a.parquet", "a.jsonl")] == [2, 2, 1]
