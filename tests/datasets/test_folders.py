from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssmtl.datasets.folders import ClassFolders, MaskFolder
from ssmtl.errors import DataError

Write = Callable[..., Path]


def refusal(reader: ClassFolders | MaskFolder) -> str:
    with pytest.raises(DataError) as caught:
        reader.open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_are_counted_and_read(class_folders: Path) -> None:
    table = ClassFolders(class_folders, split="all", canvas=(8, 8)).open()
    assert table.labels().tolist() == [0] * 10 + [1] * 10 + [0] * 2 + [1] * 2
    assert table.annotated("label").all()
    assert not table.annotated("mask").any()
    assert table.name(0) == "train/NORMAL/Ntrain00.png"
    assert table.patients()[:3] == ("Ntrain0", "Ntrain0", "Ntrain1")
    sample = table[10]
    assert sample.annotations == {"label": 1}
    assert (sample.image == 200).all()


def test_validation_is_held_out_by_class_and_patient(class_folders: Path) -> None:
    train, val = (ClassFolders(class_folders, split=split, holdout=0.2).open() for split in ("train", "val"))
    assert val.labels().tolist() == [0, 0, 1, 1]
    assert len(train) == 16
    assert not set(train.patients()) & set(val.patients())
    assert len(ClassFolders(class_folders, holdout=0).open()) == 20
    assert "needs `holdout` above 0" in refusal(ClassFolders(class_folders, split="val", holdout=0))


def test_a_validation_folder_is_taken_as_it_is(class_folders: Path, write_image: Write) -> None:
    (class_folders / "labels.csv").unlink()
    for label in ("NORMAL", "PNEUMONIA"):
        write_image(class_folders / "val" / label / "x.png")
    assert len(ClassFolders(class_folders, split="val").open()) == 2
    assert len(ClassFolders(class_folders, split="train").open()) == 20
    assert len(ClassFolders(class_folders, split="all").open()) == 26
    assert ClassFolders(class_folders, split="val").open().patients() is None


def test_other_classes_keep_the_order_of_their_names(tmp_path: Path, write_image: Write) -> None:
    for name in ("ship", "cat"):
        write_image(tmp_path / "test" / name / "1.png")
    reader = ClassFolders(tmp_path, split="test", names=("ship", "cat"))
    table = reader.open()
    assert [reader.classes("label")[label] for label in table.labels()] == ["ship", "cat"]
    assert [table.name(row) for row in range(2)] == ["test/ship/1.png", "test/cat/1.png"]
    assert reader.classes("mask") == ()


def test_wrong_class_folders_are_refused(class_folders: Path, write_image: Write) -> None:
    write_image(class_folders / "test/PNEUMONA/x.png")
    assert refusal(ClassFolders(class_folders, split="test")).endswith("; did you mean 'PNEUMONIA'?")
    (class_folders / "test/PNEUMONA/x.png").unlink()
    (class_folders / "test/PNEUMONA").rmdir()
    for image in (class_folders / "test/NORMAL").iterdir():
        image.unlink()
    assert "test/NORMAL has no image (.png" in refusal(ClassFolders(class_folders, split="test"))
    (class_folders / "test/NORMAL").rmdir()
    assert "has no folder 'NORMAL'" in refusal(ClassFolders(class_folders, split="test"))


def test_a_split_without_a_folder_is_refused(class_folders: Path, tmp_path: Path) -> None:
    (class_folders / "test").rename(class_folders / "tests")
    message = refusal(ClassFolders(class_folders, split="test"))
    assert "has no folder 'test', which split='test' needs (found: train)" in message
    (class_folders / "train").rename(class_folders / "training")
    assert "found: none of train, val, test" in refusal(ClassFolders(class_folders, split="all"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (",NORMAL,Ntrain1,", ",NORMALL,Ntrain1,", "line 4 has the unknown label 'NORMALL'.*did you mean 'NORMAL'"),
        (",NORMAL,Ntrain1,", ",PNEUMONIA,Ntrain1,", "line 4 says PNEUMONIA, but the file is train/NORMAL/Ntrain02.png"),
        ("train/NORMAL/Ntrain02.png", "train/NORMAL/gone.png", "has no line for train/NORMAL/Ntrain02.png"),
        ("path,", "file,", "has no column 'path'"),
    ],
)
def test_a_csv_that_disagrees_with_the_folders_is_refused(
    class_folders: Path, old: str, new: str, expected: str
) -> None:
    path = class_folders / "labels.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=expected):
        ClassFolders(class_folders).open()


def test_a_csv_line_without_its_image_is_refused(class_folders: Path) -> None:
    (class_folders / "train/NORMAL/Ntrain03.png").unlink()
    assert "lists train/NORMAL/Ntrain03.png, which is not in" in refusal(ClassFolders(class_folders))
    assert len(ClassFolders(class_folders, split="test").open()) == 4


def test_masks_follow_their_lists(mask_folder: Path) -> None:
    names = {}
    for split in ("train", "val", "test", "all"):
        table = MaskFolder(mask_folder, split=split, canvas=(8, 8)).open()
        names[split] = [table.name(row) for row in range(len(table))]
        assert table.annotated("mask").all()
        assert table.labels() is None
    assert names["train"] == ["images/f0.jpg", "images/f1.jpg", "images/f2.jpg"]
    assert names["val"] == ["images/f3.jpg"]
    assert names["test"] == ["images/f4.jpg", "images/f5.jpg"]
    assert len(names["all"]) == 6
    mask = MaskFolder(mask_folder, split="val", canvas=(8, 8)).open()[0].annotations["mask"]
    assert mask.tolist() == [[1] * 4 + [0] * 4] * 8


def test_masks_name_their_class(mask_folder: Path) -> None:
    assert MaskFolder(mask_folder).classes("mask") == ("background", "lung")
    assert MaskFolder(mask_folder, mask_class="heart").classes("mask") == ("background", "heart")
    assert MaskFolder(mask_folder).classes("label") == ()


@pytest.mark.parametrize("lists", [("train",), ()])
def test_without_a_validation_list_a_part_is_held_out(mask_folder: Path, lists: tuple[str, ...]) -> None:
    for split in {"train", "val", "test"} - set(lists):
        (mask_folder / f"{split}.txt").unlink()
    train, val = (MaskFolder(mask_folder, split=split, holdout=0.34).open() for split in ("train", "val"))
    rows = {table: {table.name(row) for row in range(len(table))} for table in (train, val)}
    assert not rows[train] & rows[val]
    assert (len(train), len(val)) == ((2, 1) if lists else (4, 2))
    assert "has no test.txt, which split='test' needs" in refusal(MaskFolder(mask_folder, split="test"))


def test_an_image_without_its_mask_is_refused(mask_folder: Path) -> None:
    (mask_folder / "masks/f1.png").unlink()
    assert "the image f1.jpg has no mask f1.*" in refusal(MaskFolder(mask_folder))
    assert len(MaskFolder(mask_folder, split="test").open()) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f0\nf9\n", "line 2 names 'f9', but .* has no image of that stem"),
        ("../../secret\n", "line 1 names a path, '../../secret'"),
        ("f0\nf0\n", "empty or names an image twice"),
        ("\n", "empty or names an image twice"),
        ("f0\nf3\n", "'f3' stands in both train.txt and val.txt"),
    ],
)
def test_bad_lists_are_refused(mask_folder: Path, text: str, expected: str) -> None:
    (mask_folder / "train.txt").write_text(text)
    with pytest.raises(DataError, match=expected):
        MaskFolder(mask_folder).open()


def test_missing_subfolders_and_doubles_are_refused(mask_folder: Path, write_image: Write) -> None:
    write_image(mask_folder / "images/f0.png")
    assert "has both f0.jpg and f0.png" in refusal(MaskFolder(mask_folder))
    (mask_folder / "masks").rename(mask_folder / "mask")
    (mask_folder / "images/f0.png").unlink()
    assert "looked for 'masks' in" in refusal(MaskFolder(mask_folder))


def test_lossy_masks_need_a_threshold(mask_folder: Path, write_image: Write) -> None:
    levels = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (12, 1))
    write_image(mask_folder / "masks/f3.png", levels)
    with pytest.raises(DataError, match="set mask_threshold"):
        MaskFolder(mask_folder, split="val").open()[0]
    sample = MaskFolder(mask_folder, split="val", mask_threshold=128, canvas=(12, 16)).open()[0]
    assert sample.annotations["mask"][0].tolist() == [0] * 8 + [1] * 8  # 255 * 8 / 15 = 136 is the first above
