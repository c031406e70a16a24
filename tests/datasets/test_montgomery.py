from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssmtl.datasets.montgomery import Montgomery
from ssmtl.errors import DataError

Touch = Callable[[Path, list[str]], None]


def test_labels_come_from_the_names_and_lungs_are_united(montgomery: Path) -> None:
    reader = Montgomery(montgomery, canvas=(20, 24))
    table = reader.open()
    assert reader.classes("label") == ("NORMAL", "TB")
    assert reader.classes("mask") == ("background", "lung")
    assert table.labels().tolist() == [0, 0, 1]
    assert table.patients() == ("MCUCXR_0001_0", "MCUCXR_0002_0", "MCUCXR_0104_1")
    sample = table[2]
    expected = np.zeros((20, 24))
    expected[5:15, 2:8] = expected[5:15, 14:20] = 1
    np.testing.assert_array_equal(sample.annotations["mask"], expected)
    assert sample.annotations["label"] == 1
    assert (sample.image == 90).all()


def test_root_may_be_the_set_itself(montgomery: Path) -> None:
    assert len(Montgomery(montgomery / "MontgomerySet").open()) == 3


def test_thirty_five_films_are_drawn_by_seed(tmp_path: Path, touch: Touch) -> None:
    stems = [f"MCUCXR_{n:04}_{int(n > 80)}" for n in range(1, 139)]
    for folder in ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask"):
        touch(tmp_path, [f"{folder}/{stem}.png" for stem in stems])
    drawn = Montgomery(tmp_path, split="test35").open()
    assert len(Montgomery(tmp_path).open()) == 138
    assert len(set(drawn.patients())) == 35
    assert drawn.patients() == Montgomery(tmp_path, split="test35").open().patients()
    assert drawn.patients() != Montgomery(tmp_path, split="test35", seed=1).open().patients()
    assert [f"CXR_png/{stem}.png" for stem in drawn.patients()] == [drawn.name(row) for row in range(35)]
    for column, side in zip(drawn.columns.masks, ("leftMask", "rightMask"), strict=True):
        assert column.tolist() == [f"ManualMask/{side}/{stem}.png" for stem in drawn.patients()]


def test_what_is_missing_is_named(montgomery: Path, touch: Touch) -> None:
    with pytest.raises(DataError, match=r"split='test35' needs 35 films, .* has 3; use split='all'"):
        Montgomery(montgomery, split="test35").open()
    base = montgomery / "MontgomerySet"
    touch(base, ["CXR_png/film.png"])
    with pytest.raises(DataError, match=r"film\.png is not named like MCUCXR_0001_0\.png"):
        Montgomery(montgomery).open()
    (base / "CXR_png/film.png").unlink()
    (base / "ManualMask/rightMask/MCUCXR_0002_0.png").unlink()
    with pytest.raises(DataError, match=r"the film MCUCXR_0002_0\.png has no mask in .*ManualMask/rightMask"):
        Montgomery(montgomery).open()
    (base / "CXR_png").rename(base / "png")
    with pytest.raises(DataError, match="Montgomery looked for 'CXR_png' or 'MontgomerySet/CXR_png'"):
        Montgomery(montgomery).open()
