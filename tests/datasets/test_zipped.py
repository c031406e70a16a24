import io
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssmtl.datasets.zipped import ZippedTable, open_zip
from ssmtl.errors import DataError

LIMIT = 64 * 1024


def picture(mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 0).save(buffer, "JPEG")
    return buffer.getvalue()


def write(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in {"train/a/1.jpg": picture(), "train/b/1.jpg": picture(), **entries}.items():
            archive.writestr(name, content)
    return path


def opened(path: Path) -> ZippedTable:
    return open_zip(path, "train", ("a", "b"), 8, (8, 8), 3)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("../train/a/2.jpg", picture(), "leads out of its folder"),
        ("train/a/../../../2.jpg", picture(), "leads out of its folder"),
        ("/train/a/2.jpg", picture(), "leads out of its folder"),
        ("train\\a\\2.jpg", picture(), "leads out of its folder"),
        ("train/a/2.jpg", bytes(LIMIT + 1), f"unpacks to more than its images can have .*: {LIMIT + 1} bytes"),
        ("train/bb/2.jpg", picture(), "train/<class>/<name> was expected; take it out; did you mean 'b'"),
        ("train/a/deep/2.jpg", picture(), "train/<class>/<name> was expected"),
        ("train/2.jpg", picture(), "train/<class>/<name> was expected"),
    ],
)
def test_what_no_such_archive_holds_is_refused(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = write(tmp_path / "x.zip", {})
    assert len(opened(path)) == 2
    with pytest.raises(DataError, match=expected):
        opened(write(path, {name: content}))


def test_an_entry_can_not_unpack_to_more_than_it_claims(tmp_path: Path) -> None:
    claimed = picture()
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = stream.compress(claimed + bytes(20_000_000)) + stream.flush()
    assert len(bomb) < LIMIT
    path = tmp_path / "x.zip"
    name = b"train/a/1.jpg"
    sizes = struct.pack("<III", zlib.crc32(claimed), len(bomb), len(claimed))
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes + struct.pack("<HH", len(name), 0) + name
    entry = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 33) + sizes
    entry += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local) + len(bomb), 0)
    path.write_bytes(local + bomb + entry + end)
    tracemalloc.start()
    table = open_zip(path, "train", ("a",), 8, (8, 8), 3)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.content == claimed
    assert most < 2_000_000


def test_all_entries_together_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssmtl.datasets.zipped._MOST_IN_ALL", 2 * len(picture()))
    path = write(tmp_path / "x.zip", {})
    assert len(opened(path)) == 2
    assert "in all were expected" in refusal(write(path, {"train/b/2.jpg": picture()}))


def test_damage_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zip", {}, zipfile.ZIP_STORED)
    whole = path.read_bytes()
    place = whole.index(picture()) + 30
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert "damaged at 'train/a/1.jpg' (Bad CRC-32" in refusal(path)
    path.write_bytes(whole[: len(whole) // 2])
    assert "can't be read as a zip archive (File is not a zip file)" in refusal(path)
    path.write_bytes(b"")
    assert "can't be read as a zip archive" in refusal(path)


def test_rare_and_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zip", {}, zipfile.ZIP_LZMA)
    assert "'train/a/1.jpg' encrypted or packed by a rare method" in refusal(path)
    whole = bytearray(write(path, {}).read_bytes())
    directory = whole.index(b"PK\x01\x02")
    whole[directory + 8] |= 1
    path.write_bytes(whole)
    assert "'train/a/1.jpg' encrypted" in refusal(path)


def test_a_name_may_stand_once(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zip", {})
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        archive.writestr("train/a/1.jpg", picture())
    assert "has 'train/a/1.jpg' twice" in refusal(path)


def test_every_class_needs_an_image(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/train/a/1.jpg", picture())
        archive.writestr("train/b/1.jpg", picture())
    assert "has no image train/a/*, but every class needs some (a, b)" in refusal(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (picture(size=(9, 8)), "has 9x8 pixels of mode RGB, but 8x8 in RGB or gray"),
        (picture(size=(20_000, 2))[:LIMIT], "has 20000x2 pixels"),
        (picture("CMYK"), "has 8x8 pixels of mode CMYK"),
        (picture()[:-40], "is no JPEG or PNG, or damaged"),
        (b"", "is no JPEG or PNG, or damaged"),
        (b"GIF89a" + bytes(40), "is no JPEG or PNG, or damaged"),
    ],
)
def test_pictures_of_another_kind_are_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    table = opened(write(tmp_path / "x.zip", {"train/b/1.jpg": content}))
    assert table[0].image.shape == (3, 8, 8)
    with pytest.raises(DataError, match=f"train/b/1.jpg in .*x.zip {expected}"):
        table[1]


def test_gray_pictures_fill_the_channels(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(buffer, "PNG")
    table = opened(write(tmp_path / "x.zip", {"train/b/0.png": buffer.getvalue()}))
    assert [table.name(row) for row in range(3)] == ["train/a/1.jpg", "train/b/0.png", "train/b/1.jpg"]
    assert (table[1].image == 77).all()
    assert table[1].image.shape == (3, 8, 8)
