import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ssmtl.datasets.chex import CheX, patient
from ssmtl.errors import DataError

Touch = Callable[[Path, list[str]], None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("person7_bacteria_24.jpeg", "person7"),
        ("person7_virus_3.jpeg", "person7"),
        ("person77_virus_3.jpeg", "person77"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0239-0001-0002.jpeg", "IM-0239"),
        ("NORMAL2-IM-0381-0001.jpeg", "NORMAL2-IM-0381"),
        ("BACTERIA-1008087-0001.jpeg", "1008087"),
        ("VIRUS-1008087-0002.jpeg", "1008087"),
        ("NORMAL-28501-0001.jpeg", "28501"),
        ("scan of 3.5.jpeg", "scan of 3.5"),
    ],
)
def test_patients_come_from_the_published_names(name: str, expected: str) -> None:
    assert patient(f"chest_xray/train/NORMAL/{name}") == expected


def test_the_kaggle_form_is_read_without_its_litter(chex_kaggle: Path) -> None:
    table = CheX(chex_kaggle, split="all", canvas=(8, 8)).open()
    assert table.labels().tolist() == [0] * 4 + [1] * 4 + [0, 1, 0, 1]
    assert table.name(0) == "chest_xray/train/NORMAL/IM-0115-0001.jpeg"
    assert table[0].annotations == {"label": 0}
    assert table[0].image.mean() == pytest.approx(40, abs=1)
    assert CheX(chex_kaggle).classes("label") == ("NORMAL", "PNEUMONIA")
    assert CheX(chex_kaggle).classes("mask") == ()


def test_train_and_val_share_the_training_folder_but_no_patient(chex_kaggle: Path) -> None:
    train, val = (CheX(chex_kaggle, split=split, holdout=0.25).open() for split in ("train", "val"))
    assert val.labels().tolist() == [0, 1]
    assert len(train) == 6
    assert all(val.name(row).startswith("chest_xray/train/") for row in range(2))
    assert not set(train.patients()) & set(val.patients())


def test_the_official_folders_can_be_had(chex_kaggle: Path) -> None:
    assert len(CheX(chex_kaggle, split="train", val="official").open()) == 8
    val = CheX(chex_kaggle, split="val", val="official").open()
    assert [val.name(row).split("/")[1] for row in range(2)] == ["val", "val"]


@pytest.mark.parametrize("inner", ["chest_xray", "chest_xray/chest_xray/chest_xray"])
def test_root_may_be_the_folder_itself_or_above_a_nested_one(chex_kaggle: Path, inner: str) -> None:
    if inner != "chest_xray":
        shutil.rmtree(chex_kaggle / "chest_xray/chest_xray")
        (chex_kaggle / "chest_xray").rename(chex_kaggle / "inner")
        (chex_kaggle / "chest_xray").mkdir()
        (chex_kaggle / "inner").rename(chex_kaggle / "chest_xray/chest_xray")
        assert CheX(chex_kaggle, split="test").open().name(0).startswith("chest_xray/chest_xray/test/NORMAL/")
    assert len(CheX(chex_kaggle / "chest_xray", split="test").open()) == 2


def test_the_mendeley_form_has_no_val(tmp_path: Path, touch: Touch) -> None:
    for split, first in (("train", 0), ("test", 100)):
        touch(tmp_path, [f"chest_xray/{split}/NORMAL/NORMAL-{n}-0001.jpeg" for n in range(first, first + 20)])
        touch(tmp_path, [f"chest_xray/{split}/PNEUMONIA/BACTERIA-{n}-0001.jpeg" for n in range(first + 50, first + 80)])
        touch(tmp_path, [f"chest_xray/{split}/PNEUMONIA/VIRUS-{n}-0002.jpeg" for n in range(first + 50, first + 60)])
    val = CheX(tmp_path, split="val").open()
    assert (val.labels() == 0).sum() == 2
    assert (val.labels() == 1).sum() == 4
    assert len(CheX(tmp_path, split="train").open()) == 54
    assert len(CheX(tmp_path, split="test").open()) == len(CheX(tmp_path, split="all").open()) / 2 == 60
    with pytest.raises(DataError, match=r"has no folder 'val', which split='val' needs; .* val='holdout'"):
        CheX(tmp_path, split="val", val="official").open()


def test_another_folder_is_refused(tmp_path: Path, touch: Touch) -> None:
    touch(tmp_path, ["images/a.jpeg"])
    with pytest.raises(DataError, match="CheX looked for 'train' or 'chest_xray/train' or"):
        CheX(tmp_path).open()
