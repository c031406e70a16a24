"""First manifests of common folder shapes: what lands in which cell, what is left out and why, and what is refused."""

import csv
import json

import numpy as np
import pytest
from own_folder import coco_json, mask, picture, voc_xml, write
from PIL import Image

from ssmtl.errors import DataError
from ssmtl.manifests.check import check_manifest
from ssmtl.manifests.init import write_first_manifest


@pytest.fixture
def root(tmp_path):
    return tmp_path / "own"


def made(root, **options):
    """Write the manifest, and return {image: {column: cell}} without empty cells, and what was made."""
    first = write_first_manifest(root, **options)
    with first.path.open(newline="", encoding="utf-8") as file:
        rows = {row.pop("image"): {k: v for k, v in row.items() if v} for row in csv.DictReader(file)}
    return rows, first


def left(first):
    return {thing.what: thing.why for thing in first.left_out}


def box(name, *edges):
    return json.dumps([{"class": name, "box": list(edges)}])


def test_class_folders_below_splits(root):
    for place in ("train/cat/1.png", "train/dog/1.png", "validation/cat/2.jpg", "test/dog/3.png"):
        picture(root / place)
    rows, first = made(root)
    assert rows == {
        "test/dog/3.png": {"label": "dog", "split": "test"},
        "train/cat/1.png": {"label": "cat", "split": "train"},
        "train/dog/1.png": {"label": "dog", "split": "train"},
        "validation/cat/2.jpg": {"label": "cat", "split": "val"},
    }
    assert first.classes == {"label": ("cat", "dog")}
    assert json.loads((root / "manifest.classes.json").read_text()) == {"label": ["cat", "dog"]}
    assert left(first) == {}


def test_folders_may_mean_nothing_or_an_unlabeled_part(root):
    for place in ("a/1.png", "b/2.png", "unlabeled/3.png", "a/deep/4.png"):
        picture(root / place)
    rows, first = made(root)
    assert rows == {"a/1.png": {"label": "a"}, "b/2.png": {"label": "b"}, "unlabeled/3.png": {}, "a/deep/4.png": {}}
    assert "several folders deep, such as a/deep/4.png" in left(first)["the folders of 1 image(s)"]
    assert made(root, folders="source", force=True)[0]["b/2.png"] == {"source": "b"}
    assert made(root, folders="nothing", force=True)[0]["b/2.png"] == {}


def test_many_folders_with_few_images_are_groups(root):
    for patient in range(21):
        picture(root / f"p{patient:02}/film.png")
    rows, first = made(root)
    assert rows["p03/film.png"] == {"group": "p03"}
    assert first.classes == {}


def test_images_and_black_and_white_masks(root):
    for stem in "abc":
        picture(root / f"images/{stem}.jpg")
    before = mask(root / "masks/a.png").read_bytes()
    mask(root / "masks/b_mask.png")
    mask(root / "masks/lost.png")
    rows, first = made(root)
    assert rows["images/a.jpg"] == {"mask": "masks-index/masks/a.png"}
    assert rows["images/b.jpg"] == {"mask": "masks-index/masks/b_mask.png"}
    assert rows["images/c.jpg"] == {}
    assert first.classes == {"mask": ("background", "foreground")}
    assert left(first) == {"1 mask(s): masks/lost.png": "no image has the same name"}
    converted = Image.open(root / "masks-index/masks/a.png")
    assert converted.mode == "P"
    assert np.unique(converted).tolist() == [0, 1]
    assert (np.asarray(converted)[0] > 0).tolist() == [False, *[True] * 39]
    assert (root / "masks/a.png").read_bytes() == before


@pytest.mark.parametrize("mode", ["L", "P"])
def test_index_maps_stay_where_they_are(root, mode):
    picture(root / "JPEGImages/a.jpg")
    mask(root / "SegmentationClass/a.png", (0, 1, 3, 255), mode)
    rows, first = made(root)
    assert rows == {"JPEGImages/a.jpg": {"mask": "SegmentationClass/a.png"}}
    assert first.classes == {"mask": ("background", "class1", "class2", "class3")}
    assert not (root / "masks-index").exists()


def test_masks_beside_their_images_in_colors(root):
    for stem in "ab":
        picture(root / f"{stem}.png")
        levels = np.zeros((30, 40, 3), dtype=np.uint8)
        levels[5:, 5:] = (255, 0, 0)
        levels[20:, 20:] = (0, 0, 255) if stem == "a" else (255, 0, 0)
        Image.fromarray(levels).save(root / f"{stem}_mask.png")
    rows, first = made(root)
    assert first.classes == {"mask": ("background", "color_0000ff", "color_ff0000")}
    assert np.unique(Image.open(root / rows["a.png"]["mask"])).tolist() == [0, 1, 2]
    assert np.unique(Image.open(root / rows["b.png"]["mask"])).tolist() == [0, 2]


def test_soft_masks_are_cut_and_photographs_are_no_masks(root):
    picture(root / "images/a.png")
    Image.open(mask(root / "masks/a.png")).save(root / "masks/a.jpg", quality=60)
    (root / "masks/a.png").unlink()
    rows, _ = made(root)
    assert rows["images/a.png"] == {"mask": "masks-index/masks/a_jpg.png"}
    assert np.asarray(Image.open(root / "masks-index/masks/a_jpg.png"))[0].tolist() == [0, *[1] * 39]
    picture(root / "masks/a.jpg")
    rows, first = made(root, force=True)
    assert rows["images/a.png"] == {}
    assert "are no classes; save them as index maps" in left(first)["1 mask(s): masks/a.jpg"]


def test_folders_of_masks_are_columns(root):
    picture(root / "images/a.png")
    mask(root / "masks/Left Lung/a.png", (0, 1))
    mask(root / "masks/heart/a.png", (0, 1))
    rows, first = made(root)
    assert rows["images/a.png"] == {"mask:heart": "masks/heart/a.png", "mask:left_lung": "masks/Left Lung/a.png"}
    assert first.classes["mask:heart"] == ("background", "heart")


def test_people_with_masks_are_no_masks(root):
    for place in range(3):
        picture(root / f"mask/{place}.png")
        picture(root / f"no_mask/x{place}.png")
    rows, _ = made(root)
    assert rows["mask/1.png"] == {"label": "mask"}


def test_yolo_with_names_outlines_and_nothing(root):
    for stem in "abcde":
        picture(root / f"images/train/{stem}.png")
    write(root / "labels/train/a.txt", "0 0.5 0.5 0.2 0.4\n")
    write(root / "labels/train/b.txt", "")
    write(root / "labels/train/c.txt", "1 0.25 0.2 0.5 0.2 0.5 0.6 0.25 0.6\n")
    write(root / "labels/train/d.txt", "car 1 2 3 4\n")
    write(root / "data.yaml", "names:\n  0: car\n  1: person\n")
    rows, first = made(root)
    assert json.loads(rows["images/train/a.png"]["boxes"]) == json.loads(box("car", 16, 9, 24, 21))
    assert rows["images/train/b.png"] == {"boxes": "[]", "split": "train"}
    assert json.loads(rows["images/train/c.png"]["boxes"]) == json.loads(box("person", 10, 6, 20, 18))
    assert rows["images/train/d.png"] == rows["images/train/e.png"] == {"split": "train"}
    assert first.classes == {"boxes": ("car", "person")}
    assert "no YOLO file" in left(first)["labels/train/d.txt"]


@pytest.mark.parametrize(
    ("file", "text"),
    [("classes.txt", "car\nperson\n\n"), ("data.yaml", "names: [car, person]\n"), ("obj.names", "car\nperson")],
)
def test_yolo_names_from_other_files(root, file, text):
    picture(root / "a.png")
    write(root / "a.txt", "1 0.5 0.5 1 1\n")
    write(root / file, text)
    rows, first = made(root)
    assert json.loads(rows["a.png"]["boxes"])[0]["class"] == "person"
    assert first.classes == {"boxes": ("car", "person")}


def test_yolo_without_names_says_so(root):
    picture(root / "a.png")
    write(root / "a.txt", "2 0.5 0.5 1 1\n")
    _, first = made(root)
    assert first.classes == {"boxes": ("class0", "class1", "class2")}
    assert "name them in the classes file" in first.findings[0].what


def test_coco_by_file_where_it_names_files_and_inline_where_it_names_paths(root):
    for place in ("train2017/1.jpg", "train2017/2.jpg", "val2017/9.jpg", "val2017/8.jpg"):
        picture(root / place)
    boxes = [(1, "dog", [1, 2, 10, 12]), (1, "car", [0, 0, 4, 4])]
    coco_json(root / "annotations/train.json", {1: "1.jpg", 2: "2.jpg"}, boxes)
    coco_json(root / "annotations/val.json", {9: "val2017/9.jpg", 7: "val2017/7.jpg"}, [(9, "dog", [1, 2, 10, 12])])
    rows, first = made(root)
    assert rows["train2017/2.jpg"] == {"boxes": "annotations/train.json", "split": "train"}
    assert json.loads(rows["val2017/9.jpg"]["boxes"]) == json.loads(box("dog", 1, 2, 11, 14))
    assert rows["val2017/8.jpg"] == {"split": "val"}
    assert first.classes == {"boxes": ("car", "dog")}
    assert left(first)["1 image(s) of annotations/val.json: val2017/7.jpg"] == "not in the folder"


def test_damaged_coco_is_left_out(root):
    picture(root / "a.png")
    write(root / "a.json", '{"images": [{"id": 1}], "annotations": [], "categories": []}')
    write(root / "other.json", '{"size": 3}')
    rows, first = made(root)
    assert rows == {"a.png": {}}
    assert "damaged" in left(first)["a.json"]
    assert left(first)["1 file(s) .json"] == "nothing that was understood"


def test_voc_counts_pixels_from_one(root):
    picture(root / "JPEGImages/a.jpg")
    voc_xml(root / "Annotations/a.xml", "boat", (1, 1, 10, 20), difficult=1)
    voc_xml(root / "Annotations/b.xml")
    rows, first = made(root)
    assert json.loads(rows["JPEGImages/a.jpg"]["boxes"]) == json.loads(box("boat", 0, 0, 10, 20))
    assert left(first) == {
        "Annotations/b.xml": "no image has the same name",
        "the mark 'difficult' of 1 object(s)": "they are boxes like any other",
    }


def test_a_spreadsheet_names_images_by_path_name_or_stem(root):
    for stem in "abcdef":
        picture(root / f"films/{stem}.png")
    write(
        root / "study.csv",
        "File Name,Finding Labels,Sex,Patient ID,Set,Site,Age,Note\n"
        "films\\a.png,Mass|Edema,F,p1,Training,north,33.5,long text\n"
        "b.png,Mass,M,p1,train,north,44.5,other text\n"
        "c,Edema,F,p2,test,south,21.5,third\n"
        "d.png,NA,F,p3,test,south,30.5,fourth\n"
        "zz.png,Mass,F,p4,test,south,30.5,fifth\n",
    )
    rows, first = made(root)
    shared = {"split": "train", "source": "north", "group": "p1"}
    assert rows["films/a.png"] == {"labels:finding_labels": "Mass|Edema", "label:sex": "F", **shared}
    assert rows["films/b.png"] == {"labels:finding_labels": "Mass", "label:sex": "M", **shared}
    assert rows["films/c.png"]["group"] == "p2"
    assert "labels:finding_labels" not in rows["films/d.png"]
    assert rows["films/e.png"] == {}
    assert first.classes == {"labels:finding_labels": ("Edema", "Mass"), "label:sex": ("F", "M")}
    assert left(first)["1 row(s) of study.csv: zz.png"] == "they name no image of this folder"
    assert "holds numbers" in left(first)["the column 'Age' of study.csv"]
    assert "are no classes" in left(first)["the column 'Note' of study.csv"]


def test_a_spreadsheet_of_excel(root):
    for stem in "abcd":
        picture(root / f"{stem}.png")
    (root / "t.csv").write_bytes(
        "sep=;\r\nimage;class\r\na.png;gr\xfcn\r\nb.png;rot\r\nc.png;rot\r\nd.png;rot\r\n".encode("cp1252")
    )
    rows, first = made(root)
    assert rows["a.png"] == {"label": "gr\xfcn"}
    assert first.classes == {"label": ("gr\xfcn", "rot")}


def test_a_spreadsheet_that_contradicts_itself_or_names_nothing(root):
    picture(root / "a.png")
    picture(root / "b.png")
    write(root / "t.csv", "image,class\na.png,x\na.png,y\nb.png,x\n")
    write(root / "u.csv", "one,two\n1,2\n")
    write(root / "v.xlsx", "")
    _, first = made(root)
    found = left(first)
    assert "it says both 'x' and 'y' of a.png" in found["the column 'class' of t.csv"]
    assert "none of its columns names images" in found["u.csv"]
    assert "save it as CSV" in found["v.xlsx"]


def test_no_two_columns_claim_one_task(root):
    for stem in "abcd":
        picture(root / f"images/{stem}.png")
        mask(root / f"masks/{stem}.png", (0, 1))
    write(root / "t.csv", "file,mask,boxes\na.png,yes,x\nb.png,no,y\nc.png,no,x\n")
    write(root / "labels/a.txt", "0 0.5 0.5 1 1\n")
    _, first = made(root)
    assert set(first.columns) == {"label:mask", "mask:second", "label:boxes", "boxes:yolo"}


def test_everything_together_passes_its_check(root):
    for place in range(6):
        picture(root / f"images/{place}.png")
    mask(root / "masks/0.png")
    mask(root / "masks/1.png")
    write(root / "labels/2.txt", "0 0.5 0.5 0.5 0.5\n")
    write(root / "classes.txt", "car\n")
    write(root / "who.csv", "name,diagnosis\n0.png,ill\n3.png,well\n4.png,ill\n5.png,well\n")
    rows, first = made(root)
    assert rows["images/0.png"] == {"label:diagnosis": "ill", "mask": "masks-index/masks/0.png"}
    assert first.columns == {"label:diagnosis": 4, "mask": 2, "boxes": 1}
    assert check_manifest(first.path).refused == ()


def test_a_manifest_above_the_folder_has_longer_paths(root):
    picture(root / "images/a.png")
    mask(root / "masks/a.png")
    rows, first = made(root, out=root.parent / "all.csv")
    assert rows == {"own/images/a.png": {"mask": "own/masks-index/masks/a.png"}}
    assert check_manifest(first.path).refused == ()


def test_what_is_not_read_is_named(root):
    picture(root / "a.png")
    for name in ("b.tif", "c.dcm", "d.npy", "e.zip", "f", ".hidden", "Thumbs.db"):
        write(root / name, "")
    write(root / "__MACOSX/g.png", "")
    (root / "link.png").symlink_to("/etc/hostname")
    (root / "loop").symlink_to(".")
    rows, first = made(root)
    assert rows == {"a.png": {}}
    assert left(first) == {
        "link.png": "a link that leads out of the folder, or to no file; copy the file in",
        "loop": "a link that leads out of the folder, or to no file; copy the file in",
        "1 file(s) .tif": "another image format; save it as PNG",
        "1 file(s) .dcm": "a medical format; export it as 8-bit PNG",
        "1 file(s) .npy": "arrays; save every image as PNG",
        "1 file(s) .zip": "an archive; unpack it",
        "1 file(s) without an ending": "nothing that was understood",
    }


def test_nothing_is_written_over_unasked(root):
    picture(root / "images/a.png")
    mask(root / "masks/a.png")
    made(root)
    before = (root / "manifest.csv").read_bytes()
    with pytest.raises(DataError, match=r"manifest\.csv is already there; give another --out, or --force"):
        write_first_manifest(root)
    with pytest.raises(DataError, match="masks-index is already there"):
        write_first_manifest(root, root / "other.csv")
    assert (root / "manifest.csv").read_bytes() == before
    assert made(root, force=True)[0] == {"images/a.png": {"mask": "masks-index/masks/a.png"}}


def test_a_new_manifest_is_unchecked(root):
    picture(root / "a.png")
    write(root / "manifest.checked.json", "{}")
    made(root)
    assert not (root / "manifest.checked.json").exists()


def test_folders_that_hold_no_image_and_outs_elsewhere_are_refused(root, tmp_path):
    with pytest.raises(DataError, match="own is no folder; name the folder that holds your images"):
        write_first_manifest(root)
    write(root / "a.dcm", "")
    with pytest.raises(DataError, match=r"own holds no image \(.png, .*\), only 1 .dcm; name the folder"):
        write_first_manifest(root)
    picture(root / "a.png")
    with pytest.raises(DataError, match=r"lies elsewhere than the images in .*own"):
        write_first_manifest(root, tmp_path / "elsewhere/manifest.csv")
    with pytest.raises(DataError, match=r"a manifest ends in \.csv, \.jsonl, \.parquet"):
        write_first_manifest(root, root / "manifest.xlsx")
