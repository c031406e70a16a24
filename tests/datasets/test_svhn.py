import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_array

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
        ([1, 2], {"y": np.array([[1]])}, r"and y as int64 \[1, 1\], but uint8 \[32, 32, 3, n\]"),
        ([1, 2], {"y": None}, r"and y as nothing \[\], but"),
        ([1, 2], {"X": None}, r"holds X as nothing \[\]"),
        ([1, 2], {"X": images(2).astype(float)}, r"holds X as double \[32, 32, 3, 2\]"),
        ([1, 2], {"y": csc_array(np.array([[1.0], [2.0]]))}, r"and y as sparse \[2, 1\], but"),
        ([1, 2], {"y": np.array([["a"], ["b"]])}, r"and y as char \[2, 1\], but"),
        ([1, 2], {"y": np.array([[{}], [1]], dtype=object)}, r"and y as cell \[2, 1\], but"),
        ([1, 2], {"y": np.array([[1j], [2j]])}, r"or damaged \(y as complex numbers\)"),
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
    assert "is no MATLAB file of version 5, or damaged" in refusal(tmp_path)


def plain(compressed: bool = False, **variables: object) -> bytes:
    """Return a file as it lies on disk."""
    file = io.BytesIO()
    savemat(file, variables, do_compression=compressed)
    return file.getvalue()


LABELS = np.array([[1], [2]], np.uint8)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["X y", "y X"])
def test_a_variable_that_is_there_twice_is_refused(tmp_path: Path, compressed: bool, order: str) -> None:
    """Readers differ in which one counts: the first, or the last."""
    good = {"X": images(2), "y": LABELS}
    whole = plain(compressed, **{name: good[name] for name in order.split()})
    (tmp_path / "train_32x32.mat").write_bytes(whole)
    assert SVHN(tmp_path).open().labels().tolist() == [1, 2]
    for name, other in (("X", np.zeros((3, 3))), ("y", np.zeros((3, 3)))):
        odd = plain(compressed, **{name: other})
        for both in (odd + whole[128:], whole + odd[128:]):
            (tmp_path / "train_32x32.mat").write_bytes(both)
            assert "each of X and y once was expected" in refusal(tmp_path)


def test_other_variables_do_no_harm(tmp_path: Path) -> None:
    extra = {"note": "a text", "cells": np.array([[{}], [1]], dtype=object), "z": np.array([1j])}
    (tmp_path / "train_32x32.mat").write_bytes(plain(**extra, X=images(2), y=LABELS))
    assert SVHN(tmp_path).open().labels().tolist() == [1, 2]


def big_endian(kind: int) -> bytes:
    """Return a file of a big-endian machine, written by hand: labels 1 and 10 of two images, as numbers of a type."""

    def element(kind: int, content: bytes) -> bytes:
        return np.array([kind, len(content)], ">u4").tobytes() + content + bytes(-len(content) % 8)

    def variable(name: bytes, shape: list[int], kind: int, content: bytes) -> bytes:
        flags, sides = np.array([9, 0], ">u4").tobytes(), np.array(shape, ">i4").tobytes()
        return element(14, element(6, flags) + element(5, sides) + element(1, name) + element(kind, content))

    pixels = images(2).tobytes(order="F")
    content = variable(b"X", [32, 32, 3, 2], 2, pixels) + variable(b"y", [2, 1], kind, bytes([1, 10]))
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + content


def test_bytes_in_the_other_order_are_read(tmp_path: Path) -> None:
    (tmp_path / "train_32x32.mat").write_bytes(big_endian(2))
    table = SVHN(tmp_path).open()
    assert table.labels().tolist() == [1, 0]
    assert (table[1].image == images(2)[..., 1].transpose(2, 0, 1)).all()


READ_ALL = """
import sys
from pathlib import Path
from ssmtl.datasets.svhn import SVHN
from ssmtl.errors import DataError
for number in range(int(sys.argv[2])):
    try:
        SVHN(Path(sys.argv[1]) / str(number)).open()
        print("read")
    except DataError as error:
        print(error)
"""


def outcomes(root: Path, files: list[bytes]) -> list[str]:
    """Read files in a process of its own, which must outlive them, and return what each is refused with."""
    for number, content in enumerate(files):
        (root / str(number)).mkdir()
        (root / str(number) / "train_32x32.mat").write_bytes(content)
    words = [sys.executable, "-W", "ignore", "-c", READ_ALL, str(root), str(len(files))]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    found = result.stdout.splitlines()
    assert len(found) == len(files)
    return found


def packed(whole: bytes, last: int) -> bytes:
    """Compress the variable that begins at `last`."""
    content = zlib.compress(whole[last:])
    return whole[:last] + np.array([15, len(content)], "<u4").tobytes() + content


def test_no_damaged_tag_ends_python(tmp_path: Path) -> None:
    """For numbers of types outside of its table, scipy ends the process that it runs in."""
    whole = plain(X=images(20), y=np.ones((20, 1), np.uint8))
    last, tag = whole.rindex(bytes([14, 0, 0, 0])), whole.rindex(bytes([2, 0, 0, 0, 20, 0, 0, 0]))
    crashed = whole[: tag + 1] + bytes([32]) + whole[tag + 2 :]
    few = plain(X=images(2), y=LABELS)
    damaged = [
        of[:place] + bytes([value]) + of[place + 1 :]
        for of in (whole, few)
        for place in (*range(128, 200), *range(len(of) - 64, len(of)))
        for value in (16, 255)
    ]
    found = outcomes(tmp_path, [whole, packed(whole, last), crashed, packed(crashed, last), big_endian(200), *damaged])
    assert found[:2] == ["read"] * 2
    for line, kind in zip(found[2:5], (8194, 8194, 200), strict=True):
        assert f"train_32x32.mat is no MATLAB file of version 5, or damaged (y as elements of type {kind})" in line
    refused = [line for line in found[5:] if line != "read"]
    assert all("train_32x32.mat" in line for line in refused)
    assert len(refused) > len(damaged) / 3
