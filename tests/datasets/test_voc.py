import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssmtl.datasets.voc import VOC_CLASSES, PascalVOC, voc_boxes
from ssmtl.errors import DataError

Write = Callable[..., Path]

PERSON = """<object><name>person</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<part><name>head</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>4</xmax><ymax>3</ymax></bndbox></part>
<bndbox><xmax>10</xmax><xmin>1</xmin><ymax>20</ymax><ymin>2</ymin></bndbox></object>"""
DOG = """<object><name>dog</name><bndbox><xmin>30.5</xmin><ymin>1</ymin><xmax>40</xmax><ymax>20</ymax></bndbox>
<difficult>1</difficult></object>"""


def annotation(*objects: str, size: tuple[int, int] = (20, 40)) -> str:
    shape = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{shape}<segmented>0</segmented>{''.join(objects)}</annotation>"


def write_lists(root: Path, lists: dict[str, Iterable[str]]) -> None:
    for place, stems in lists.items():
        path = root / f"ImageSets/{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(stems) + "\n")


@pytest.fixture
def voc(tmp_path: Path, write_image: Write) -> Path:
    """Images a to e of 20x40: b, c, d have masks; the list of boxes trains on c, that of masks validates on it."""
    root = tmp_path / "VOCdevkit/VOC2012"
    mask = np.zeros((20, 40), np.uint8)
    mask[:, 10:20], mask[:, 20] = 15, 255
    for stem in "abcdef":
        write_image(root / f"JPEGImages/{stem}.jpg", 90, (20, 40))
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{stem}.xml").write_text(annotation(PERSON, DOG))
    for stem in "bcd":
        image = Image.fromarray(mask, mode="P")
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
        (root / "SegmentationClass").mkdir(exist_ok=True)
        image.save(root / f"SegmentationClass/{stem}.png")
    lists = {"Main/train": "abc", "Main/val": "de", "Segmentation/train": "bd", "Segmentation/val": "c"}
    write_lists(root, {**lists, "Main/test": "f", "Segmentation/test": "f"})
    return tmp_path


def refusal(reader: PascalVOC) -> str:
    with pytest.raises(DataError) as error:
        reader.open()
    return str(error.value)


def test_boxes_count_from_one_and_include_their_last_pixel(voc: Path) -> None:
    reader = PascalVOC(voc, subset="detection", canvas=(40, 80))
    boxes = reader.open()[0].annotations["boxes"]
    # (1, 2) to (10, 20) are columns 0..9 and rows 1..19; the canvas doubles them; the head is no object
    assert boxes.xyxy.tolist() == [[0, 2, 20, 40], [59, 0, 80, 40]]
    assert [reader.classes("boxes")[label] for label in boxes.labels] == ["person", "dog"]
    assert boxes.crowd.tolist() == [False, True]


def test_masks_are_the_indices_of_the_palette(voc: Path) -> None:
    reader = PascalVOC(voc, subset="segmentation", canvas=(20, 40), fit="stretch")
    mask = reader.open()[0].annotations["mask"]
    assert mask[5, [0, 15, 20, 30]].tolist() == [0, 15, 255, 0]
    assert (reader.classes("mask")[15], reader.classes("mask")[0]) == ("person", "background")
    assert len(VOC_CLASSES) == 20
    assert list(VOC_CLASSES) == sorted(VOC_CLASSES)


@pytest.mark.parametrize(
    ("split", "subset", "names", "boxes", "masks"),
    [
        ("train", "detection", "abc", "abc", ""),
        ("train", "segmentation", "bd", "", "bd"),
        ("train", "both", "ab", "ab", "b"),  # c and d are validated on
        ("val", "both", "cde", "cde", "c"),  # the mask of d is for training
    ],
)
def test_lists_decide_what_is_annotated(voc: Path, split: str, subset: str, names: str, boxes: str, masks: str) -> None:
    table = PascalVOC(voc, split=split, subset=subset).open()
    stems = np.array([Path(table.name(row)).stem for row in range(len(table))])
    assert "".join(stems) == names
    assert "".join(stems[table.annotated("boxes")]) == boxes
    assert "".join(stems[table.annotated("mask")]) == masks
    for row, stem in enumerate(names):
        assert ("boxes" in table[row].annotations, "mask" in table[row].annotations) == (stem in boxes, stem in masks)


def test_the_test_images_may_be_without_annotation(voc: Path) -> None:
    (voc / "VOCdevkit/VOC2012/Annotations/f.xml").unlink()
    table = PascalVOC(voc, split="test").open()
    assert table[0].annotations == {}
    assert not table.annotated("boxes").any()
    (voc / "VOCdevkit/VOC2012/Annotations/a.xml").unlink()
    assert "the image a.jpg has no .xml file in" in refusal(PascalVOC(voc))


def test_a_table_survives_pickling(voc: Path) -> None:
    table = PascalVOC(voc, canvas=(20, 40)).open()
    sample, copy = table[1], pickle.loads(pickle.dumps(table))[1]
    np.testing.assert_array_equal(copy.image, sample.image)
    np.testing.assert_array_equal(copy.annotations["mask"], sample.annotations["mask"])
    np.testing.assert_array_equal(copy.annotations["boxes"].xyxy, sample.annotations["boxes"].xyxy)


@pytest.mark.parametrize("base", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_may_be_any_folder_of_the_layout(voc: Path, base: str) -> None:
    assert len(PascalVOC(voc / base).open()) == 2
    assert "looked for 'VOCdevkit/VOC2007/JPEGImages' or" in refusal(PascalVOC(voc, year="2007"))


def test_lists_that_disagree_with_the_images_are_refused(voc: Path) -> None:
    root = voc / "VOCdevkit/VOC2012"
    write_lists(root, {"Main/train": ["a", "../a"]})
    assert "Main/train.txt line 2 names '../a', but" in refusal(PascalVOC(voc))
    (root / "ImageSets/Main/train.txt").unlink()
    assert "Main/train.txt is missing, which split='train' needs" in refusal(PascalVOC(voc))
    (root / "JPEGImages/f.jpg").unlink()
    assert "f.xml annotates 'f', but that image is missing" in refusal(PascalVOC(voc, split="val"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (annotation(PERSON)[:-20], r"a\.xml can't be read as XML"),
        ("", r"a\.xml can't be read as XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + annotation(PERSON), r"a\.xml declares XML entities"),
        (annotation(DOG, PERSON.replace(">person<", ">persona<")), "object 1 is a 'persona'.*did you mean 'person'"),
        (annotation(PERSON.replace("<xmin>1</xmin>", "")), "object 0 has '' for its bndbox/xmin, but a finite number"),
        (
            annotation(PERSON.replace("<ymax>20<", "<ymax>2O<")),
            "object 0 has '2O' for its bndbox/ymax, but a finite",
        ),
        (annotation(PERSON).replace("<width>40<", "<width><"), "has '' for its size/width, but a finite number"),
        (annotation(PERSON).replace("<height>20<", "<height>inf<"), "has 'inf' for its size/height, but a finite"),
        (annotation(PERSON).replace("<width>40<", "<width>0<"), r"a\.xml has 0 for its size/width, but a whole number"),
        (annotation(PERSON).replace("<height>20<", "<height>-20<"), r"a\.xml has -20 for its size/height, but a whole"),
        (annotation(PERSON).replace("<width>40<", "<width>40.5<"), r"a\.xml has 40\.5 for its size/width, but a whole"),
        (annotation(PERSON).replace("<width>40<", "<width>1e300<"), r"a\.xml has 1e\+300 for its size/width, but a wh"),
        (
            annotation(DOG.replace("<difficult>1<", "<difficult>true<")),
            "object 0 has 'true' for its difficult, but 0 or",
        ),
        (annotation(DOG.replace("<difficult>1<", "<difficult>2<")), "object 0 has '2' for its difficult, but 0 or 1"),
        (annotation(DOG.replace("<difficult>1<", "<difficult><")), "object 0 has '' for its difficult, but 0 or 1 was"),
        (
            annotation(DOG, PERSON.replace("<xmax>10<", "<xmax>0<")),
            r"object 1 has the box \[1, 2, 0, 20\], but x2 and y2 name its last pixel",
        ),
        (
            annotation(PERSON.replace("<xmin>1<", "<xmin>10<").replace("<xmax>10<", "<xmax>9.5<")),
            r"a\.xml object 0 has the box \[10, 2, 9\.5, 20\], but x2 and y2 name its last pixel",
        ),
        (
            annotation(PERSON.replace("<ymin>2<", "<ymin>20<").replace("<ymax>20<", "<ymax>19.5<")),
            r"a\.xml object 0 has the box \[1, 20, 10, 19\.5\], but x2 and y2 name its last pixel",
        ),
        (
            annotation(PERSON.replace("<xmin>1<", "<xmin>-3<").replace("<xmax>10<", "<xmax>0.5<")),
            r"object 0 has the box \[-3, 2, 0\.5, 20\], which lies outside its image of 40x20 pixels; give x1",
        ),
        (
            annotation(PERSON.replace("<xmin>1<", "<xmin>41<").replace("<xmax>10<", "<xmax>45<")),
            r"object 0 has the box \[41, 2, 45, 20\], which lies outside its image of 40x20 pixels",
        ),
        (annotation(PERSON.replace("<xmax>10<", "<xmax>nan<")), "object 0 has 'nan' for its bndbox/xmax, but a finite"),
        (annotation(PERSON.replace("<ymin>2<", "<ymin>21<").replace("<ymax>20<", "<ymax>30<")), "which lies outside"),
        (annotation(PERSON, size=(40, 20)), r"a\.xml: it says 20x40 pixels, but the image has 40x20"),
    ],
)
def test_wrong_annotations_are_named(voc: Path, content: str, expected: str) -> None:
    (voc / "VOCdevkit/VOC2012/Annotations/a.xml").write_text(content)
    with pytest.raises(DataError, match=expected):
        PascalVOC(voc).open()[0]


def test_an_annotation_without_objects_has_no_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(annotation())
    found = voc_boxes(path)
    assert (found.xyxy.shape, found.labels.shape, found.size) == ((0, 4), (0,), (20, 40))


def test_the_last_pixel_of_an_image_may_be_a_box(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    corner = "<bndbox><xmin>40</xmin><ymin>20</ymin><xmax>40</xmax><ymax>20</ymax></bndbox>"
    path.write_text(annotation(f"<object><name>cat</name>{corner}</object>"))
    found = voc_boxes(path)
    assert (found.xyxy.tolist(), found.crowd.tolist()) == ([[39, 19, 40, 20]], [False])


@pytest.mark.parametrize("folder", ["Annotations", "SegmentationClass"])
def test_files_of_another_format_are_not_missing_annotations(voc: Path, folder: str) -> None:
    for path in (voc / "VOCdevkit/VOC2012" / folder).iterdir():
        path.rename(path.with_suffix(".txt"))
    assert "file that annotates an image, but only .txt; convert or" in refusal(PascalVOC(voc, split="test"))
