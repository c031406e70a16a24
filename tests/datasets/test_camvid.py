import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import find_objects, label

from ssmtl.datasets.camvid import CamVid
from ssmtl.errors import DataError

Write = Callable[..., Path]

DATA = Path(__file__).parents[3] / "shared" / "data" / "camvid"
NAMES = [
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
    "Void",
]
real = pytest.mark.skipif(not DATA.is_dir(), reason="the real frames are not beside this checkout")


@pytest.fixture
def camvid(tmp_path: Path, write_image: Write) -> Path:
    """Two frames of 12x16: a car in columns 4..7 of rows 6..8, void below; and one with nothing but road."""
    road = np.full((12, 16), 3, np.uint8)
    busy = road.copy()
    busy[6:9, 4:8], busy[10:] = 8, 11
    for stem, mask in (("Seq05VD_f00000", road), ("0001TP_006690", busy)):
        write_image(tmp_path / f"val/images/{stem}.jpg", np.full((12, 16, 3), 80, np.uint8))
        write_image(tmp_path / f"val/masks/{stem}.png", mask)
    images = [
        {"id": 1, "file_name": "0001TP_006690.jpg", "mask_file": "0001TP_006690.png", "width": 16, "height": 12},
        {"id": 2, "file_name": "Seq05VD_f00000.jpg", "mask_file": "Seq05VD_f00000.png", "width": 16, "height": 12},
    ]
    names = ("car", "pedestrian", "bicyclist")
    document = {
        "images": images,
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 6, 4, 3], "area": 12, "iscrowd": 0}],
        "categories": [{"id": n, "name": name, "mask_value": 7 + n} for n, name in enumerate(names, start=1)],
    }
    (tmp_path / "instances_val.json").write_text(json.dumps(document))
    (tmp_path / "classes.json").write_text(json.dumps({"names": NAMES, "ignore_index": 11, "palette": []}))
    return tmp_path


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as error:
        CamVid(root, split="val").open()
    return str(error.value)


def test_a_frame_has_a_mask_and_boxes(camvid: Path) -> None:
    reader = CamVid(camvid, split="val", canvas=(24, 32))
    table = reader.open()
    assert table.patients() == ("0001TP", "Seq05VD")
    sample = table[0]
    assert sample.name == "val/images/0001TP_006690.jpg"
    mask, boxes = sample.annotations["mask"], sample.annotations["boxes"]
    assert reader.classes("mask")[mask[13, 9]] == "Car"
    assert (mask[19, 0], mask[20, 0]) == (3, 255)
    assert reader.classes("boxes")[boxes.labels[0]] == "car"
    rows, columns = np.nonzero(mask == 8)
    assert boxes.xyxy.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] == [[8, 12, 16, 18]]
    assert len(table[1].annotations["boxes"]) == 0
    assert table.labels() is None


def test_incomplete_folders_are_refused(camvid: Path) -> None:
    (camvid / "val/masks/0001TP_006690.png").rename(camvid / "x.png")
    assert "the image 0001TP_006690.jpg has no mask in" in refusal(camvid)
    (camvid / "x.png").rename(camvid / "val/masks/0001TP_006690.png")
    (camvid / "val/images/Seq05VD_f00000.jpg").rename(camvid / "val/images/other.jpg")
    assert "Seq05VD_f00000.png annotates 'Seq05VD_f00000', but that image is missing" in refusal(camvid)
    (camvid / "val/masks/Seq05VD_f00000.png").rename(camvid / "val/masks/other.png")
    assert "instances_val.json lists the image Seq05VD_f00000.jpg, which is not in" in refusal(camvid)
    document = json.loads((camvid / "instances_val.json").read_text())
    (camvid / "instances_val.json").write_text(json.dumps({**document, "images": document["images"][:1]}))
    assert "instances_val.json doesn't list the image other.jpg" in refusal(camvid)
    (camvid / "classes.json").unlink()
    assert "classes.json can't be read as JSON" in refusal(camvid)
    with pytest.raises(DataError, match="CamVid looked for 'train/images' in"):
        CamVid(camvid).open()


@pytest.mark.parametrize("described", [{"names": NAMES[::-1], "ignore_index": 11}, {"names": NAMES}, []])
def test_other_classes_are_refused(camvid: Path, described: object) -> None:
    (camvid / "classes.json").write_text(json.dumps(described))
    assert "but CamVid has Sky, Building" in refusal(camvid)


def test_unknown_mask_values_are_refused(camvid: Path, write_image: Write) -> None:
    write_image(camvid / "val/masks/0001TP_006690.png", 12)
    with pytest.raises(DataError, match=r"0001TP_006690\.png has the unknown value 12, but only 0\.\.11 mean"):
        CamVid(camvid, split="val").open()[0]


@real
def test_the_real_frames_are_counted() -> None:
    tables = {split: CamVid(DATA, split=split).open() for split in ("train", "val", "test")}
    assert {split: len(table) for split, table in tables.items()} == {"train": 367, "val": 101, "test": 233}
    counts = {split: np.bincount(table.boxes.labels).tolist() for split, table in tables.items()}
    assert counts == {"train": [1166, 849, 185], "val": [157, 173, 201], "test": [365, 536, 71]}
    empty = {split: int((np.diff(table.boxes.starts) == 0).sum()) for split, table in tables.items()}
    assert empty == {"train": 4, "val": 0, "test": 1}
    assert all(table.annotated(kind).all() for table in tables.values() for kind in ("mask", "boxes"))
    assert set(tables["val"].patients()) == {"0016E5"}


@real
def test_the_real_boxes_are_the_components_of_the_masks() -> None:
    table = CamVid(DATA, split="test").open()
    for row in (0, 100, 232):
        sample = table[row]
        mask, boxes = sample.annotations["mask"], sample.annotations["boxes"]
        expected = set()
        for kind, value in enumerate((8, 9, 10)):
            parts, _ = label(mask == value, np.ones((3, 3)))
            for number, (y, x) in enumerate(find_objects(parts), start=1):
                if (parts == number).sum() >= 80:
                    expected.add((kind, x.start, y.start, x.stop, y.stop))
        found = {(kind, *edges) for kind, edges in zip(boxes.labels.tolist(), boxes.xyxy.tolist(), strict=True)}
        assert found == expected
        assert found
