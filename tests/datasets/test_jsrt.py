from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssmtl.datasets.jsrt import JSRT
from ssmtl.errors import DataError

Touch = Callable[[Path, list[str]], None]
SIDES = ("left lung", "right lung")
NAMES = [f"JPCLN{n:03}" for n in range(1, 155)] + [f"JPCNN{n:03}" for n in range(1, 94)]


def mask_names(stem: str) -> list[str]:
    fold = 1 if int(stem[-3:]) % 2 else 2
    return [f"scratch/fold{fold}/masks/{side}/{stem}.gif" for side in (*SIDES, "heart", "left clavicle")]


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real-size film a fold; its quadrants hold 0, 258, 2048 and 4095, its lungs are two boxes."""
    root = tmp_path_factory.mktemp("jsrt")
    film = np.zeros((2048, 2048), dtype=">u2")
    film[:1024, 1024:], film[1024:, :1024], film[1024:, 1024:] = 258, 2048, 4095
    boxes = {
        "left lung": np.s_[200:800, 600:900],
        "right lung": np.s_[300:700, 100:400],
        "heart": np.s_[0:1024, 0:1024],
    }
    for stem in ("JPCLN001", "JPCNN002"):
        (root / f"{stem}.IMG").write_bytes(film.tobytes())
        for name in mask_names(stem)[:3]:
            mask = np.zeros((1024, 1024), np.uint8)
            mask[boxes[Path(name).parent.name]] = 255
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / name)
    return root


@pytest.fixture
def full_set(tmp_path: Path, touch: Touch) -> Path:
    """All 247 names; the files are empty, because `open` looks at names only."""
    touch(tmp_path, [f"All247images/{stem}.IMG" for stem in NAMES])
    touch(tmp_path, [name for stem in NAMES for name in mask_names(stem)])
    return tmp_path


def test_films_are_inverted_and_scaled_and_lungs_united(films: Path) -> None:
    sample = JSRT(films, split="test", canvas=(2048, 2048)).open()[0]
    assert sample.name == "JPCNN002.IMG"
    assert sample.size == sample.source_size == (2048, 2048)
    # 255 * (4095 - v) / 4095 for v = 0, 258, 2048, 4095
    corners = sample.image[0, [500, 500, 1500, 1500], [500, 1500, 500, 1500]]
    assert corners.tolist() == [255, 239, 127, 0]
    mask = sample.annotations["mask"]
    assert mask.sum() == 4 * (600 * 300 + 400 * 300)
    assert mask[2 * 799, 2 * 899] == mask[2 * 300, 2 * 100] == 1
    assert mask[0, 0] == mask[2 * 500, 2 * 500] == 0  # the heart is no lung


def test_the_canvas_keeps_the_proportion_of_lung(films: Path) -> None:
    sample = JSRT(films, split="train", holdout=0, canvas=(64, 64)).open()[0]
    assert sample.image.shape == (1, 64, 64)
    assert sample.annotations["mask"].mean() == pytest.approx((600 * 300 + 400 * 300) / 1024**2, abs=0.01)


def test_the_folds_give_111_13_and_123_films(full_set: Path) -> None:
    names = {}
    for split in ("train", "val", "test", "all"):
        table = JSRT(full_set, split=split).open()
        names[split] = {Path(table.name(row)).stem for row in range(len(table))}
        assert len(names[split]) == len(table)
        assert table.annotated("mask").all()
        assert set(table.patients()) == names[split]
    assert {split: len(found) for split, found in names.items()} == {"train": 111, "val": 13, "test": 123, "all": 247}
    assert names["train"] | names["val"] == {stem for stem in NAMES if int(stem[-3:]) % 2}
    assert not names["train"] & names["val"]
    assert sum(stem.startswith("JPCLN") for stem in names["val"]) == 8  # 7.7 of 77 with a nodule, 4.7 of 47 without


def test_a_film_without_both_masks_is_refused(full_set: Path) -> None:
    (full_set / "scratch/fold2/masks/right lung/JPCNN002.gif").unlink()
    with pytest.raises(DataError, match="the film JPCNN002 has no mask of both lungs in fold1 or fold2 of"):
        JSRT(full_set, split="train").open()


def test_a_film_of_wrong_size_is_refused_by_name_and_bytes(full_set: Path) -> None:
    (full_set / "All247images/JPCLN001.IMG").write_bytes(b"\0" * 1000)
    table = JSRT(full_set, split="train", holdout=0).open()
    with pytest.raises(DataError, match=r"JPCLN001\.IMG has 1000 bytes, but 8388608 were expected"):
        table[0]


@pytest.mark.parametrize("size", [(1000, 1000), (1024, 512)])
def test_a_mask_that_is_no_divisor_of_its_film_is_refused(films: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "JPCNN002.IMG").symlink_to(tmp_path / "film")
    (tmp_path / "film").hardlink_to(films / "JPCNN002.IMG")
    for name in (*mask_names("JPCNN002")[:2], *mask_names("JPCNN001")[:2]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size[::-1]).save(tmp_path / name)
    with pytest.raises(DataError, match=rf"is {size[1]}x{size[0]} pixels, but its image JPCNN002\.IMG is 2048x2048"):
        JSRT(tmp_path, split="test").open()[0]


def test_missing_parts_are_named(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, ["JPCLN001.png"])
    with pytest.raises(DataError, match=r"JSRT looked for \.IMG films in"):
        JSRT(tmp_path).open()
    touch(tmp_path, ["JPCLN001.IMG"])
    with pytest.raises(DataError, match="JSRT looked for 'scratch/fold1/masks' or"):
        JSRT(tmp_path).open()
    touch(tmp_path, [*mask_names("JPCLN001"), *mask_names("JPCLN002")])
    with pytest.raises(DataError, match="has no film of fold 2, which split='test' needs"):
        JSRT(tmp_path, split="test").open()
