"""Bad cells, rows that contradict each other, and what may not cross a split: all named at once."""

import json

import numpy as np
import pytest
from checked import HEIGHT, WIDTH, image, only, pixels, refused, repaired_rows, save, warned, write_manifest
from PIL import Image

from ssmtl.errors import DataError
from ssmtl.manifests.check import check_manifest
from ssmtl.manifests.columns import column_of
from ssmtl.manifests.notations import corners, recognize
from ssmtl.manifests.repairs import fix_manifest
from ssmtl.manifests.spelling import respelled, spelled_alike
from ssmtl.manifests.stamp import stamp_path

CARS = {"boxes": ["car", "tram"]}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a manifest with an image a row; rows name only what follows it."""

    def make(header, rows, classes=None):
        made = [[image(tmp_path, at), *row] for at, row in enumerate(rows)]
        return write_manifest(tmp_path, f"image {header}", made, classes)

    return make


def boxes(*found):
    return json.dumps([{"class": name, "box": box} for name, *box in found])


def test_a_good_manifest_has_no_problem_and_gets_its_stamp(tmp_path, write):
    rows = [["cat", "[]", "train"], ["dog", boxes(("car", 1, 2, 9, 9)), "train"], ["dog", "", "val"], ["cat", "", ""]]
    path = write("label boxes split", rows)
    report = check_manifest(path)
    assert report.refused == ()
    assert stamp_path(path).exists()
    assert report.tallies.classes["label"] == {
        "cat": {"train": 1, "no split": 1},
        "dog": {"train": 1, "val": 1},
    }
    assert report.tallies.boxes["boxes"] == {"car": 1}
    assert report.tallies.carried == {
        ("label", "boxes"): {("train", ""): 2},
        ("label",): {("val", ""): 1, ("no split", ""): 1},
    }


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("picture label", "there is no column 'image'"),
        ("image label:age mask:age", "both claim the task 'age'"),
        ("image label label", "the column 'label' is there twice"),
        ("image lable", "is nearly 'label'"),
        ("image label:file", "a word that predictions.csv needs itself"),
    ],
)
def test_a_header_that_means_nothing_or_two_things(tmp_path, header, says):
    cells = [image(tmp_path, 1)] + ["x"] * (len(header.split()) - 1)
    found = refused(write_manifest(tmp_path, header, [cells], {}))
    assert any(says in what and line in (0, 1) for _, line, what, _, _ in found), found


def test_a_column_without_a_header(tmp_path):
    (tmp_path / "own.csv").write_text(f"image,,label\n{image(tmp_path, 1)},x,cat\n")
    assert any("column 2 has no header" in what for _, _, what, _, _ in refused(tmp_path / "own.csv"))


def test_blanks_and_capitals_in_headers_are_repaired(tmp_path):
    (tmp_path / "own.csv").write_text(f"Image, label \n{image(tmp_path, 1)},cat\n")
    found = refused(tmp_path / "own.csv")
    assert {repair for _, _, what, _, repair in found if "is nearly" in what} == {"header"}
    repaired_rows(tmp_path / "own.csv")
    assert (tmp_path / "fixed.csv").read_text().startswith("image,label\n")


def test_an_unknown_class_names_the_nearest(write):
    path = write("label", [["pneumonia"], ["pnuemonia"]], {"label": ["normal", "pneumonia"]})
    file, line, what, fix, repair = only(path)
    assert (file, line, repair) == ("own.csv", 3, None)
    assert "the class 'pnuemonia' in 'label'" in what
    assert "did you mean 'pneumonia'?" in fix
    assert not stamp_path(path).exists()


@pytest.mark.parametrize(
    ("form", "cell", "repaired"),
    [
        ("label", " Car", "car"),
        ("labels", "CAR|tram ", '["car", "tram"]'),
        ("boxes", boxes(("Car", 1, 2, 9, 9)), boxes(("car", 1, 2, 9, 9))),
    ],
)
def test_blanks_and_capitals_in_class_names_are_repaired(write, form, cell, repaired):
    path = write(form, [[cell]], {form: ["car", "tram"]})
    assert all(repair == "class name" for *_, repair in refused(path))
    assert repaired_rows(path)[0][1] == repaired


def test_without_a_classes_file_the_usual_spelling_wins(write):
    path = write("label", [["cat"], ["Cat "], ["cat"], ["dog"]])
    _, line, what, fix, repair = only(path)
    assert (line, repair) == (3, "class name")
    assert "has the class 'Cat ' in 'label', spelled 'cat' elsewhere" in what
    assert "write 'cat'" in fix
    assert [row[1] for row in repaired_rows(path)] == ["cat", "cat", "cat", "dog"]


def test_two_classes_of_one_spelling_are_never_joined(write):
    path = write("label", [["CAR LEFT"]], {"label": ["car left", "car  left"]})
    assert only(path)[4] is None


def test_spellings():
    assert spelled_alike({"a": 1, "A": 3, " b": 1, "c": 1}) == {"a": "A", " b": "b"}
    assert respelled(column_of("labels"), "a|A|c", {"a": "A"}) == '["A", "c"]'


@pytest.mark.parametrize(
    ("cell", "name", "repaired"),
    [
        ("[10, 20, 31, 22]", "a Python list", boxes(("car", 10, 20, 31, 22))),
        (
            "[(10, 20, 31, 22), (1, 2, 30.5, 4)]",
            "a Python list",
            boxes(("car", 10, 20, 31, 22), ("car", 1, 2, 30.5, 4)),
        ),
        ("10 20 31 22", "bare numbers", boxes(("car", 10, 20, 31, 22))),
        ("10,20,31,22;1,2,30,4", "bare numbers", boxes(("car", 10, 20, 31, 22), ("car", 1, 2, 30, 4))),
        ("10,5 20 31 22,5", "bare numbers with decimal commas", boxes(("car", 10.5, 20, 31, 22.5))),
        ("0 0.5 0.5 0.25 0.5", "YOLO lines, class cx cy w h", boxes(("car", 12, 6, 20, 18))),
        ("car 0.5 0.5 0.25 0.5\ncar .5 .5 1 1", "YOLO lines", boxes(("car", 12, 6, 20, 18), ("car", 0, 0, 32, 24))),
        ('[{"category": "car", "bbox": [1, 2, 3, 4]}]', "COCO entries", boxes(("car", 1, 2, 4, 6))),
        ("[{'class': 'car', 'box': [1, 2, 3, 4]}]", "a Python list of dictionaries", boxes(("car", 1, 2, 3, 4))),
    ],
)
def test_boxes_in_another_notation_are_named_and_turned(write, cell, name, repaired):
    path = write("boxes", [[cell]], {"boxes": ["car"]})
    file, line, what, fix, repair = only(path)
    assert (file, line, repair) == ("images/0.png", 2, "boxes")
    assert f"has boxes in another notation ({name}" in what
    assert "write them as JSON" in fix
    assert repaired_rows(path)[0][1] == repaired


def test_numbers_that_may_be_corners_or_sizes_need_a_word(write):
    path = write("boxes", [["1 2 10 12"], ["3 4 8 9"]], {"boxes": ["car"]})
    for _, _, _, fix, repair in refused(path):
        assert repair is None
        assert "--box-numbers corners or --box-numbers size, for the 2 boxes of the column fit their images both" in fix
    assert repaired_rows(path, box_order="size")[0][1] == boxes(("car", 1, 2, 11, 14))


def test_one_box_decides_for_all_of_its_column(write):
    path = write("boxes", [["10 2 10 12"], ["3 4 8 9"]], {"boxes": ["car"]})
    assert "left, top, width, height" in refused(path)[0][3]
    assert repaired_rows(path)[1][1] == boxes(("car", 3, 4, 11, 13))


@pytest.mark.parametrize(
    ("cell", "classes", "fix"),
    [
        ("[10, 20, 31, 22]", CARS, "write them as JSON, with their classes"),
        ("2 0.5 0.5 0.25 0.5", CARS, "so that number 2 is one of them"),
        ("1 0.5 0.5 0.25 0.5", None, "so that number 1 is one of them"),
        ("cra 0.5 0.5 0.25 0.5", CARS, "did you mean 'car'?"),
        ('[{"category_id": 1, "bbox": [1, 2, 3, 4]}]', CARS, "number 1"),
    ],
)
def test_boxes_of_an_unknown_class_are_not_guessed(write, cell, classes, fix):
    _, _, _, advice, repair = only(write("boxes", [[cell]], classes))
    assert repair is None
    assert fix in advice


@pytest.mark.parametrize(
    "cell",
    [
        "0.1 0.2 0.3 0.4",
        "1 2 3",
        "10 20 30 40 50",
        "somewhere",
        "{}",
        "[1, 2]",
        "[[1, 2, 3, 4], [1]]",
        "((((",
        "[" * 9999,
    ],
)
def test_what_nobody_understands_is_no_notation(cell):
    assert recognize(cell) is None


def test_fractions_become_pixels():
    assert corners((0.5, 0.25, 0.5, 0.5), "yolo", None, (100, 200)) == (50, 0, 150, 50)
    assert corners((1, 2, 3, 4), "numbers", None, (100, 200)) is None


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (boxes(("car", 31, 2, 31, 9)), "has the box [31, 2, 31, 9] ('car'), which is empty: left < right"),
        (boxes(("car", WIDTH, 2, WIDTH + 9, 9)), f"lies outside of its image of {WIDTH}x{HEIGHT} pixels"),
        ('[{"class": "car", "box": [1, 2, NaN, 9]}]', "four finite numbers were expected"),
        ('[{"class": "car", "box": [1, 2, 3]}]', "four finite numbers were expected"),
        ('[{"class": "car", "box": [1, 2, 3, 4]', "can't be read as JSON"),
    ],
)
def test_boxes_that_are_none(write, cell, what):
    file, line, said, _, repair = only(write("boxes", [[cell]], CARS))
    assert (file, line, repair) == ("images/0.png", 2, None)
    assert what in said


def test_a_box_that_sticks_out_is_only_odd(write):
    path = write("boxes", [[boxes(("car", 1, 2, WIDTH + 9, 9))]], {"boxes": ["car"]})
    assert refused(path) == []
    assert "sticks out of its image" in warned(path)[0][2] or "sticks out of its image" in warned(path)[1][2]


def coco(path, name, box, categories=("car", "tram"), size=(HEIGHT, WIDTH)):
    document = {
        "images": [{"id": 1, "file_name": name, "height": size[0], "width": size[1]}],
        "categories": [{"id": at, "name": each} for at, each in enumerate(categories)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 0, "bbox": box}],
    }
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"name": "1.png", "box": [1, 2, 3, 4]}, "doesn't list the image 0.png"),
        ({"name": "0.png", "box": [1, 2, 0, 4]}, "must be above 0"),
        ({"name": "0.png", "box": [0.25, 0.5, 0.25, 0.25]}, "look like fractions of its sides"),
        ({"name": "0.png", "box": [1, 2, 3, 4], "categories": ("bus",)}, "has the category 'bus'"),
        ({"name": "0.png", "box": [1, 2, 3, 4], "size": (9, 9)}, "says that 0.png has 9x9 pixels"),
    ],
)
def test_a_coco_file_that_does_not_fit(tmp_path, write, entry, what):
    coco(tmp_path / "boxes.json", **entry)
    file, line, said, _, _ = only(write("boxes", [["boxes.json"]], CARS))
    assert (file, line) == ("boxes.json", 2)
    assert what in said


def test_a_coco_file_that_fits_and_one_that_is_missing(tmp_path, write):
    coco(tmp_path / "boxes.json", "0.png", [1, 2, 3, 4])
    path = write("boxes", [["boxes.json"], ["none.json"], ["none.json"]], CARS)
    assert only(path)[:3] == ("none.json", 3, "is missing")
    assert check_manifest(path).tallies.boxes["boxes"] == {"car": 1}


def test_identical_rows_are_one_too_many(tmp_path):
    row = [image(tmp_path, 1), "cat"]
    path = write_manifest(tmp_path, "image label", [row, [image(tmp_path, 2), "cat"], row])
    file, line, what, _, repair = only(path)
    assert (file, line, what, repair) == ("own.csv", 4, "is the same as line 2, cell for cell", "duplicate")
    assert len(repaired_rows(path)) == 2


@pytest.mark.parametrize("again", ["images/1.png", "./images/../images/1.png"])
def test_an_image_listed_twice_with_different_labels(tmp_path, again):
    path = write_manifest(tmp_path, "image label", [[image(tmp_path, 1), "cat"], [again, "dog"]])
    file, line, what, fix, repair = only(path)
    assert (file, line, repair) == (again, 3, None)
    assert what == "lists an image that line 2 lists too, with different cells (label)"
    assert "decide which is right" in fix


def test_the_same_bytes_twice_in_a_split_are_odd(tmp_path):
    path = write_manifest(tmp_path, "image split", [[image(tmp_path, 1, name), "train"] for name in ("a.png", "b.png")])
    assert warned(path) == [
        (
            "b.png",
            3,
            "is byte by byte the image of line 2",
            "it counts double in training: take one out, unless both names are meant.",
        ),
    ]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "is in test, and is the same file as the image of line 2 in train"),
        ({"quality": 90}, "is in test, and shows the same picture as the image of line 2 in train"),
    ],
)
def test_a_test_image_in_training(tmp_path, options, what):
    large = np.asarray(Image.fromarray(pixels(1)).resize((320, 240), Image.Resampling.BICUBIC))
    first, second = (save(tmp_path, f"{name}.jpg", large, **more) for name, more in (("a", {}), ("b", options)))
    path = write_manifest(tmp_path, "image split", [[first, "train"], [second, "test"]])
    file, line, said, fix, _ = only(path)
    assert (file, line, said) == (second, 3, what)
    assert "`ssmtl data split FILE --again`" in fix


def test_a_group_must_not_cross_splits(write):
    path = write("group split", [["p1", "train"], ["p2", "val"], ["p1", ""], ["p1", "test"], ["p1", "test"]])
    _, line, what, _, _ = only(path)
    assert (line, what) == (5, "has the group 'p1' in test, but line 2 in train")


@pytest.mark.parametrize(("word", "meant"), [("Train", "train"), ("validation", "val"), ("testing ", "test")])
def test_a_split_by_another_word(write, word, meant):
    path = write("split", [[word]])
    _, line, what, fix, repair = only(path)
    assert (line, repair) == (2, "split word")
    assert f"has '{word}' for its split, but train, val, test or nothing was expected" in what
    assert fix == f"write '{meant}'."
    assert repaired_rows(path)[0][1] == meant


def test_an_unknown_split_names_the_nearest(write):
    assert "did you mean 'train'?" in only(write("split", [["trian"]]))[3]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"label": ["cat"', "can't be read as JSON at line 1, column 17"),
        ('{"label":\n ["cat",]}', "can't be read as JSON at line 2, column "),
        ('{"label": "cat"}', "a list of different names was expected"),
        ('{"lable": ["cat"]}', "no annotation of own.csv; did you mean 'label'?"),
    ],
)
def test_a_damaged_classes_file(tmp_path, write, text, what):
    path = write("label", [["cat"], ["cat"]])
    (tmp_path / "own.classes.json").write_text(text)
    file, line, said, fix, _ = only(path)
    assert (file, line) == ("own.classes.json", 0)
    assert what in f"{said}; {fix}"
    assert "fetch it again" not in fix


def test_masks_need_names(tmp_path, write):
    assert "doesn't say what the pixel values of 'mask' mean" in refused(write("mask", [[""]]))[0][2]


def test_rare_classes_and_other_columns_are_only_warned_of(write):
    path = write("label note", [["cat", "x"], ["cat", ""]], {"label": ["cat", "dog"]})
    assert [what for _, _, what, _ in warned(path)] == [
        "the column 'note' is ignored",
        "has 0 images of the class 'dog' in 'label'",
    ]
    assert refused(path) == []


def test_all_problems_are_found_at_once_and_nothing_is_dropped(tmp_path, write):
    path = write("label split", [["cat", "train"], ["cta", "tarin"], ["dog", "Test"]], {"label": ["cat", "dog"]})
    with path.open("a") as stream:
        stream.write("none.png,cat,train\n")
    assert len(refused(path)) == 4
    fix_manifest(check_manifest(path), tmp_path / "fixed.csv")
    assert [line for _, line, *_ in refused(tmp_path / "fixed.csv")] == [3, 3, 5]


def test_a_refusal_takes_the_stamp_of_an_earlier_check_away(tmp_path, write):
    path = write("label", [["cat"], ["cat"]])
    check_manifest(path)
    assert stamp_path(path).exists()
    (tmp_path / "images/1.png").unlink()
    assert only(path)[2] == "is missing"
    assert not stamp_path(path).exists()


@pytest.mark.parametrize("out", ["own.csv", "other/fixed.csv", "fixed.parquet"])
def test_repairs_go_to_a_new_csv_file_beside_the_manifest(tmp_path, write, out):
    path = write("split", [["Train"]])
    before = path.read_bytes()
    with pytest.raises(DataError, match="--fix"):
        fix_manifest(check_manifest(path), tmp_path / out)
    assert path.read_bytes() == before
