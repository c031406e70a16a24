"""Boxes whose four numbers are no corners in pixels: fractions of the sides, or a corner and a size."""

import csv
import json

import pytest
from checked import HEIGHT, WIDTH, image, only, pixels, refused, repaired_rows, save, write_manifest
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.commands.data_check import data_check
from ssmtl.errors import DataError
from ssmtl.manifests.box_doubts import Doubts, doubted
from ssmtl.manifests.check import check_manifest
from ssmtl.manifests.notations import are_fractions

CARS = {"boxes": ["car"]}


def boxes(*found):
    return json.dumps([{"class": "car", "box": list(box)} for box in found])


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a manifest of boxes, an image a cell."""

    def make(*cells):
        return write_manifest(
            tmp_path, "image boxes", [[image(tmp_path, at), cell] for at, cell in enumerate(cells)], CARS
        )

    return make


def cells(rows):
    return [cell for _, cell in rows]


def test_fractions_are_refused_and_scaled_to_the_pixels_of_their_image(write):
    path = write(boxes((0.25, 0.5, 0.75, 1), (0, 0, 0.5, 0.25)), boxes((1, 2, 9, 9)))
    file, line, what, fix, repair = only(path)
    assert (file, line, repair) == ("images/0.png", 2, "boxes")
    assert "look like fractions of the image's sides" in what
    assert f"pixels of its {WIDTH}x{HEIGHT} were expected" in what
    assert "taken for left, top, right, bottom" in fix
    assert cells(repaired_rows(path)) == [boxes((8, 12, 24, 24), (0, 0, 16, 6)), boxes((1, 2, 9, 9))]


def test_fractions_that_are_empty_as_corners_need_a_word(write):
    path = write(boxes((0.5, 0.5, 0.25, 0.5)), boxes((0.25, 0.25, 0.5, 0.5)))
    found = refused(path)
    assert [(line, repair) for _, line, _, _, repair in found] == [(2, None), (3, None)]
    assert all("--box-numbers size" in fix and "class cx cy w h" in fix for *_, fix, _ in found)
    assert cells(repaired_rows(path, box_order="size")) == [boxes((16, 12, 24, 24)), boxes((8, 6, 24, 18))]


@pytest.mark.parametrize(
    "cell", ["[{'class': 'car', 'box': [0.25, 0.5, 0.75, 1]}]", '[{"label": "car", "bbox": [0.25, 0.5, 0.5, 0.5]}]']
)
def test_fractions_in_another_notation_become_pixels_at_once(write, cell):
    assert cells(repaired_rows(write(cell))) == [boxes((8, 12, 24, 24))]


@pytest.mark.parametrize(("side", "problems"), [(2, 0), (3, 1)])
def test_an_image_of_two_pixels_may_have_boxes_of_one(tmp_path, side, problems):
    save(tmp_path, "a.png", pixels(1, (side, side)))
    path = write_manifest(tmp_path, "image boxes", [["a.png", boxes((0, 0, 1, 1))]], CARS)
    assert sum("fractions" in what for _, _, what, _, _ in refused(path)) == problems


def test_boxes_that_make_sense_only_as_corner_and_size_are_guessed(write):
    path = write(boxes((20, 12, 10, 6)), boxes((1, 2, 10, 12)))
    _, line, what, fix, repair = only(path)
    assert (line, repair) == (2, None)
    assert "has the box [20, 12, 10, 6] ('car'), which is empty as left, top, right, bottom" in what
    assert "but fits as left, top, width, height" in what
    assert "use --fix with --box-numbers size, which writes [20, 12, 30, 18] here" in fix
    assert cells(repaired_rows(path, box_order="size")) == [boxes((20, 12, 30, 18)), boxes((1, 2, 11, 14))]


def test_one_box_that_fits_as_corners_only_keeps_the_column_from_being_turned(write):
    path = write(boxes((20, 12, 10, 6)), boxes((20, 12, 30, 18)))
    _, line, _, fix, repair = only(path)
    assert (line, repair) == (2, None)
    assert fix.startswith("write [20, 12, 30, 18], if it was meant so")
    with pytest.raises(DataError, match=r"of 1 of 2 images .* only, the first in line 3; leave --box-numbers out"):
        check_manifest(path, box_order="size")


def test_who_says_corners_hears_only_that_the_box_is_empty(write):
    *_, what, _, repair = only(write(boxes((20, 12, 10, 6))), box_order="corners")
    assert repair is None
    assert "which is empty: left < right and top < bottom were expected" in what


def test_the_command_turns_sizes_once(write, capsys):
    path = write(boxes((20, 12, 10, 6)), boxes((1, 2, 10, 12)))
    fixed = path.with_name("fixed.csv")
    assert data_check(path, fix=fixed, box_numbers="size") == 0
    assert "passed its check: 2 images" in capsys.readouterr().out
    with fixed.open(encoding="utf-8", newline="") as stream:
        assert [row["boxes"] for row in csv.DictReader(stream)] == [boxes((20, 12, 30, 18)), boxes((1, 2, 11, 14))]


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        ("none", "empty the cell if nobody looked"),
        ("labels/x.txt", "`ssmtl data init` does it for folders of YOLO"),
        ("x.XML", "`ssmtl data init` does it for folders of YOLO"),
    ],
)
def test_a_cell_that_is_neither_boxes_nor_a_file_of_them(write, cell, advice):
    *_, what, fix, repair = only(write(cell))
    assert repair is None
    assert what.startswith(f"has '{cell}' for boxes, but a JSON list, [] for nothing there, or a COCO file")
    assert advice in fix
    assert "Expecting value" not in what + fix


side = st.floats(0, 1)


@given(st.lists(st.tuples(side, side, side, side), min_size=1), st.integers(3, 5000), st.integers(1, 5000))
def test_boxes_within_0_and_1_are_fractions_of_all_but_tiny_images(found, height, width):
    assert are_fractions(found, (height, width))
    assert not are_fractions([*found, (0, 0, 1.5, 1)], (height, width))
    assert not are_fractions(found, (2, 2))
    assert not are_fractions([], (height, width))


def test_boxes_of_images_of_unknown_size_are_not_doubted_but_turned_where_that_is_told():
    assert not doubted((("car", (9, 9, 3, 3)),), (0, 0))
    doubts = Doubts("size")
    doubts.add(0, (("car", (9, 9, 3, 4)),), (0, 0))
    assert [verdict.text for verdict in doubts.verdicts()] == [boxes((9, 9, 12, 13))]
