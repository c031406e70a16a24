import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ssmtl.component import Component, kinds, resolve
from ssmtl.datasets.base import Reader
from ssmtl.datasets.file_table import Columns, strings
from ssmtl.datasets.files import FileReader, csv_rows
from ssmtl.datasets.folders import ClassFolders, MaskFolder
from ssmtl.errors import DataError

Write = Callable[..., Path]


def test_rows_cost_less_than_100_bytes_each_beside_their_paths() -> None:
    rows, length = 100_000, len("train/PNEUMONIA/person0000000.jpeg")
    tracemalloc.start()  # slows everything down, hence not the million that the bound is for
    columns = Columns(
        strings(f"train/PNEUMONIA/person{row:07}.jpeg" for row in range(rows)),
        labels=np.zeros(rows, dtype=np.int32),
        patients=strings(f"person{row // 2:07}" for row in range(rows)),
    )
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < rows * (length + 60)
    assert peak < rows * (length + 100)
    assert columns.images[99_999] == "train/PNEUMONIA/person0099999.jpeg"


def test_rows_are_taken_from_every_column() -> None:
    columns = Columns(
        strings("abc"), masks=(strings("xyz"),), labels=np.array([0, 1, 2], np.int32), patients=strings(["p", "q", "r"])
    )
    taken = columns.take(np.array([2, 0]))
    assert taken.images.tolist() == ["c", "a"]
    assert taken.masks[0].tolist() == ["z", "x"]
    assert taken.labels.tolist() == [2, 0]
    assert taken.patients.tolist() == ["r", "p"]


def test_a_table_survives_pickling_and_opens_nothing_early(class_folders: Path) -> None:
    table = ClassFolders(class_folders, split="test", canvas=(8, 8)).open()
    copy = pickle.loads(pickle.dumps(table))
    assert len(copy) == 4
    assert copy.name(0) == table.name(0)
    np.testing.assert_array_equal(copy[3].image, table[3].image)
    for image in (class_folders / "test").rglob("*.png"):
        image.write_bytes(b"broken")
    assert len(ClassFolders(class_folders, split="test").open()) == 4


def test_a_sample_says_what_it_shows(tmp_path: Path, write_image: Write) -> None:
    write_image(tmp_path / "images/a.png", 50, (20, 40))
    mask = np.zeros((20, 40), np.uint8)
    mask[:10] = 1
    write_image(tmp_path / "masks/a.png", mask)
    sample = MaskFolder(tmp_path, split="all", canvas=(16, 16), fit="pad", channels=3).open()[0]
    assert sample.name == "images/a.png"
    assert sample.image.shape == (3, 16, 16)
    assert sample.image.dtype == sample.annotations["mask"].dtype == np.uint8
    assert (sample.size, sample.source_size) == ((8, 16), (20, 40))
    assert sample.image[:, 4, 4].tolist() == [50, 50, 50]
    assert sample.image[:, 12, 4].tolist() == [0, 0, 0]
    assert sample.annotations["mask"][[2, 6, 12], 5].tolist() == [1, 0, 255]
    assert "label" not in sample.annotations


def test_a_mask_of_another_size_is_refused(mask_folder: Path, write_image: Write) -> None:
    write_image(mask_folder / "masks/f4.png", 0, (6, 8))  # an exact half, which only JSRT's layout has
    table = MaskFolder(mask_folder, split="test").open()
    with pytest.raises(DataError, match=r"f4\.png is 8x6 pixels, but its image images/f4\.jpg is 16x12"):
        table[0]
    assert table[1].annotations["mask"].max() == 1


def test_a_file_that_vanishes_is_named(class_folders: Path) -> None:
    table = ClassFolders(class_folders, split="test").open()
    (class_folders / table.name(1)).unlink()
    with pytest.raises(DataError, match=r"Ntest01\.png is missing"):
        table[1]


@pytest.mark.parametrize("reader", [ClassFolders, MaskFolder])
def test_missing_and_empty_folders_are_named(tmp_path: Path, reader: type[FileReader]) -> None:
    with pytest.raises(DataError, match=rf"{reader.kind} found no folder {tmp_path}/gone; set `root`"):
        reader(tmp_path / "gone").open()
    (tmp_path / ".DS_Store").touch()
    with pytest.raises(DataError, match=rf"the folder {tmp_path} empty; unpack the data there"):
        reader(tmp_path).open()


@pytest.mark.parametrize("link", ["train/NORMAL/x.png", "train/NORMAL", "train"])
def test_links_out_of_the_folder_are_refused(
    tmp_path: Path, class_folders: Path, write_image: Write, link: str
) -> None:
    outside = tmp_path.parent / f"{tmp_path.name} outside"
    target = write_image(outside / "x.png")
    path = class_folders / link
    if path.is_dir():
        target = path.rename(outside / path.name)
    path.symlink_to(target)
    with pytest.raises(DataError, match="is a link that leads out of"):
        ClassFolders(class_folders).open()


def test_links_inside_and_a_linked_root_are_followed(tmp_path: Path, class_folders: Path) -> None:
    (class_folders / "test/NORMAL/linked.png").symlink_to(class_folders / "test/NORMAL/Ntest00.png")
    (class_folders / "labels.csv").unlink()
    root = tmp_path.parent / f"{tmp_path.name} link"
    root.symlink_to(class_folders)
    assert len(ClassFolders(root, split="test").open()) == 5


def test_readers_are_values(tmp_path: Path) -> None:
    reader = ClassFolders(tmp_path, split="val", names=("a", "b"), holdout=0.2, fit="pad")
    assert Reader.model_validate(reader.model_dump()) == reader
    assert hash(reader) == hash(reader.replace(seed=0))
    assert reader != reader.replace(seed=1)


NO_FILES = {"ChestPhantom", "Extend", "ShapesPhantom", "StreetPhantom", "Subset"}


@pytest.mark.parametrize("kind", sorted(set(kinds("readers")) - NO_FILES))
def test_every_reader_refuses_bad_fields(kind: str, tmp_path: Path) -> None:
    reader: type[Component] = resolve("readers", kind)
    with pytest.raises(ValidationError, match=r"has no field 'spilt'; did you mean 'split'\?"):
        reader(tmp_path, spilt="train")
    with pytest.raises(ValidationError, match=r"Input should be 'train'|Input should be 'all'"):
        reader(tmp_path, split="trian")
    with pytest.raises(ValidationError, match=r"1 channel .* or 3 .*, got channels=2"):
        reader(tmp_path, channels=2)


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("path,lable\nx,y\n")
    with pytest.raises(DataError, match=r"a\.csv has no column 'label'.*did you mean 'lable'\?"):
        list(csv_rows(path, ("path", "label")))
    path.write_text("path,label\nx,y\nz\n")
    with pytest.raises(DataError, match="line 3 is cut short"):
        list(csv_rows(path, ("path", "label")))
    path.write_bytes(b"path,label\n\xff\xfe,b\n")
    with pytest.raises(DataError, match="can't be read as CSV"):
        list(csv_rows(path, ("path",)))
    path.write_text("\ufeffpath,label\nx,y\n", encoding="utf-8")
    assert list(csv_rows(path, ("path",))) == [(2, {"path": "x", "label": "y"})]
