"""Folders in which a name may mean several things: `ssmtl data init` takes what is clear, and says what isn't."""

import json
import unicodedata

import pytest
from own_folder import picture, write

from ssmtl.manifests.init import write_first_manifest


def made(root):
    """Write the manifest, and return {column: {image: cell}} and {what was left out: why}."""
    first = write_first_manifest(root)
    return {f.header: dict(f.cells) for f in first.findings}, {thing.what: thing.why for thing in first.left_out}, first


def sheet(root, *rows):
    write(root / "t.csv", "\n".join(("file,finding", *rows, "")))


def test_a_row_of_another_folder_labels_nothing(tmp_path):
    for place in ("patA/2.png", "patB/1.png", "patB/2.png"):
        picture(tmp_path / place)
    sheet(tmp_path, "patA/1.png,ill", "patA/2.png,well", "patB/2.png,ill", "patB\\1,well")
    columns, left, _ = made(tmp_path)
    assert columns["label:finding"] == {"patA/2.png": "well", "patB/2.png": "ill", "patB/1.png": "well"}
    assert left["1 row(s) of t.csv: patA/1.png"] == "they name no image of this folder"


@pytest.mark.parametrize("prefix", ["/data/export/images/", "images/", "C:\\data\\", "../films/"])
def test_the_prefix_of_whoever_wrote_the_sheet_may_be_another(tmp_path, prefix):
    for name in "ab":
        picture(tmp_path / f"films/{name}.png")
    sheet(tmp_path, f"{prefix}a.png,ill", f"{prefix}b.png,well")
    assert made(tmp_path)[0]["label:finding"] == {"films/a.png": "ill", "films/b.png": "well"}


def test_a_prefix_that_changes_is_none(tmp_path):
    for name in "123":
        picture(tmp_path / f"patB/{name}.png")
    sheet(tmp_path, "patA/1.png,ill", "patB/2.png,well", "patB/3.png,ill")
    columns, left, _ = made(tmp_path)
    assert columns["label:finding"] == {"patB/2.png": "well", "patB/3.png": "ill"}
    assert "1 row(s) of t.csv: patA/1.png" in left


def test_of_several_images_the_one_whose_folders_fit_best_is_meant(tmp_path):
    for place in ("1.png", "a/1.png", "b/a/1.png"):
        picture(tmp_path / place)
    sheet(tmp_path, "/x/b/a/1.png,ill", "1.png,well")
    assert made(tmp_path)[0]["label:finding"] == {"b/a/1.png": "ill", "1.png": "well"}


def test_capitals_and_accents_may_differ_where_that_is_clear(tmp_path):
    accent = unicodedata.normalize("NFD", "M\xfcller")
    for name in (f"{accent}.PNG", "2.PNG", "3.png", "3.PNG"):
        picture(tmp_path / "x.png", seed=len(name) + ord(name[0])).rename(tmp_path / name)
    sheet(tmp_path, "M\xfcller.png,ill", "2.png,well", "3.Png,ill")
    columns, left, _ = made(tmp_path)
    assert columns["label:finding"] == {f"{accent}.PNG": "ill", "2.PNG": "well"}
    assert "1 row(s) of t.csv: 3.Png" in left


def test_words_for_nothing_are_empty_cells_and_said(tmp_path):
    for place in range(10):
        picture(tmp_path / f"{place}.png")
    words = ("ill", "None", "-", "nan", "NA", "well", "none", "well", "well", "ill")
    sheet(tmp_path, *(f"{place}.png,{word}" for place, word in enumerate(words)))
    (finding,) = write_first_manifest(tmp_path).findings
    assert finding.cells == {
        "0.png": "ill",
        "5.png": "well",
        "6.png": "none",
        "7.png": "well",
        "8.png": "well",
        "9.png": "ill",
    }
    assert "taken for empty cells: 'None' (1), '-' (1), 'nan' (1) and 1 more" in finding.what


def test_points_of_bodies_are_no_outlines(tmp_path):
    picture(tmp_path / "a.png")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.2 0.4 0.1 0.1 2 0.9 0.9 2\n")
    write(tmp_path / "data.yaml", "names: [person]\nkpt_shape: [2, 3]\n")
    cell = made(tmp_path)[0]["boxes"]["a.png"]
    assert json.loads(cell) == [{"class": "person", "box": [16, 9, 24, 21]}]


def test_a_blank_line_between_class_names_is_asked_about(tmp_path):
    picture(tmp_path / "a.png")
    write(tmp_path / "a.txt", "1 0.5 0.5 1 1\n")
    write(tmp_path / "classes.txt", "car\n\nperson\n\n")
    columns, left, _ = made(tmp_path)
    assert columns == {}
    assert left == {
        "1 boxes of YOLO files": "line 2 of classes.txt is blank: is class 1 without a name, or 'person'? Write a name "
        "there, or take the line out"
    }


def coco(root, *annotations):
    picture(root / "a/1.png")
    picture(root / "b/1.png")
    entries = [{"id": at, "image_id": 1, "category_id": 1, **entry} for at, entry in enumerate(annotations)]
    images = [{"id": 1, "file_name": "a/1.png"}]
    document = {"images": images, "categories": [{"id": 1, "name": "car"}], "annotations": entries}
    write(root / "boxes.json", json.dumps(document))


def test_crowds_are_no_boxes_of_a_cell(tmp_path):
    coco(tmp_path, {"bbox": [1, 2, 3, 4], "iscrowd": 0}, {"bbox": [0, 0, 30, 20], "iscrowd": 1})
    columns, left, first = made(tmp_path)
    assert json.loads(columns["boxes"]["a/1.png"]) == [{"class": "car", "box": [1, 2, 4, 6]}]
    assert left == {"1 crowd(s) of boxes.json": "a cell of boxes can't say that one of them holds many things"}
    assert any(finding.what.startswith("1 boxes of 1 image(s)") for finding in first.findings)


def test_annotations_without_boxes_are_named(tmp_path):
    coco(tmp_path, {"segmentation": [[0, 0, 9, 0, 9, 9]]}, {"bbox": [1, 2, 3, 4]})
    columns, left, _ = made(tmp_path)
    assert "boxes" not in columns
    assert left["boxes.json"].startswith("1 of its 2 annotations have no 'bbox', perhaps only outlines; ")
