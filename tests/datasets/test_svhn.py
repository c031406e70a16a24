from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from ssmtl.datasets.svhn import SVHN
from ssmtl.errors import DataError


def images(count: int) -> np.ndarray:
    """Return images [32, 32, 3, n] whose red is the line, green the column, and blue the image's number."""
    pixels = np.zeros((32, 32, 3, count), np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = np.arange(32)[:, None, None], np.arange(32)[None, :, None]
    pixels[:, :, 2] = np.arange(count)
    return pixels


def write(root: Path, split: str, labels: list[float], dtype: str = "u1", **changed: object) -> Path:
    path = root / f"{split}_32x32.mat"
    content = {"X": images(len(labels)), "y": np.array(labels, dtype)[:, None], **changed}
    savemat(path, {name: value for name, value in content.items() if value is not None}, do_compression=True)
    return path


def refusal(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        SVHN(root, split=split).open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["u1", "f8"])
def test_label_10_is_the_digit_0(tmp_path: Path, dtype: str) -> None:
    write(tmp_path, "train", [10, 1, 9], dtype)
    reader = SVHN(tmp_path)
    table = reader.open()
    assert [reader.classes("label")[label] for label in table.labels()] == ["0", "1", "9"]
    assert table.labels().dtype == np.int32
    assert table[0].annotations == {"label": 0}
    assert reader.classes("mask") == ()


def test_images_stand_upright(tmp_path: Path) -> None:
    write(tmp_path, "test", [1, 2, 3])
    table = SVHN(tmp_path, split="test").open()
    assert table[2].image.shape == (3, 32, 32)
    assert table[2].image[:, 5, 7].tolist() == [5, 7, 2]
    assert table.name(2) == "test_32x32/00002"
    assert table.made_of(1, "label") == (np.ascontiguousarray(images(3).transpose(3, 2, 0, 1)[1]).tobytes(), b"2")


def test_the_extra_images_follow_the_others(tmp_path: Path) -> None:
    write(tmp_path, "train", [1, 2])
    assert "looked for 'extra_32x32.mat'" in refusal(tmp_path, "train+extra")
    write(tmp_path, "extra", [3, 10, 5])
    table = SVHN(tmp_path, split="train+extra").open()
    assert table.labels().tolist() == [1, 2, 3, 0, 5]
    assert [table.name(row) for row in (1, 2)] == ["train_32x32/00001", "extra_32x32/00000"]
    assert [int(table[row].image[2, 0, 0]) for row in range(5)] == [0, 1, 0, 1, 2]
    assert len(SVHN(tmp_path, split="extra").open()) == 3


@pytest.mark.parametrize(
    ("labels", "changed", "expected"),
    [
        ([0, 1], {}, "has the label 0, but whole numbers from 1 to 10"),
        ([1, 11], {}, "has the label 11, but"),
        ([1, 2], {"y": np.array([[1.5], [2]])}, "has the label 1.5, but"),
        ([1, 2], {"y": np.array([[np.nan], [np.inf]])}, "has the label nan, but"),
        ([1, 2], {"y": np.array([[1]])}, r"and y as \[1, 1\], but uint8 \[32, 32, 3, n\]"),
        ([1, 2], {"y": None}, r"and y as \[\], but"),
        ([1, 2], {"X": None}, r"holds X as nothing \[\]"),
        ([1, 2], {"X": images(2).astype(float)}, r"holds X as double \[32, 32, 3, 2\]"),
        ([1, 2], {"X": images(2)[:, :31]}, r"holds X as uint8 \[32, 31, 3, 2\]"),
    ],
)
def test_other_contents_are_refused(
    tmp_path: Path, labels: list[float], changed: dict[str, object], expected: str
) -> None:
    write(tmp_path, "train", labels, **changed)
    with pytest.raises(DataError, match=expected):
        SVHN(tmp_path).open()


def test_too_many_images_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "train", [1, 2, 3])
    monkeypatch.setattr("ssmtl.datasets.svhn._MOST_IMAGES", 2)
    monkeypatch.setattr("ssmtl.datasets.svhn.loadmat", None)
    assert "with at most 2 images" in refusal(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    assert "of version 7.3 (HDF5), but version 5 was expected" in refusal(tmp_path)
    whole = write(tmp_path, "train", [1, 2]).read_bytes()
    for length in (0, 20, 128, 300, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        assert "train_32x32.mat" in refusal(tmp_path)
    path.write_bytes(whole[:200] + bytes(50) + whole[250:])
    assert "train_32x32.mat" in refusal(tmp_path)
    path.write_text("<html>404")
    assert "is no MATLAB file, or damaged" in refusal(tmp_path)
