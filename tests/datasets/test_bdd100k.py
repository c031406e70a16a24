import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssmtl.datasets.bdd100k import BDD100K, PUBLISHED, coverage
from ssmtl.errors import DataError

Write = Callable[..., Path]

SIZE = (18, 32)
DET = "labels/det_20/det_train.json"


def box(category: str, *sides: float) -> dict[str, Any]:
    return {"id": "1", "category": category, "box2d": dict(zip(("x1", "y1", "x2", "y2"), sides, strict=True))}


@pytest.fixture
def bdd(tmp_path: Path, write_image: Write) -> Path:
    """100K: a, b, c for training (c without a frame), v to validate; 10K: b, m, and v, which is validated on."""
    folders = {"100k/train": "abc", "100k/val": "v", "10k/train": "bmv", "10k/val": "w", "100k/test": "t"}
    for folder, names in folders.items():
        for name in names:
            write_image(tmp_path / f"images/{folder}/{name}.jpg", 90, SIZE)
    mask = np.full(SIZE, 13, np.uint8)
    mask[:9], mask[9] = 10, 255
    for name in "bmv":
        write_image(tmp_path / f"labels/sem_seg/masks/train/{name}.png", mask)
    write_image(tmp_path / "labels/sem_seg/masks/val/w.png", mask)
    lane = {"id": "9", "category": "lane", "poly2d": [{"vertices": [[0, 0]], "types": "L"}]}
    frames = [
        {"name": "b.jpg", "attributes": {}, "labels": [box("car", 4, 3.5, 11, 8.5), box("other person", 0, 0, 1, 1)]},
        {"name": "a.jpg", "attributes": {}, "labels": None},
    ]
    validation = [{"name": "v.jpg", "labels": [box("traffic sign", 31, 17, 31, 17), lane]}]
    (tmp_path / "labels/det_20").mkdir()
    (tmp_path / DET).write_text(json.dumps(frames))
    (tmp_path / "labels/det_20/det_val.json").write_text(json.dumps(validation))
    return tmp_path


def refusal(reader: BDD100K) -> str:
    with pytest.raises(DataError) as error:
        reader.open()
    return str(error.value)


def test_both_parts_are_merged_by_name(bdd: Path) -> None:
    table = BDD100K(bdd).open()
    names = [table.name(row) for row in range(len(table))]
    # b comes from the part with boxes, m has a mask only, v is removed because it is validated on
    assert names == [f"images/100k/train/{name}.jpg" for name in "abc"] + ["images/10k/train/m.jpg"]
    assert table.annotated("boxes").tolist() == [True, True, False, False]
    assert table.annotated("mask").tolist() == [False, True, False, True]
    assert [set(table[row].annotations) for row in range(4)] == [{"boxes"}, {"boxes", "mask"}, set(), {"mask"}]
    assert coverage(table) == {"images": 4, "boxes": 2, "masks": 2, "both": 1, "neither": 1}


def test_boxes_include_their_last_pixel(bdd: Path) -> None:
    reader = BDD100K(bdd, canvas=(36, 64))
    boxes = reader.open()[1].annotations["boxes"]
    assert boxes.xyxy.tolist() == [[8, 7, 24, 19]]  # twice (4, 3.5) to (11 + 1, 8.5 + 1)
    assert [reader.classes("boxes")[label] for label in boxes.labels] == ["car"]
    assert len(reader.open()[0].annotations["boxes"]) == 0
    corner = BDD100K(bdd, split="val", part="100k", canvas=SIZE).open()[0].annotations["boxes"]
    assert corner.xyxy.tolist() == [[31, 17, 32, 18]]
    assert len(reader.classes("boxes")) == 10


def test_masks_hold_train_ids(bdd: Path) -> None:
    reader = BDD100K(bdd, canvas=SIZE)
    mask = reader.open()[1].annotations["mask"]
    assert mask[[0, 9, 17], 0].tolist() == [10, 255, 13]
    assert (reader.classes("mask")[10], reader.classes("mask")[13]) == ("sky", "car")


def test_the_validation_images_are_measured_on_their_own(bdd: Path) -> None:
    boxes, masks, both = (BDD100K(bdd, split="val", part=part).open() for part in ("100k", "10k", "merged"))
    assert [boxes.name(0), masks.name(0)] == ["images/100k/val/v.jpg", "images/10k/val/w.jpg"]
    assert (boxes.annotated("mask").any(), masks.annotated("boxes").any()) == (False, False)
    assert coverage(both) == {"images": 2, "boxes": 1, "masks": 1, "both": 0, "neither": 0}
    assert BDD100K(bdd, split="test", part="100k").open()[0].annotations == {}


def test_counts_are_compared_with_the_published_ones(
    bdd: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.WARNING, "ssmtl.datasets.bdd100k"):
        BDD100K(bdd).open()
    assert "images 4 (published: 73,570), boxes 2 (published: 69,853), masks 2 (published: 6,546)" in caplog.text
    assert "both 1 (published: 2,972), neither 1 (published: 143), removed 1 (published: 454)" in caplog.text
    caplog.clear()
    true = {"images": 4, "boxes": 2, "masks": 2, "both": 1, "neither": 1, "removed": 1}
    monkeypatch.setattr("ssmtl.datasets.bdd100k.PUBLISHED", {"train": true})
    BDD100K(bdd).open()
    BDD100K(bdd, part="10k").open()
    assert not caplog.records


def test_the_published_counts_agree_with_themselves() -> None:
    train = PUBLISHED["train"]
    assert train["boxes"] + train["masks"] - train["both"] == train["images"] - train["neither"] == 73_427
    assert 7_000 - train["removed"] == train["masks"]


def test_the_older_masks_will_do(bdd: Path) -> None:
    folder = bdd / "seg/labels/train"
    folder.mkdir(parents=True)
    for path in (bdd / "labels/sem_seg/masks/train").iterdir():
        path.rename(folder / f"{path.stem}_train_id.png")
    (bdd / "labels/sem_seg/masks/train").rmdir()
    assert BDD100K(bdd, canvas=SIZE).open()[1].annotations["mask"][0, 0] == 10


def test_the_merged_set_needs_to_know_the_validation_images(bdd: Path) -> None:
    (bdd / "images/100k/val").rename(bdd / "elsewhere")
    assert "BDD100K looked for 'images/100k/val' in" in refusal(BDD100K(bdd))


def test_masks_and_images_must_match(bdd: Path, write_image: Write) -> None:
    mask = bdd / "labels/sem_seg/masks/train/m.png"
    mask.rename(mask.with_name("n.png"))
    assert "n.png annotates 'n', but that image is missing" in refusal(BDD100K(bdd))
    mask.with_name("n.png").unlink()
    assert "the image images/10k/train/m.jpg has no mask in" in refusal(BDD100K(bdd))
    write_image(mask, 19, SIZE)
    with pytest.raises(DataError, match=r"m\.png has the unknown value 19, but only 0\.\.18, 255 mean something"):
        BDD100K(bdd).open()[3]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"name": "b.jpg"}, "lists the image b.jpg twice"),
        ({"name": "z.jpg"}, "lists the image z.jpg, which is not in"),
        ({"name": "../a.jpg"}, "frame 2, has '../a.jpg' for a file name"),
        ({"labels": []}, "frame 2, has 'None' for a file name"),
        ({"name": "c.jpg", "labels": "x"}, "has no list of labels of c.jpg"),
        ({"name": "c.jpg", "labels": [box("person", 0, 0, 1, 1)]}, "image c.jpg, label 0, has the category 'person'"),
        ({"name": "c.jpg", "labels": [{"box2d": {}}]}, "image c.jpg, label 0, has no 'category'"),
        (
            {"name": "c.jpg", "labels": [{"category": "car", "box2d": {"x1": 1}}]},
            "image c.jpg, label 0, has [1, None, None, No",
        ),
        (
            {"name": "c.jpg", "labels": [box("car", 1, 1, 2, 2), box("car", 5, 0, 2, 1)]},
            "image c.jpg, label 1, has the box [5, 0, 2, 1], but x2 and y2 name its last pixel, which can't come before"
            " its first; exchange them, or take it out.",
        ),
        ({"name": "c.jpg", "labels": [box("car", 10, 2, 9.5, 5)]}, "label 0, has the box [10, 2, 9.5, 5], but x2 and"),
        ({"name": "c.jpg", "labels": [box("car", 2, 10, 5, 9.5)]}, "label 0, has the box [2, 10, 5, 9.5], but x2 and"),
        (
            {"name": "c.jpg", "labels": [box("car", -5, 2, -0.5, 5)]},
            "label 0, has the box [-5, 2, -0.5, 5], which lies outside its image; give x1, y1, x2 and y2 in pixels of t"
            "hat image, or take it out.",
        ),
        ({"name": "c.jpg", "labels": [box("car", 2, -5, 5, -0.5)]}, "has the box [2, -5, 5, -0.5], which lies outside"),
        (
            {"name": "c.jpg", "labels": [box("car", 0, 0, float("nan"), 1)]},
            "label 0, has [0, 0, nan, 1] for its 'box2d",
        ),
        (
            {"name": "c.jpg", "labels": [box("car", 0, 0, 10**399, 1)]},
            "for its 'box2d', but four finite numbers were e",
        ),
        *(
            ({"name": "c.jpg", "labels": none}, "has no list of labels of c.jpg, each with its fields")
            for none in ({}, "", 0, False)
        ),
    ],
)
def test_wrong_frames_are_refused_with_file_and_item(bdd: Path, frame: dict[str, Any], expected: str) -> None:
    (bdd / DET).write_text(json.dumps([*json.loads((bdd / DET).read_text()), frame]))
    message = refusal(BDD100K(bdd))
    assert message.startswith(str(bdd / DET))
    assert expected in message


def test_a_box_outside_its_image_is_refused_when_the_image_is_known(bdd: Path) -> None:
    frames = [{"name": "a.jpg", "labels": [box("car", 32, 0, 40, 5)]}, {"name": "b.jpg"}]
    (bdd / DET).write_text(json.dumps(frames))
    table = BDD100K(bdd).open()
    with pytest.raises(DataError) as error:
        table[0]
    assert str(error.value).startswith(
        f"{bdd / DET}, image images/100k/train/a.jpg: box 0 of 1 is [32.0, 0.0, 41.0, 6.0] (x1, y1, x2 + 1, y2 + 1), "
        "expected boxes that touch their image of 18 x 32"
    )
    assert len(table[1].annotations["boxes"]) == 0  # a frame without labels shows nothing


def test_a_file_that_is_cut_off_is_refused(bdd: Path) -> None:
    (bdd / DET).write_text((bdd / DET).read_text()[:-30])
    assert "det_train.json can't be read as JSON" in refusal(BDD100K(bdd))
