import pickle
from pathlib import Path

import numpy as np
import pytest

from ssmtl.datasets.stl10 import STL10
from ssmtl.errors import DataError

NAMES = "airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n"


def stored(count: int, first: int) -> bytes:
    """Return images whose red is the line, green the column and blue the image's number, column by column."""
    images = np.zeros((count, 3, 96, 96), np.uint8)
    images[:, 0], images[:, 1] = np.arange(96)[:, None], np.arange(96)[None]
    images[:, 2] = np.arange(first, first + count)[:, None, None]
    return b"".join(plane.tobytes(order="F") for image in images for plane in image)


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    (folder / "class_names.txt").write_text(NAMES)
    for split, labels, first in (("train", [10, 1, 4], 0), ("test", [2, 3], 50)):
        (folder / f"{split}_X.bin").write_bytes(stored(len(labels), first))
        (folder / f"{split}_y.bin").write_bytes(bytes(labels))
    (folder / "unlabeled_X.bin").write_bytes(stored(4, 100))
    return tmp_path


def refusal(reader: STL10) -> str:
    with pytest.raises(DataError) as caught:
        reader.open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_stored_by_columns_stand_upright(binaries: Path) -> None:
    reader = STL10(binaries)
    table = reader.open()
    sample = table[2]
    assert sample.image.shape == (3, 96, 96)
    assert sample.image[:, 30, 7].tolist() == [30, 7, 2]
    assert (sample.size, sample.annotations) == ((96, 96), {"label": 3})
    assert sample.image.flags.c_contiguous
    assert [reader.classes("label")[label] for label in table.labels()] == ["truck", "airplane", "cat"]
    assert STL10(binaries / "stl10_binary", split="test").open().labels().tolist() == [1, 2]
    assert reader.classes("boxes") == ()


def test_unlabeled_images_are_not_annotated(binaries: Path) -> None:
    table = STL10(binaries, split="unlabeled").open()
    assert len(table) == 4
    assert not table.annotated("label").any()
    assert table.labels().tolist() == [-1] * 4
    assert table[0].annotations == {}
    both = STL10(binaries, split="train+unlabeled").open()
    assert both.labels().tolist() == [9, 0, 3, -1, -1, -1, -1]
    assert both.annotated("label").tolist() == [True] * 3 + [False] * 4
    assert [both.name(row) for row in (2, 3)] == ["train_X/00002", "unlabeled_X/00000"]
    assert [int(both[row].image[2, 0, 0]) for row in range(7)] == [0, 1, 2, 100, 101, 102, 103]


def test_a_smaller_canvas_shrinks(binaries: Path) -> None:
    sample = STL10(binaries, canvas=(32, 32)).open()[1]
    assert sample.image.shape == (3, 32, 32)
    assert sample.source_size == (96, 96)
    assert abs(int(sample.image[0, 10, 20]) - 31) <= 1  # line 31 is the middle of lines 30, 31 and 32
    assert abs(int(sample.image[1, 10, 20]) - 61) <= 1


def test_a_pickled_table_has_no_pixels(binaries: Path) -> None:
    table = STL10(binaries, split="train+unlabeled").open()
    before = table[4].image
    copy = pickle.dumps(table)
    assert len(copy) < 5_000
    np.testing.assert_array_equal(pickle.loads(copy)[4].image, before)


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("train_X.bin", stored(3, 0)[:-1], "has 82943 bytes, but a multiple of 27648"),
        ("train_X.bin", b"", "has 0 bytes, but a multiple of 27648"),
        ("train_X.bin", stored(2, 0), "train_y.bin has 3 labels for 2 images"),
        ("train_y.bin", bytes([1, 0, 2]), "has the label 0, but whole numbers from 1 to 10"),
        ("train_y.bin", bytes([1, 11, 2]), "has the label 11, but"),
        ("class_names.txt", NAMES.replace("car\n", "").encode(), "names other classes than STL-10's"),
    ],
)
def test_damaged_files_are_refused(binaries: Path, file: str, content: bytes, expected: str) -> None:
    (binaries / "stl10_binary" / file).write_bytes(content)
    assert expected in refusal(STL10(binaries))


def test_missing_files_are_named(binaries: Path) -> None:
    for name in ("class_names.txt", "train_y.bin"):
        (binaries / "stl10_binary" / name).unlink()
    assert len(STL10(binaries, split="test").open()) == 2
    assert "STL10 looked for 'train_y.bin' in" in refusal(STL10(binaries))
    assert "found no folder" in refusal(STL10(binaries / "gone"))
