import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssmtl.datasets.decode import decode_image, decode_mask, decode_raw
from ssmtl.errors import DataError

Write = Callable[..., Path]


def png(path: Path, *, width: int, height: int, depth: int, color: int, data: bytes) -> Path:
    """Write a PNG by hand, because Pillow can't write 16-bit color or a lying header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        decode_image(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", ["png", "bmp", "gif"])
def test_gray_levels_survive(write_image: Write, tmp_path: Path, ending: str) -> None:
    levels = np.arange(192, dtype=np.uint8).reshape(12, 16)
    image = decode_image(write_image(tmp_path / f"a.{ending}", levels)).convert("L")
    np.testing.assert_array_equal(np.asarray(image), levels)


def test_color_and_bilevel_files_become_rgb_and_gray(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), (10, 20, 30)).save(tmp_path / "rgb.png")
    Image.new("RGB", (3, 2), (10, 20, 30)).quantize(4).save(tmp_path / "palette.png")
    Image.new("1", (3, 2), 1).save(tmp_path / "bilevel.png")
    assert decode_image(tmp_path / "rgb.png").getpixel((0, 0)) == (10, 20, 30)
    assert decode_image(tmp_path / "palette.png").getpixel((0, 0)) == (10, 20, 30)
    assert decode_image(tmp_path / "bilevel.png").getpixel((0, 0)) == 255


def test_sixteen_bit_gray_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / "deep.png")
    assert "16-bit" in refusal(tmp_path / "deep.png")
    assert "8-bit PNG" in refusal(tmp_path / "deep.png")


def test_sixteen_bit_color_is_refused_although_pillow_would_truncate_it(tmp_path: Path) -> None:
    path = png(tmp_path / "deep.png", width=1, height=1, depth=16, color=2, data=b"\0" + b"\x12\x34" * 3)
    with Image.open(path) as image:
        assert image.mode == "RGB"
    assert "16-bit" in refusal(path)


@pytest.mark.parametrize(
    ("mode", "color"), [("RGBA", (200, 100, 50, 128)), ("LA", (200, 128)), ("RGBA", (9, 9, 9, 255))]
)
def test_alpha_is_refused_or_laid_over_black(tmp_path: Path, mode: str, color: tuple[int, ...]) -> None:
    path = tmp_path / "alpha.png"
    Image.new(mode, (2, 2), color).save(path)
    assert "alpha='over_black'" in refusal(path)
    first = np.asarray(decode_image(path, alpha="over_black"))[0, 0, 0]
    assert first == round(color[0] * color[-1] / 255)  # 200 * 128/255 = 100.39


def test_palette_transparency_counts_as_alpha(tmp_path: Path) -> None:
    Image.new("P", (2, 2), 0).save(tmp_path / "p.png", transparency=0)
    assert "transparency" in refusal(tmp_path / "p.png")


@pytest.mark.parametrize("ending", ["gif", "png"])
def test_animation_is_refused(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (0, 100, 200)]
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
    assert "animated (3 frames)" in refusal(tmp_path / f"a.{ending}")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.jpg")
    assert "mode CMYK" in refusal(tmp_path / "a.jpg")


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp"])
@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_truncated_files_are_refused(write_image: Write, tmp_path: Path, ending: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = write_image(tmp_path / f"a.{ending}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert "damaged or truncated" in refusal(path)


def test_a_damaged_png_is_refused(write_image: Write, tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "damaged or truncated" in refusal(path)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, side: int) -> None:
    path = png(tmp_path / "bomb.png", width=side, height=side, depth=8, color=0, data=b"\0")
    assert "decompression bomb" in refusal(path)


def test_a_png_without_pixels_is_refused(tmp_path: Path) -> None:
    path = png(tmp_path / "flat.png", width=0, height=4, depth=8, color=0, data=b"")
    assert "flat.png is" in refusal(path)


def test_other_files_are_refused_and_pickles_not_followed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "a.png").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "b.png").write_text("<svg/>")
    (tmp_path / "c.png").touch()
    assert "not a PNG, JPEG, BMP or GIF" in refusal(tmp_path / "a.png")
    assert "not a PNG, JPEG, BMP or GIF" in refusal(tmp_path / "b.png")
    assert "0 bytes" in refusal(tmp_path / "c.png")
    assert "missing" in refusal(tmp_path / "d.png")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("high", [1, 38, 255])
def test_masks_of_two_values_become_zero_and_one(write_image: Write, tmp_path: Path, high: int) -> None:
    levels = np.array([[0, high], [high, 0]], np.uint8)
    np.testing.assert_array_equal(decode_mask(write_image(tmp_path / "m.png", levels)), [[0, 1], [1, 0]])


def test_an_empty_mask_stays_empty(write_image: Write, tmp_path: Path) -> None:
    assert decode_mask(write_image(tmp_path / "m.png", 0)).sum() == 0


def test_a_soft_mask_is_refused_unless_a_threshold_is_given(write_image: Write, tmp_path: Path) -> None:
    path = write_image(tmp_path / "m.png", np.array([[0, 127], [128, 255]], np.uint8))
    with pytest.raises(DataError, match=r"gray levels 0, 127, 128, 255, .*mask_threshold"):
        decode_mask(path)
    np.testing.assert_array_equal(decode_mask(path, threshold=128), [[0, 0], [1, 1]])


def test_raw_films_are_big_endian_and_inverted(tmp_path: Path) -> None:
    path = tmp_path / "a.IMG"
    path.write_bytes(struct.pack(">4H", 0, 4095, 0x0102, 2048))
    # 255 * (4095 - v) / 4095 for v = 0, 4095, 258, 2048: 255, 0, 238.93, 127.47
    np.testing.assert_array_equal(np.asarray(decode_raw(path, (2, 2), 12)), [[255, 0], [239, 127]])


def test_raw_films_of_another_length_or_byte_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.IMG"
    path.write_bytes(b"\0" * 7)
    with pytest.raises(DataError, match=r"a\.IMG has 7 bytes, but 8 were expected"):
        decode_raw(path, (2, 2), 12)
    path.write_bytes(struct.pack("<4H", 16, 0, 0, 0))
    with pytest.raises(DataError, match="a pixel of 4096, but at most 4095"):
        decode_raw(path, (2, 2), 12)
