from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from ssmtl.datasets.cityscapes import CITYSCAPES_CLASSES, THINGS, Cityscapes, instance_boxes
from ssmtl.errors import DataError

Write = Callable[..., Path]

SIZE = (16, 32)
FRAMES = ("bochum/bochum_000000_000313", "aachen/aachen_000000_000019", "aachen/aachen_000001_000019")


def write_ids(path: Path, ids: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(ids.astype(np.uint16)).save(path)
    return path


def street() -> np.ndarray:
    """A road (7) under sky (23): two cars of which a pole splits the first, a rider, groups of people, a caravan."""
    ids = np.full(SIZE, 23)
    ids[8:] = 7
    ids[6:10, 2:9] = 26000
    ids[4:12, 5] = 17
    ids[7:9, 20:22] = 26001
    ids[15, 31] = 25003
    ids[0:2, 0:2], ids[2, 2] = 24, 24  # one group: they touch at a corner
    ids[0:3, 28:30] = 24
    ids[12:14, 12:14] = 29000
    return ids


def write_frame(root: Path, split: str, frame: str, write_image: Write) -> None:
    ids = street()
    write_image(root / f"leftImg8bit/{split}/{frame}_leftImg8bit.png", np.full((*SIZE, 3), 70, np.uint8))
    kinds = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
    write_image(root / f"gtFine/{split}/{frame}_gtFine_labelIds.png", kinds)
    write_ids(root / f"gtFine/{split}/{frame}_gtFine_instanceIds.png", ids)
    (root / f"gtFine/{split}/{frame}_gtFine_polygons.json").write_text("{}")
    write_image(root / f"gtFine/{split}/{frame}_gtFine_color.png", np.zeros((*SIZE, 4), np.uint8))


@pytest.fixture
def cityscapes(tmp_path: Path, write_image: Write) -> Path:
    for frame in FRAMES:
        write_frame(tmp_path, "train", frame, write_image)
    write_frame(tmp_path, "test", "berlin/berlin_000000_000019", write_image)
    for stem in ("augsburg_000000_000000", "troisdorf_000000_000073"):
        city = stem.partition("_")[0]
        write_image(tmp_path / f"leftImg8bit/train_extra/{city}/{stem}_leftImg8bit.png", 0, SIZE)
    for number in range(30):
        name = f"leftImg8bit_sequence/train/aachen/aachen_000000_{number:06}_leftImg8bit.png"
        write_image(tmp_path / name, number, SIZE)
    return tmp_path


def refusal(reader: Cityscapes) -> str:
    with pytest.raises(DataError) as error:
        reader.open()
    return str(error.value)


def test_masks_hold_train_ids(cityscapes: Path) -> None:
    reader = Cityscapes(cityscapes, canvas=SIZE)
    mask = reader.open()[0].annotations["mask"]
    # trainIds: road 0, pole 5, sky 10, person 11, rider 12, car 13; the caravan (29) doesn't count
    places = [(15, 0), (4, 5), (0, 10), (0, 0), (15, 31), (6, 2), (12, 12)]
    assert [int(mask[place]) for place in places] == [0, 5, 10, 11, 12, 13, 255]
    assert [reader.classes("mask")[index] for index in (0, 5, 10, 11, 12, 13, 18)] == [
        "road", "pole", "sky", "person", "rider", "car", "bicycle",
    ]  # fmt: skip
    assert len(reader.classes("mask")) == 19
    assert list(CITYSCAPES_CLASSES) == sorted(CITYSCAPES_CLASSES)


def test_boxes_are_half_open_hulls_of_instances(cityscapes: Path) -> None:
    reader = Cityscapes(cityscapes, canvas=SIZE)
    boxes = reader.open()[0].annotations["boxes"]
    found = [
        (reader.classes("boxes")[kind], crowd, *edges)
        for kind, crowd, edges in zip(boxes.labels, boxes.crowd, boxes.xyxy.tolist(), strict=True)
    ]
    assert found == [
        ("rider", False, 31, 15, 32, 16),  # one pixel is one pixel wide
        ("car", False, 2, 6, 9, 10),  # both parts, beside the pole
        ("car", False, 20, 7, 22, 9),
        ("person", True, 0, 0, 3, 3),  # groups that touch at a corner are one
        ("person", True, 28, 0, 30, 3),
    ]
    assert reader.classes("boxes") == ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    assert [list(CITYSCAPES_CLASSES).index(value) for value in THINGS] == list(range(11, 19))


def test_boxes_follow_the_canvas(cityscapes: Path) -> None:
    small, full = (Cityscapes(cityscapes, canvas=canvas).open()[0].annotations["boxes"] for canvas in ((8, 16), SIZE))
    np.testing.assert_array_equal(small.xyxy * 2, full.xyxy)


def test_frames_are_sorted_and_belong_to_drives(cityscapes: Path) -> None:
    table = Cityscapes(cityscapes).open()
    assert [table.name(row) for row in range(3)] == [
        f"leftImg8bit/train/{frame}_leftImg8bit.png" for frame in (FRAMES[1], FRAMES[2], FRAMES[0])
    ]
    assert table.patients() == ("aachen_000000", "aachen_000001", "bochum_000000")
    assert table.annotated("mask").all()
    assert table.annotated("boxes").all()
    assert Cityscapes(cityscapes).canvas == (1024, 2048)


@pytest.mark.parametrize(
    ("split", "part", "count"), [("train", "extra", 2), ("train", "sequence", 29), ("test", "fine", 1)]
)
def test_other_parts_are_not_annotated(cityscapes: Path, split: str, part: str, count: int) -> None:
    reader = Cityscapes(cityscapes, split=split, part=part, canvas=SIZE)
    table = reader.open()
    assert len(table) == count
    assert not table.annotated("mask").any()
    assert not table.annotated("boxes").any()
    assert table[0].annotations == {}
    assert len(reader.classes("boxes")) == 8  # the source serves the task, unlabeled


def test_the_annotated_frame_is_no_frame_of_the_sequence(cityscapes: Path) -> None:
    table = Cityscapes(cityscapes, part="sequence", canvas=SIZE).open()
    numbers = [int(Path(table.name(row)).stem.split("_")[2]) for row in range(len(table))]
    assert numbers == [number for number in range(30) if number != 19]
    (cityscapes / "leftImg8bit/train").rename(cityscapes / "elsewhere")
    assert "looked for 'leftImg8bit/train' in" in refusal(Cityscapes(cityscapes, part="sequence"))


def test_extra_frames_are_for_training(cityscapes: Path) -> None:
    with pytest.raises(ValidationError, match="part='extra' is for training only, got split='val'"):
        Cityscapes(cityscapes, part="extra", split="val")


@pytest.mark.parametrize("what", ["labelIds", "instanceIds"])
def test_frames_and_annotations_must_match(cityscapes: Path, what: str) -> None:
    path = cityscapes / f"gtFine/train/{FRAMES[0]}_gtFine_{what}.png"
    path.rename(cityscapes / "kept.png")
    assert f"bochum_000000_000313_leftImg8bit.png has no *_gtFine_{what}.png in" in refusal(Cityscapes(cityscapes))
    (cityscapes / "kept.png").rename(path.with_name(f"bochum_000000_000314_gtFine_{what}.png"))
    assert "annotates 'bochum_000000_000314', but that image is missing" in refusal(Cityscapes(cityscapes))


def test_files_of_other_names_are_refused(cityscapes: Path) -> None:
    frame = cityscapes / f"leftImg8bit/train/{FRAMES[0]}_leftImg8bit.png"
    frame.rename(frame.with_name("bochum_313.png"))
    assert "bochum_313.png is not named like bochum_000000_000019_leftImg8bit.png" in refusal(Cityscapes(cityscapes))
    assert "looked for 'leftImg8bit/val' in" in refusal(Cityscapes(cityscapes, split="val"))
    (cityscapes / "leftImg8bit/val").mkdir()
    assert "leftImg8bit/val has no city with frames" in refusal(Cityscapes(cityscapes, split="val"))


@pytest.mark.parametrize("wrong", [35, 999, 1000, 7001, 34000, 65535])
def test_ids_of_no_class_are_refused(tmp_path: Path, wrong: int) -> None:
    ids = street()
    ids[3, 3] = wrong
    with pytest.raises(DataError, match=rf"a\.png has the id {wrong}, but labelIds of 0 to 34 and instances of 24000"):
        instance_boxes(write_ids(tmp_path / "a.png", ids))


def test_a_street_without_things_has_no_boxes(tmp_path: Path) -> None:
    found = instance_boxes(write_ids(tmp_path / "a.png", np.full(SIZE, 7)))
    assert (found.xyxy.shape, found.labels.shape, found.crowd.shape) == ((0, 4), (0,), (0,))
    assert (found.xyxy.dtype, found.labels.dtype, found.crowd.dtype) == (np.float64, np.int64, np.bool_)


def test_damaged_annotations_are_named(cityscapes: Path, write_image: Write) -> None:
    table = Cityscapes(cityscapes, canvas=SIZE).open()
    base = cityscapes / f"gtFine/train/{FRAMES[1]}_gtFine_"
    write_image(Path(f"{base}labelIds.png"), 77, SIZE)
    with pytest.raises(DataError, match=r"labelIds\.png has the unknown value 77, but only 0\.\.34, 255 mean"):
        table[0]
    write_image(Path(f"{base}labelIds.png"), 7, SIZE)
    write_ids(Path(f"{base}instanceIds.png"), np.full((8, 16), 26000))
    with pytest.raises(DataError, match=r"instanceIds\.png: it says 16x8 pixels, but the image has 32x16"):
        table[0]
    write_image(Path(f"{base}instanceIds.png"), 7, SIZE)
    with pytest.raises(DataError, match=r"instanceIds\.png has pixels of mode L, but a map of numbers was expected"):
        table[0]
