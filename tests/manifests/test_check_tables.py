"""Tables as spreadsheet programs of the world save them: named, and saved anew where nothing would be lost."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checked import image, only, refused, repaired_rows, write_manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssmtl.errors import DataError
from ssmtl.manifests.check import check_manifest
from ssmtl.manifests.problems import Problem, grouped, write_problems
from ssmtl.manifests.repairs import fix_manifest
from ssmtl.manifests.sheet import read_sheet

ROWS = ["image,label", "images/1.png,Bär", "images/2.png,Bär"]
GOOD = [["images/1.png", "Bär"], ["images/2.png", "Bär"]]


@pytest.fixture
def write(tmp_path):
    """Return a function that writes text as a manifest of two images, in some encoding."""
    for at in (1, 2):
        image(tmp_path, at)

    def make(lines, encoding="utf-8", end="\n", name="own.csv"):
        path = tmp_path / name
        path.write_bytes((end.join(lines) + end).encode(encoding))
        return path

    return make


@pytest.mark.parametrize(
    ("encoding", "line", "what"),
    [
        ("latin-1", 2, "holds bytes that are no UTF-8; read as Windows-1252"),
        ("utf-16", 0, "is saved as UTF-16"),
        ("utf-16-le", 0, "is saved as UTF-16 without a byte order mark"),
        ("utf-16-be", 0, "is saved as UTF-16 without a byte order mark"),
        ("utf-8-sig", 0, "is saved as UTF-8 with a byte order mark"),
    ],
)
def test_another_encoding(write, encoding, line, what):
    path = write(ROWS, encoding)
    file, found, said, fix, repair = only(path)
    assert (file, found, repair) == ("own.csv", line, "encoding")
    assert said == f"{what}, but plain UTF-8 was expected"
    assert "save it as UTF-8" in fix
    assert repaired_rows(path) == GOOD


@pytest.mark.parametrize(
    ("before", "separator", "what"),
    [
        ([], ";", "separates its cells by semicolons"),
        ([], "\t", "separates its cells by tabs"),
        (["sep=;"], ";", "begins with Excel's line 'sep=;'"),
        (["sep=,"], ",", "begins with Excel's line 'sep=,'"),
    ],
)
def test_another_separator(write, before, separator, what):
    path = write([*before, *(row.replace(",", separator) for row in ROWS)], end="\r\n")
    file, line, said, _, repair = only(path)
    assert (file, line, repair) == ("own.csv", 1, "separator")
    assert said == f"{what}, but a header and commas were expected"
    assert repaired_rows(path) == GOOD


def test_an_excel_file_has_several_oddities_and_all_are_repaired(tmp_path, write):
    rows = ["sep=;", "Image;boxes", "images/1.png;10,5 2 31 22,5", "images/2.png;[]"]
    path = write(rows, "utf-8-sig", end="\r\n")
    (tmp_path / "own.classes.json").write_text('{"boxes": ["car"]}')
    assert {repair for *_, repair in refused(path)} >= {"encoding", "separator", "header"}
    rows = repaired_rows(path)
    assert json.loads(rows[0][1]) == [{"class": "car", "box": [10.5, 2, 31, 22.5]}]


def test_windows_line_ends_are_fine(write):
    assert refused(write(ROWS, end="\r\n")) == []


def test_a_row_with_cells_missing_stays_as_it_is_and_is_refused_again(tmp_path, write):
    path = write([*ROWS, "images/2.png"])
    _, line, what, fix, repair = refused(path)[0]
    assert (line, what, repair) == (4, "has 1 cells, but the header names 2 columns", None)
    assert "quote cells that hold the separator" in fix
    fix_manifest(check_manifest(path), tmp_path / "fixed.csv")
    assert (tmp_path / "fixed.csv").read_text().splitlines()[3] == "images/2.png"


def test_empty_cells_at_the_end_of_rows_are_dropped(write):
    path = write([ROWS[0], f"{ROWS[1]},,", ROWS[2]])
    assert only(path)[1::3] == (2, "cells") or only(path)[4] == "cells"
    assert repaired_rows(path) == GOOD


def test_lines_are_counted_as_editors_do(write):
    path = write(["image,note", 'images/1.png,"two', 'lines"', "", "none.png,x"])
    assert only(path)[:2] == ("none.png", 5)


@pytest.mark.parametrize(
    ("name", "lines", "what"),
    [
        ("own.csv", [*ROWS, '"images/1.png,x'], "has a line that is no CSV"),
        ("own.jsonl", ['{"image": "images/1.png"}', '{"image": '], "has a line that is no JSON"),
        ("own.jsonl", ['{"image": "images/1.png"}', '["images/2.png"]'], "an object such as"),
    ],
)
def test_a_line_that_can_not_be_read_is_named_and_never_lost(tmp_path, write, name, lines, what):
    path = write(lines, name=name)
    assert any(what in said for _, _, said, _, _ in refused(path))
    with pytest.raises(DataError, match="would be lost"):
        fix_manifest(check_manifest(path), tmp_path / "fixed.csv")


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("own.csv", b"", "is empty"),
        ("own.csv", b"\n\n", "no header"),
        ("own.xlsx", b"PK", "is no table"),
        ("own.parquet", b"PAR1 and then nothing", "can't be read as Parquet"),
        ("own.csv", b"\xff\xfea\x00\x00\xd8b\x00", "is no text in any usual encoding"),
    ],
)
def test_a_file_without_a_table(tmp_path, name, data, what):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=what):
        check_manifest(tmp_path / name)


def test_a_table_without_rows(tmp_path):
    (tmp_path / "own.csv").write_text("image,label\n")
    assert only(tmp_path / "own.csv")[2] == "has a header, but no row"


def test_the_three_kinds_of_files_say_the_same(tmp_path):
    boxes = [{"class": "car", "box": [1, 2, 9, 9]}]
    names = [image(tmp_path, at) for at in (1, 2)]
    rows = [[names[0], "a|b", json.dumps(boxes)], [names[1], "[]", ""], ["none.png", "b", "[]"]]
    paths = [write_manifest(tmp_path, "image labels boxes", rows)]
    lines = [{"image": names[0], "labels": ["a", "b"], "boxes": boxes}, {"image": names[1], "labels": []}]
    paths.append(tmp_path / "own.jsonl")
    lines.append({"image": "none.png", "labels": ["b"], "boxes": []})
    paths[1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    paths.append(tmp_path / "own.parquet")
    pq.write_table(pa.Table.from_pylist(lines), paths[2])
    reports = [check_manifest(path) for path in paths]
    assert [report.refused[0].what for report in reports] == ["is missing"] * 3
    assert [report.refused[0].row for report in reports] == [4, 3, 4]
    assert reports[0].tallies == reports[1].tallies == reports[2].tallies
    assert (reports[0].prints.sha256 == reports[2].prints.sha256).all()


CELL = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n\0"), max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELL.filter(bool), CELL), max_size=6))
def test_cells_are_read_as_they_were_written(tmp_path, rows):
    sheet = read_sheet(write_manifest(tmp_path, "image note", rows, name="drawn.csv"))
    assert [cells for _, cells in sheet.rows()] == [(image, note or None) for image, note in rows]
    assert sheet.problems == ()
    assert sheet.lines.tolist() == list(range(2, len(rows) + 2))


def test_problems_that_say_the_same_are_shown_once():
    problems = [Problem(f"{at}.png", at, f"has the class 'x{at}' in 'label'", "correct it.") for at in range(5)]
    problems.insert(2, Problem("m.png", 9, "is missing", "restore the file."))
    assert grouped(problems) == [(problems[0], 5), (problems[2], 1)]


def test_all_problems_are_written(tmp_path):
    write_problems(
        [Problem("a.png", 3, 'says "x", y', "fix.", "boxes"), Problem("b", 0, "w", "f", warning=True)],
        tmp_path / "p.csv",
    )
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "file,row,kind,what,fix,repair",
        'a.png,3,refused,"says ""x"", y",fix.,boxes',
        "b,0,warning,w,f,",
    ]
