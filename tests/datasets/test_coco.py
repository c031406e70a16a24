import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ssmtl.datasets.base import Reader
from ssmtl.datasets.coco import COCO_CLASSES, CocoInstances
from ssmtl.errors import DataError

Write = Callable[..., Path]
Edit = Callable[[dict[str, Any]], object]

INSTANCES = "annotations/instances_train2017.json"


@pytest.fixture
def coco(tmp_path: Path, write_image: Write) -> Path:
    """COCO 2017 in small: 000001 has a car and a crowd of people, 000002 is listed without boxes, 000003 has a dog."""
    for number, size in ((1, (20, 40)), (2, (30, 30)), (3, (40, 10))):
        write_image(tmp_path / f"train2017/{number:06}.jpg", 90, size)
    outline = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    document = {
        "info": {"year": 2017},
        "images": [
            {"id": 30, "file_name": "000003.jpg", "height": 40, "width": 10},
            {"id": 10, "file_name": "000001.jpg", "height": 20, "width": 40},
            {"id": 20, "file_name": "000002.jpg", "height": 30, "width": 30},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 7, "image_id": 10, "category_id": 3, "bbox": [4, 2.5, 8, 10], "iscrowd": 0, "segmentation": outline},
            {"id": 8, "image_id": 30, "category_id": 18, "bbox": [0, 0, 10, 40], "iscrowd": 0, "segmentation": outline},
            {"id": 9, "image_id": 10, "category_id": 1, "bbox": [20, 0, 20.2, 20], "iscrowd": 1},
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / INSTANCES).write_text(json.dumps(document))
    return tmp_path


def edit(root: Path, change: Edit, place: str = INSTANCES) -> None:
    document = json.loads((root / place).read_text())
    change(document)
    (root / place).write_text(json.dumps(document))


def refusal(reader: Reader) -> str:
    with pytest.raises(DataError) as error:
        reader.open()
    return str(error.value)


def test_boxes_are_read_with_their_classes_and_crowds(coco: Path) -> None:
    reader = CocoInstances(coco, canvas=(80, 80))
    table = reader.open()
    assert [table.name(row) for row in range(3)] == [f"train2017/00000{n}.jpg" for n in (1, 2, 3)]
    assert table.annotated("boxes").all()
    assert not table.annotated("mask").any()
    sample = table[0]
    boxes = sample.annotations["boxes"]
    # 20 x 40 pixels are padded to 40 x 80, so everything doubles; the crowd sticks out by a fifth of a pixel
    assert (sample.source_size, sample.size) == ((20, 40), (40, 80))
    assert boxes.xyxy.tolist() == [[8, 5, 24, 25], [40, 0, 80, 40]]
    assert [reader.classes("boxes")[label] for label in boxes.labels] == ["car", "person"]
    assert boxes.crowd.tolist() == [False, True]
    assert sample.image[:, 39, 79].tolist() == [90, 90, 90]
    assert sample.image[:, 40:].max() == 0
    assert table[2].annotations["boxes"].xyxy.tolist() == [[0, 0, 20, 80]]


def test_an_image_without_boxes_is_not_one_without_annotation(coco: Path, write_image: Write) -> None:
    write_image(coco / "train2017/000004.jpg")
    assert refusal(CocoInstances(coco)).endswith(
        "instances_train2017.json doesn't list the image 000004.jpg, so nobody knows what it shows; add its entry, or "
        "set missing='unlabeled' in the reader."
    )
    table = CocoInstances(coco, missing="unlabeled").open()
    assert table.annotated("boxes").tolist() == [True, True, True, False]
    assert len(table[1].annotations["boxes"]) == 0
    assert table[3].annotations == {}


def test_the_unlabeled_images_need_no_file(coco: Path, write_image: Write) -> None:
    write_image(coco / "unlabeled2017/000009.jpg")
    table = CocoInstances(coco, split="unlabeled", instances=None).open()
    assert (len(table), table.annotated("boxes").any(), table[0].annotations) == (1, False, {})
    assert "instances_unlabeled2017.json can't be read as JSON" in refusal(CocoInstances(coco, split="unlabeled"))


def test_masks_of_indices_stand_beside_images(coco: Path, write_image: Write) -> None:
    mask = np.zeros((20, 40), np.uint8)
    mask[:10], mask[10:, :20] = 1, 255
    write_image(coco / "masks/train/000001.png", mask)
    reader = CocoInstances(
        coco, masks="masks/{split}", mask_names=("ground", "sky"), missing="unlabeled", canvas=(40, 40)
    )
    table = reader.open()
    assert reader.classes("mask") == ("ground", "sky")
    assert table.annotated("mask").tolist() == [True, False, False]
    # shown in the upper 20 rows of the canvas, what is below is padding
    assert table[0].annotations["mask"][[5, 15, 15, 25], [30, 10, 30, 10]].tolist() == [1, 255, 0, 255]
    assert set(table[1].annotations) == {"boxes"}
    assert "000002.jpg has no mask in" in refusal(reader.replace(missing="refuse"))
    write_image(coco / "masks/train/000007.png", mask)
    assert "000007.png annotates '000007', but that image is missing" in refusal(reader)


@pytest.mark.parametrize("missing", ["unlabeled", "refuse"])
def test_masks_of_another_format_are_not_missing_masks(coco: Path, write_image: Write, missing: str) -> None:
    reader = CocoInstances(coco, masks="masks", mask_names=("ground",), missing="unlabeled")
    (coco / "masks").mkdir()
    assert not reader.open().annotated("mask").any()
    for number in (1, 2, 3):
        write_image(coco / f"masks/{number:06}.tif", 0, (20, 40))
    (coco / "masks/README").write_text("masks")
    assert refusal(reader.replace(missing=missing)) == (
        f"{coco / 'masks'} has no .png file that annotates an image, but only .tif, README; convert or rename its files"
        ", or take them out."
    )
    write_image(coco / "masks/000001.PNG", 0, (20, 40))
    assert reader.open().annotated("mask").tolist() == [True, False, False]


def test_a_mask_that_does_not_fit_is_refused(coco: Path, write_image: Write) -> None:
    reader = CocoInstances(coco, masks="masks", mask_names=("ground",), missing="unlabeled")
    write_image(coco / "masks/000001.png", 0, (40, 20))
    with pytest.raises(DataError, match=r"000001\.png is 20x40 pixels, but its image train2017/000001\.jpg is 40x20"):
        reader.open()[0]
    write_image(coco / "masks/000001.png", 3, (20, 40))
    with pytest.raises(DataError, match=r"000001\.png has the unknown value 3, but only 0, 255 mean something"):
        reader.open()[0]


def test_other_sets_name_their_own_classes_and_places(coco: Path) -> None:
    (coco / "train2017").rename(coco / "frames")
    reader = CocoInstances(
        coco, images="frames", instances=INSTANCES, names=("dog", "car"), leave_out=("person",), canvas=(40, 40)
    )
    table = reader.open()
    assert table[0].annotations["boxes"].labels.tolist() == [1]
    assert table[2].annotations["boxes"].labels.tolist() == [0]
    assert CocoInstances.model_validate(reader.model_dump()) == reader
    assert refusal(reader.replace(leave_out=())).endswith("name it there, or leave it out; known: car, dog.")
    edit(coco, lambda document: document["categories"][1].update(name="cra"))
    assert refusal(reader).endswith("did you mean 'car'?")


def test_coco_has_80_classes_once() -> None:
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[79]) == ("person", "toothbrush")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda d: d["annotations"][0].update(bbox=[40, 0, 5, 5]),
            "annotation 7 has the bbox [40, 0, 5, 5], which lies outside its image of 40x20 pixels; give left, top, wid"
            "th and height in pixels of that image, or take the annotation out.",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[0, 20, 5, 5]),
            "bbox [0, 20, 5, 5], which lies outside its image",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[-5, 0, 5, 5]),
            "bbox [-5, 0, 5, 5], which lies outside its image",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[0, -5, 5, 5]),
            "bbox [0, -5, 5, 5], which lies outside its image",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[4, 2.5, 0, 5]),
            "annotation 7 has the bbox [4, 2.5, 0, 5], but its width and height, the last two, must be above 0; correc"
            "t it, or set empty_boxes='drop' in the reader.",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[4, 2, -3, 5]),
            "annotation 7 has the bbox [4, 2, -3, 5], but its width and height, the last two, must be above 0; correct "
            "it, or take the annotation out.",
        ),
        (lambda d: d["annotations"][0].update(bbox=[4, 2, 0, -3]), "or take the annotation out."),
        (
            lambda d: d["annotations"][0].update(bbox=[4, 2, float("nan"), 5]),
            "annotation 7 has [4, 2, nan, 5] for its 'bbox', but four finite numbers",
        ),
        (
            lambda d: d["annotations"][0].update(bbox=[4, 2, 10**399, 5]),
            "for its 'bbox', but four finite numbers",
        ),
        (lambda d: d["annotations"][0].update(bbox=[4, 2, 3]), "annotation 7 has [4, 2, 3] for its 'bbox', but four"),
        (lambda d: d["annotations"][0].update(bbox="4 2 3 1"), "annotation 7 has 4 2 3 1 for its 'bbox', but four fin"),
        (lambda d: d["annotations"][0].update(bbox=[4, 2, 3, True]), "for its 'bbox', but four finite numbers were"),
        (lambda d: d["annotations"][0].pop("bbox"), "annotation 7 has None for its 'bbox', but four finite numbers"),
        (
            lambda d: d["annotations"][0].update(category_id=2),
            "annotation 7 has the category 2, which the file",
        ),
        (
            lambda d: d["annotations"][0].update(image_id=11),
            "annotation 7 has the image 11, which the file doesn't",
        ),
        (lambda d: d["annotations"][0].pop("image_id"), "annotation 7 has no 'image_id', which it needs"),
        (
            lambda d: d["annotations"][0].update(category_id=[3]),
            "annotation 7 has '[3]' as 'category_id', which it",
        ),
        (
            lambda d: d["annotations"][1].update(id=7),
            "has two annotations of the id 7; every one needs an id of its",
        ),
        (lambda d: d["images"][1].update(id=20), "has two images of the id 20; every one needs an id"),
        (lambda d: d["images"][1].update(file_name="000003.jpg"), "lists the image 000003.jpg twice"),
        (lambda d: d["images"][1].update(file_name="gone.jpg"), "lists the image gone.jpg, which is not in"),
        (lambda d: d["images"][1].update(file_name="../000001.jpg"), "image 10 has '../000001.jpg' for a file name"),
        (lambda d: d["images"][1].pop("file_name"), "image 10 has 'None' for a file name"),
        (lambda d: d["images"][1].pop("id"), "number 1 of its images, has no 'id', which it needs"),
        (lambda d: d["categories"][1].update(id=1), "has two categories of the id 1"),
        (lambda d: d["categories"][1].update(name="person"), "has two categories named 'person'"),
        (lambda d: d["categories"][1].update(name="crane"), "has the category 'crane', which is none of the reader's"),
        (lambda d: d.pop("annotations"), "has no list of annotations, each with its fields"),
        (lambda d: d.update(images=[1, 2]), "has no list of images, each with its fields"),
    ],
)
def test_wrong_entries_are_refused_with_file_and_item(coco: Path, change: Edit, expected: str) -> None:
    edit(coco, change)
    message = refusal(CocoInstances(coco))
    assert message.startswith(f"{coco / INSTANCES}")
    assert expected in message


def test_empty_boxes_can_be_dropped(coco: Path) -> None:
    edit(coco, lambda document: document["annotations"][0].update(bbox=[4, 2, 0, 5]))
    boxes = CocoInstances(coco, empty_boxes="drop").open()[0].annotations["boxes"]
    assert boxes.crowd.tolist() == [True]
    edit(coco, lambda document: document["annotations"][0].update(bbox=[4, 2, 0, -5]))
    assert "annotation 7 has the bbox [4, 2, 0, -5], but its width" in refusal(CocoInstances(coco, empty_boxes="drop"))


def test_boxes_that_are_left_out_may_be_empty(coco: Path) -> None:
    edit(coco, lambda document: document["annotations"][2].update(bbox=[4, 2, 0, 5]))
    assert "annotation 9 has the bbox" in refusal(CocoInstances(coco))
    table = CocoInstances(coco, names=("car", "dog"), leave_out=("person",)).open()
    assert len(table[0].annotations["boxes"]) == 1


@pytest.mark.parametrize(
    ("value", "crowd"), [(0, False), (1, True), (False, False), (True, True), (None, False), ("absent", False)]
)
def test_a_crowd_is_what_the_file_calls_one(coco: Path, value: object, crowd: bool) -> None:
    if value == "absent":
        edit(coco, lambda document: document["annotations"][1].pop("iscrowd"))
    else:
        edit(coco, lambda document: document["annotations"][1].update(iscrowd=value))
    assert CocoInstances(coco).open()[2].annotations["boxes"].crowd.tolist() == [crowd]


@pytest.mark.parametrize("value", ["0", "false", [0], 2, -1, 1.0, {}, ""])
def test_a_crowd_that_is_neither_0_nor_1_is_refused(coco: Path, value: object) -> None:
    edit(coco, lambda document: document["annotations"][1].update(iscrowd=value))
    assert refusal(CocoInstances(coco)).startswith(
        f"{coco / INSTANCES}, annotation 8 has {str(value)!r} for its 'iscrowd', but 0 or 1 was expected; correct it"
    )


@pytest.mark.parametrize("value", ["40", 40.0, 0, -40, True, [40], 2**31])
@pytest.mark.parametrize("side", ["width", "height"])
def test_a_side_that_is_none_is_refused(coco: Path, side: str, value: object) -> None:
    edit(coco, lambda document: document["images"][1].update({side: value}))
    assert refusal(CocoInstances(coco)).startswith(
        f"{coco / INSTANCES}, image 10 has {str(value)!r} for its {side}, but a whole number of pixels above 0 was expe"
    )


def test_a_side_may_be_unknown(coco: Path) -> None:
    edit(coco, lambda document: document["images"][1].update(width=None))
    assert len(CocoInstances(coco).open()[0].annotations["boxes"]) == 2


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(coco: Path, keep: float) -> None:
    content = (coco / INSTANCES).read_bytes()
    (coco / INSTANCES).write_bytes(content[: int(keep * len(content))])
    assert "instances_train2017.json can't be read as JSON" in refusal(CocoInstances(coco))


def test_an_image_of_another_size_is_refused(coco: Path, write_image: Write) -> None:
    table = CocoInstances(coco).open()
    write_image(coco / "train2017/000001.jpg", 90, (10, 20))
    with pytest.raises(DataError, match=r"image train2017/000001\.jpg: it says 40x20 pixels, but the image has 20x10"):
        table[0]
    edit(coco, lambda document: document["images"][1].pop("width"))
    with pytest.raises(DataError, match=r"box 1 of 2 is \[20.0, 0.0, 40.2, 20.0\] \(x, y, x \+ width, y \+ h"):
        CocoInstances(coco).open()[0]


def test_no_path_leaves_the_folder(coco: Path, tmp_path: Path) -> None:
    outside = (coco / INSTANCES).rename(tmp_path.parent / f"{tmp_path.name}.json")
    (coco / INSTANCES).symlink_to(outside)
    assert "instances_train2017.json leads out of" in refusal(CocoInstances(coco))
    assert "leads out of" in refusal(CocoInstances(coco, instances=f"../{outside.name}"))
    assert "leads out of" in refusal(CocoInstances(coco / "annotations", images="../train2017"))
    with pytest.raises(ValidationError, match="String should match pattern"):
        CocoInstances(coco, instances="/etc/passwd")
    with pytest.raises(ValidationError, match="masks and mask_names belong together"):
        CocoInstances(coco, masks="masks")
