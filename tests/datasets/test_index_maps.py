from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssmtl.datasets.index_maps import ClassMap, decode_ids
from ssmtl.errors import DataError

Write = Callable[..., Path]


def test_values_become_class_indices(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", np.array([[7, 8], [0, 255]], np.uint8))
    assert ClassMap.of({7: 0, 8: 1, 0: 255, 255: 255})(path).tolist() == [[0, 1], [255, 255]]


def test_a_palette_says_nothing(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 255]], np.uint8), mode="P")
    image.putpalette([128, 0, 0, 0, 128, 0, 128, 0, 0] + [9] * (3 * 253))  # two values of one color
    image.save(tmp_path / "a.png")
    assert ClassMap.plain(3, 255)(tmp_path / "a.png").tolist() == [[0, 1, 2, 255]]


def test_unknown_values_are_named(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", np.array([[0, 1, 2, 3, 4, 11, 200]], np.uint8))
    with pytest.raises(DataError, match=r"a\.png has the unknown value 4, 200, but only 0\.\.3, 11 mean something"):
        ClassMap.plain(4, 11)(path)
    with pytest.raises(DataError, match=r"unknown value 1, 2, 3, 4, \.\.\., but only 0, 255 mean"):
        ClassMap.plain(1, 255)(path)


def test_colors_are_no_numbers(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.png has pixels of mode RGB, but a map of numbers was expected \(8-bit"):
        ClassMap.plain(1)(path)
    with pytest.raises(DataError, match=r"mode RGB, but a map of numbers was expected \(16-bit gray\)"):
        decode_ids(path)


def test_instance_ids_keep_their_16_bits(tmp_path: Path) -> None:
    ids = np.array([[7, 26001], [33012, 65535]], np.uint16)
    Image.fromarray(ids).save(tmp_path / "a.png")
    assert decode_ids(tmp_path / "a.png").tolist() == ids.tolist()
    with pytest.raises(DataError, match="has 16-bit pixels"):
        ClassMap.plain(8)(tmp_path / "a.png")
    Image.fromarray(ids.astype(np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png has pixels of mode L, .* \(16-bit gray\)"):
        decode_ids(tmp_path / "b.png")


def test_a_map_that_is_cut_off_is_refused(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.png is damaged or truncated"):
        ClassMap.plain(3)(path)
