"""Cells that other programs write: each found and named, none taken for something that nobody meant."""

import json
import unicodedata
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checked import HEIGHT, WIDTH, image, only, pixels, refused, repaired_rows, save, warned, write_manifest, write_rows

from ssmtl.errors import DataError, RecipeError
from ssmtl.manifests.cells import as_text
from ssmtl.manifests.divided import HowToSplit, split_manifest
from ssmtl.manifests.notations import recognize
from ssmtl_tasks.own_data import own_data


def table(tmp_path, header, cells, classes=None):
    """Write a manifest with one more column, an image a cell."""
    rows = [[image(tmp_path, at), *cell] for at, cell in enumerate(cells)]
    return write_manifest(tmp_path, f"image {header}", rows, classes)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2024, 2, 29), "2024-02-29"),
        (Decimal("3.00"), "3"),
        (Decimal("2.5"), "2.5"),
        (float("inf"), "Infinity"),
        (float("nan"), None),
        (b"12345", "5 bytes"),
        (True, "true"),
        ({"when": date(2024, 1, 1), "raw": b"1"}, '{"when": "2024-01-01", "raw": "1 bytes"}'),
    ],
)
def test_fields_of_parquet_as_text(value, text):
    assert as_text(value) == text


def test_a_parquet_file_with_dates_and_bytes_is_checked_and_keeps_its_types(tmp_path):
    images = [image(tmp_path, seed) for seed in range(6)]
    days, labels = [date(2024, 1, 1)] * 6, [["a"], ["a"], ["a", "b"], [], None, ["b"]]
    path = tmp_path / "own.parquet"
    pq.write_table(pa.table({"image": images, "labels": labels, "day": days, "raw": [b"x"] * 6}), path)
    assert refused(path) == []
    split_manifest(path, path, HowToSplit())
    written = pq.ParquetFile(path).read()
    assert written.column("day").to_pylist() == days
    assert written.column("labels").to_pylist() == labels
    assert written.column_names == ["image", "labels", "day", "raw", "split", "sha256", "phash"]
    assert refused(path) == []


@pytest.mark.parametrize(
    ("header", "cell", "meant"), [("group", "P1 ", "P1"), ("group", " P  1", "P 1"), ("source", "A\t", "A")]
)
def test_blanks_would_tear_a_group_apart(tmp_path, header, cell, meant):
    path = table(tmp_path, f"{header} label", [[meant, "a"], [cell, "b"], [meant, "a"], [meant, "b"]])
    _, line, what, fix, repair = only(path)
    assert (line, repair) == (3, "value")
    assert f"has the {header} '{cell}', with blanks too many" in what
    assert fix == f"write '{meant}'."
    assert [row[1] for row in repaired_rows(path)] == [meant] * 4


def test_a_word_for_nothing_is_no_group(tmp_path):
    path = table(tmp_path, "group label", [["nan", "a"], ["nan", "b"], ["P1", "a"], ["P1", "b"]])
    assert [(line, what) for _, line, what, *_ in refused(path)] == [
        (2, "has the group 'nan', which only says that none is known"),
        (3, "has the group 'nan', which only says that none is known"),
    ]
    assert [row[1] for row in repaired_rows(path)] == ["", "", "P1", "P1"]


@pytest.mark.parametrize("form", ["label", "labels"])
def test_a_word_for_nothing_is_a_class_only_when_it_is_named(tmp_path, form):
    path = table(tmp_path, form, [["a"], ["nan"], ["b"], ["a"], ["b"]])
    _, line, what, fix, repair = only(path)
    assert (line, repair) == (3, "class name")
    assert f"has 'nan' in '{form}', which would be a class, but usually says that nobody looked" in what
    assert "name it in a classes file" in fix
    assert [row[1] for row in repaired_rows(path)] == ["a", "", "b", "a", "b"]
    (tmp_path / "own.classes.json").write_text(json.dumps({form: ["a", "b", "nan"]}))
    assert refused(path) == []


def test_accents_may_be_coded_in_two_ways(tmp_path):
    composed = unicodedata.normalize("NFC", "Müller.png")
    image(tmp_path, 1, unicodedata.normalize("NFD", composed))
    path = write_rows(tmp_path / "own.csv", ["image", "label"], [[composed, "a"]])
    _, _, what, _, repair = only(path)
    assert (what, repair) == ("is missing", "path")
    assert repaired_rows(path) == [[unicodedata.normalize("NFD", composed), "a"]]


def test_masks_of_0_and_255_among_masks_of_classes_are_odd(tmp_path):
    rows = []
    for seed, top in enumerate((1, 255, 1, 255)):
        levels = (pixels(seed) > 99).astype("uint8") * top
        rows.append([image(tmp_path, seed), save(tmp_path, f"masks/{seed}.png", levels)])
    path = write_manifest(tmp_path, "image mask", rows, {"mask": ["background", "lung"]})
    assert refused(path) == []
    assert any(
        "has 2 masks in 'mask' that show only 0 and 255, which means ignored" in what for _, _, what, _ in warned(path)
    )


def test_two_images_of_one_entry(tmp_path):
    rows = [[image(tmp_path, 1, "a/1.png"), "boxes.json"], [image(tmp_path, 2, "b/1.png"), "boxes.json"]]
    document = {
        "images": [{"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    what = only(write_manifest(tmp_path, "image boxes", rows))[2]
    assert what == "has one entry for 1.png, but a/1.png and b/1.png both refer to it"


def test_python_lists_keep_the_names_in_them():
    found = recognize("""[{'class': "crow's nest (old)", 'box': (1, 2, 10, 12)}]""")
    assert found is not None
    assert found.boxes == (("crow's nest (old)", (1.0, 2.0, 10.0, 12.0)),)


def test_classes_that_differ_in_case_are_refused_before_training_does(tmp_path):
    path = table(tmp_path, "label", [["Cat"], ["cat"]], {"label": ["Cat", "cat"]})
    assert "upper and lower case count as the same" in refused(path)[0][2]


def test_capitals_in_the_ending_of_a_table(tmp_path):
    rows = [[image(tmp_path, seed), "ab"[seed % 2], "train"] for seed in range(4)]
    path = write_rows(tmp_path / "OWN.CSV", ["image", "label", "split"], rows)
    assert refused(path) == []
    assert len(own_data(path, 16).train.open()) == 4


@pytest.mark.parametrize(
    ("header", "cell", "says"),
    [
        ("label", "a", r"the column 'label' of .*own.csv has 1 class\(es\) \(a\), but at least 2"),
        ("labels:t", "[]", r"the column 'labels:t' of .*own.csv has 0 class\(es\) \(\), but at least 1"),
        ("boxes", "[]", r"the column 'boxes' of .*own.csv has 0 class\(es\) \(\), but at least 1"),
    ],
)
def test_a_column_with_too_few_classes_is_named(tmp_path, header, cell, says):
    path = table(tmp_path, f"{header} split", [[cell, "train"], [cell, "train"]])
    assert refused(path) == []
    with pytest.raises(RecipeError, match=says):
        own_data(path, 16)


def test_links_beside_a_manifest_lead_where_they_like(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "own").mkdir()
    image(tmp_path / "far", 1, "1.png")
    image(tmp_path / "own", 2, "2.png")
    (tmp_path / "own/images").symlink_to(tmp_path / "far")
    (tmp_path / "own/unused").symlink_to(tmp_path / "far")
    rows = [["images/1.png", "a", "train"], ["2.png", "b", "train"]]
    path = write_rows(tmp_path / "own/own.csv", ["image", "label", "split"], rows)
    assert refused(path, allow_outside=True) == []
    train = own_data(path, 16).train
    assert train.replace(allow_outside=True).open()[0].name == "images/1.png"
    with pytest.raises(DataError, match=r"'images/1\.png' leads out of"):
        train.open()[0]
