"""What rows carry: known answers for every form of annotation."""

import json

import pytest
from own_folder import coco_json, mask, picture, write

from ssmtl.errors import DataError
from ssmtl.manifests.divided import HowToSplit, split_manifest
from ssmtl.manifests.opened import open_manifest
from ssmtl.manifests.stamp import require_stamp
from ssmtl.manifests.traits import traits_of


@pytest.fixture
def manifest(tmp_path):
    """Return a function that writes a JSONL manifest of three images, with cells of one more column."""

    def write_one(header, *values, classes=None):
        rows = [{"image": str(picture(tmp_path / f"{place}.png").name)} for place in range(3)]
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                row[header] = value
        if classes:
            write(tmp_path / "manifest.classes.json", json.dumps({header: classes}))
        return write(tmp_path / "manifest.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    return write_one


def carried(path):
    found = traits_of(open_manifest(path))
    return dict(zip(found.names, found.carried.toarray().T.tolist(), strict=True)), found.tasks


def test_labels(manifest):
    assert carried(manifest("label:sex", "F", None, "M")) == (
        {"label:sex": [1, 0, 1], "label:sex = F": [1, 0, 0], "label:sex = M": [0, 0, 1]},
        1,
    )


def test_several_labels_of_which_none_may_apply(manifest):
    found, _ = carried(manifest("labels", ["a", "b"], [], None))
    assert found == {"labels": [1, 1, 0], "labels = a": [1, 0, 0], "labels = b": [1, 0, 0]}


def test_masks_are_read_for_their_classes(manifest, tmp_path):
    mask(tmp_path / "m0.png", (0, 2, 255))
    mask(tmp_path / "m1.png", (0, 1))
    found, _ = carried(manifest("mask", "m0.png", "m1.png", None, classes=["background", "lung", "heart"]))
    assert found["mask"] == found["mask = background"] == [1, 1, 0]
    assert found["mask = lung"] == [0, 1, 0]
    assert found["mask = heart"] == [1, 0, 0]


def test_boxes_inline_and_of_a_coco_file(manifest, tmp_path):
    coco_json(tmp_path / "c.json", {1: "1.png", 2: "2.png"}, [(2, "dog", [1, 1, 4, 4])])
    inline = [{"class": "car", "box": [0, 0, 5, 5]}, {"class": "car", "box": [1, 1, 5, 5]}]
    found, _ = carried(manifest("boxes", inline, "c.json", "c.json", classes=["car", "dog"]))
    assert found == {"boxes": [1, 1, 1], "boxes = car": [1, 0, 0], "boxes = dog": [0, 0, 1]}


def test_sources_are_traits_but_no_tasks(manifest):
    found, tasks = carried(manifest("source", "north", "south", None))
    assert found == {"source = north": [1, 0, 0], "source = south": [0, 1, 0]}
    assert tasks == 0


def test_rows_of_a_group_in_two_splits_are_refused(manifest, tmp_path):
    path = manifest("group", "p", "p", None)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["split"], rows[1]["split"] = "train", "test"
    write(path, "".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"1 problem\(s\), the first: .*group 'p' in test, but line 1 in train"):
        split_manifest(path, path, HowToSplit())
    done = split_manifest(path, path, HowToSplit(again=True))
    assert done.split[0] == done.split[1]
    require_stamp(path)
    first = json.loads(path.read_text().splitlines()[0])
    assert (first["group"], len(first["sha256"]), len(first["phash"])) == ("p", 64, 64)
