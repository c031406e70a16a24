"""Tables that lose something when they are taken carelessly: lists, backups, empty rows, classes without an example."""

import csv
import json

import fsspec
import pytest
from checked import image, only, refused, repaired_rows, warned, write_manifest, write_rows

from ssmtl.commands.recipes import load_recipe, shipped_recipes
from ssmtl.datasets.manifest import Manifest
from ssmtl.errors import DataError
from ssmtl.loader import open_sources
from ssmtl.manifests.check import check_manifest
from ssmtl.manifests.divided import HowToSplit, split_manifest
from ssmtl.manifests.opened import named_classes
from ssmtl.manifests.repairs import fix_manifest
from ssmtl_tasks.own_data import own_data


def test_jsonl_keeps_lists_numbers_and_order(tmp_path):
    boxes = [{"class": "car", "box": [1, 2, 9, 9]}]
    before = [
        {"boxes": boxes, "image": image(tmp_path, at), "labels": ["a", "b"][: at % 3], "age": 3.5, "split": "train"}
        for at in range(6)
    ]
    before[0]["note"] = None
    path = tmp_path / "own.jsonl"
    path.write_text("\n\n".join(map(json.dumps, before)))
    path.write_text(path.read_text().replace("\n\n", "\n"))
    split_manifest(path, path, HowToSplit())
    after = [json.loads(line) for line in path.read_text().splitlines()]
    for old, new in zip(before, after, strict=True):
        assert {name: new[name] for name in ("boxes", "image", "labels", "age", "split")} == {
            name: old[name] for name in ("boxes", "image", "labels", "age", "split")
        }
        assert list(new)[:3] == ["boxes", "image", "labels"]
        assert len(new["sha256"]) == len(new["phash"]) == 64
    assert refused(path) == []


def test_an_older_backup_stays(tmp_path):
    path = write_rows(
        tmp_path / "own.csv", ["image", "label"], [[image(tmp_path, at), "ab"[at % 2]] for at in range(8)]
    )
    first = path.read_bytes()
    assert split_manifest(path, path, HowToSplit()).backup == tmp_path / "own.csv.bak"
    second = path.read_bytes()
    assert split_manifest(path, path, HowToSplit(again=True, seed=3)).backup == tmp_path / "own.csv.bak2"
    assert (tmp_path / "own.csv.bak").read_bytes() == first
    assert (tmp_path / "own.csv.bak2").read_bytes() == second


def test_commas_that_may_be_either_are_refused_with_both_readings(tmp_path):
    path = write_manifest(tmp_path, "image boxes", [[image(tmp_path, 1), "1,2 10,12 3,4 11,13"]], {"boxes": ["car"]})
    _, line, what, _, repair = only(path)
    assert (line, repair) == (2, None)
    assert (
        "1 box(es) with decimal commas, the first 1.2 10.12 3.4 11.13, or 2 of whole numbers, the first 1 2 10 12"
        in what
    )


def test_decimal_commas_without_a_second_reading_are_turned(tmp_path):
    path = write_manifest(tmp_path, "image boxes", [[image(tmp_path, 1), "10,5;2;31;22,5"]], {"boxes": ["car"]})
    assert json.loads(repaired_rows(path)[0][1])[0]["box"] == [10.5, 2, 31, 22.5]


def test_empty_rows_of_excel_and_spare_columns_are_taken_out(tmp_path):
    rows = [["0", image(tmp_path, 1), "a", ""], ["1", image(tmp_path, 2), "a", ""], ["", "", "", ""], ["", "", "", ""]]
    path = write_rows(tmp_path / "own.csv", ["", "image", "label", ""], rows)
    with path.open("a") as stream:
        stream.write(",,\n")
    assert [(line, what, repair) for _, line, what, _, repair in refused(path)] == [
        (1, "column 1 has no header", "spare column"),
        (1, "column 4 has no header", "spare column"),
        (4, "is a row of empty cells", "empty row"),
        (5, "is a row of empty cells", "empty row"),
        (6, "is a row of empty cells", "empty row"),
    ]
    assert repaired_rows(path) == [["images/1.png", "a"], ["images/2.png", "a"]]
    with (tmp_path / "fixed.fixes.csv").open(newline="") as stream:
        written = [(row["line"], row["column"], row["repair"], row["how"]) for row in csv.DictReader(stream)]
    assert written == [
        ("1", "column 1", "spare column", "left out"),
        ("1", "column 4", "spare column", "left out"),
        *((str(line), "", "empty row", "left out") for line in (4, 5, 6)),
    ]


def test_a_column_without_a_header_that_says_something_stays(tmp_path):
    path = write_rows(tmp_path / "own.csv", ["image", "label", ""], [[image(tmp_path, 1), "a", "x"]])
    assert [(what, repair) for _, _, what, _, repair in refused(path)] == [("column 3 has no header", None)]
    fix_manifest(check_manifest(path), tmp_path / "fixed.csv")
    assert (tmp_path / "fixed.csv").read_text().splitlines() == ["image,label,", "images/1.png,a,x"]


def test_a_class_that_is_only_tested_is_warned_of_and_trains(tmp_path):
    places = ("train", "train", "train", "train", "val", "val", "test")
    rows = [
        [image(tmp_path, at), label, split] for at, (label, split) in enumerate(zip("ababccc", places, strict=True))
    ]
    path = write_manifest(tmp_path, "image label split", rows)
    assert refused(path) == []
    (_, _, what, fix), *_ = warned(path)
    assert what == "has the class 'c' in 'label' only in val (2) and test (1), never in train"
    assert "move one of its images to train" in fix


@pytest.fixture
def far(tmp_path, monkeypatch):
    """A manifest whose boxes lie in a COCO file behind a protocol, without a classes file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    document = {
        "images": [{"id": at, "file_name": f"{at}.png"} for at in range(4)],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": at, "image_id": at, "category_id": 1, "bbox": [1, 1, 5, 5]} for at in range(4)],
    }
    with fsspec.open("memory://doubt/c.json", "w") as stream:
        json.dump(document, stream)
    rows = [[image(tmp_path, at), "memory://doubt/c.json", "train"] for at in range(4)]
    return write_manifest(tmp_path, "image boxes split", rows)


def test_classes_of_a_remote_coco_file_are_found(far):
    assert refused(far, remote=True) == []
    assert dict(named_classes(far, remote=True)) == {"boxes": ("car",)}
    reader = Manifest.of(far, remote=True, canvas=(32, 32))
    assert reader.classes("boxes") == ("car",)
    with pytest.raises(DataError, match=r"'memory://doubt/c\.json' lies behind a protocol, .* allow it with --remote"):
        named_classes(far)


def test_own_data_is_read_from_where_its_check_allowed(far):
    check_manifest(far, remote=True)
    own = own_data(far, 16, remote=True)
    assert len(own.train.open()[0].annotations["boxes"].labels) == 1
    with pytest.raises(DataError, match="nothing is fetched unasked"):
        own_data(far, 16)


def test_own_data_outside_of_the_folder(tmp_path):
    (tmp_path / "own").mkdir()
    rows = [[f"../{image(tmp_path, at)}", "ab"[at % 2], "train"] for at in range(4)]
    path = write_rows(tmp_path / "own/own.csv", ["image", "label", "split"], rows)
    assert refused(path, allow_outside=True) == []
    assert own_data(path, 16, allow_outside=True).train.open()[0].image.shape == (3, 16, 16)
    with pytest.raises(DataError, match="leads out of"):
        own_data(path, 16).train.open()[0]


def test_a_column_that_only_others_than_train_have_is_unlearned(tmp_path):
    rows = [[image(tmp_path, at), "ab"[at % 2], "", "train"] for at in range(4)]
    rows += [[image(tmp_path, 8), "a", "x", "val"], [image(tmp_path, 9), "b", "y", "val"]]
    path = write_manifest(tmp_path, "image label label:sex split", rows)
    assert refused(path) == []
    own = own_data(path, 16)
    assert (own.kinds, own.unlearned) == ((("label", ("a", "b")),), ("label:sex",))
    says = "The column 'label:sex' is not learned: no training image has it, only images for validation or test."
    assert load_recipe(shipped_recipes()["custom"])(data=path).deviations == (says,)


def test_a_recipe_says_that_nothing_is_scored(tmp_path):
    path = write_manifest(
        tmp_path, "image label split", [[image(tmp_path, at), "ab"[at % 2], "train"] for at in range(4)]
    )
    assert refused(path) == []
    nothing, last = load_recipe(shipped_recipes()["custom"])(data=path).deviations
    assert nothing.startswith("Nothing is scored: no image is labeled for validation or test; ")
    assert last == "No image is labeled for validation: the last weights are kept."


def test_a_class_that_is_only_tested_does_not_stop_training(tmp_path):
    rows = [[image(tmp_path, at), "aabbcc"[at], ("train", "val")[at > 3]] for at in range(6)]
    path = write_manifest(tmp_path, "image label split", rows)
    assert refused(path) == []
    sources = open_sources(load_recipe(shipped_recipes()["custom"])(data=path))
    assert int(sources.coverage.visible["label"].sum()) == 4
