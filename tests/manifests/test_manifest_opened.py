"""A manifest as a whole, its classes file, and the stamp of its check."""

import json
from pathlib import Path

import pytest

from ssmtl.errors import DataError
from ssmtl.manifests.classes import read_classes, write_classes
from ssmtl.manifests.columns import require_columns
from ssmtl.manifests.opened import named_classes, open_manifest
from ssmtl.manifests.stamp import remove_stamp, require_stamp, stamp_path, write_stamp

TEXT = """image,label,labels:signs,boxes,mask,age
a.png,sick,cough|fever,"[{""class"": ""hand"", ""box"": [0, 0, 2, 2]}]",,30
b.png,healthy,[],boxes.json,m.png,
c.png,,,,,
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(TEXT)
    write_classes(path, {"mask": ("background", "lung")})
    categories = [{"id": 1, "name": "foot"}]
    (tmp_path / "boxes.json").write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    return path


def test_classes_without_names_are_those_found_sorted(path: Path) -> None:
    expected = {
        "label": ("healthy", "sick"),
        "labels:signs": ("cough", "fever"),
        "boxes": ("foot", "hand"),
        "mask": ("background", "lung"),
    }
    opened = open_manifest(path)
    assert opened.classes == expected
    assert dict(named_classes(path)) == expected
    assert opened.table.column("age").to_pylist() == ["30", None, None]
    assert (opened.root, opened.line(0)) == (path.parent.resolve(), 2)


def test_the_classes_file_decides_the_order(path: Path) -> None:
    write_classes(path, {"mask": ("background", "lung"), "label": ("sick", "healthy", "unsure")})
    assert dict(named_classes(path))["label"] == ("sick", "healthy", "unsure")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "doesn't say what the pixel values of 'mask' mean"),
        ({"mask": ["a"], "lable": ["a"]}, "names classes of 'lable'.* did you mean 'label'"),
        ({"mask": ["a", "a"]}, "a list of different names was expected"),
        ({"mask": "ab"}, "a list of different names was expected"),
        ({"mask": [str(k) for k in range(256)]}, "has 256 classes of 'mask', but a mask can hold 255"),
        (["mask"], "is no object"),
    ],
)
def test_a_classes_file_that_is_none_is_refused(path: Path, content: object, said: str) -> None:
    path.with_name("mine.classes.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        read_classes(path, require_columns(TEXT.partition("\n")[0].split(","), path.name))


def test_a_cell_that_hides_the_classes_is_named_with_its_column(path: Path) -> None:
    path.write_text("image,boxes\na.png,10 20 30 40\n")
    path.with_name("mine.classes.json").unlink()
    with pytest.raises(DataError, match=r"in its column 'boxes'.*name the column's classes in mine\.classes\.json"):
        named_classes(path)


def test_a_stamp_holds_until_table_or_classes_change(path: Path) -> None:
    with pytest.raises(DataError, match=r"has not been checked.*run `ssmtl data check .*mine\.csv`"):
        require_stamp(path)
    assert write_stamp(path, 3) == require_stamp(path)
    classes = path.with_name("mine.classes.json")
    before = classes.read_text()
    classes.write_text(before + " ")
    with pytest.raises(DataError, match=r"mine\.classes\.json has changed since mine\.csv was checked"):
        require_stamp(path)
    classes.write_text(before)
    assert require_stamp(path).rows == 3
    path.write_text(TEXT + "d.png,,,,,\n")
    with pytest.raises(DataError, match=r"mine\.csv has changed since it was checked"):
        require_stamp(path)


def test_a_stamp_is_for_one_table_and_can_be_taken_away(path: Path) -> None:
    write_stamp(path, 3)
    other = path.with_suffix(".jsonl")
    other.write_text('{"image": "a.png"}\n')
    with pytest.raises(DataError, match=r"mine\.jsonl has not been checked, only mine\.csv beside it has"):
        require_stamp(other)
    stamp_path(path).write_text("{}")
    with pytest.raises(DataError, match="is no stamp of a check"):
        require_stamp(path)
    remove_stamp(path)
    remove_stamp(path)
    assert not stamp_path(path).exists()
