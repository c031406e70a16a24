from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ssmtl.datasets.nih import NIHChestXray
from ssmtl.errors import DataError

Touch = Callable[[Path, list[str]], None]
HEADER = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "View Position")


def write_table(root: Path, write_csv: Callable[..., None], findings: list[str]) -> list[str]:
    """Write a table in which two films in a row belong to one patient; return the file names."""
    names = [f"{row // 2:08}_{row % 2:03}.png" for row in range(len(findings))]
    rows = [
        (name, found, row % 2, row // 2, 58, "PA")
        for row, (name, found) in enumerate(zip(names, findings, strict=True))
    ]
    write_csv(root / "Data_Entry_2017.csv", HEADER, rows)
    return names


@pytest.fixture
def nih(tmp_path: Path, write_csv: Callable[..., None]) -> Path:
    """Six films in two archives, the last with an alpha channel."""
    names = write_table(
        tmp_path, write_csv,
        ["No Finding", "Pneumonia", "Effusion|Pneumonia", "Mass|Nodule", "No Finding", "No Finding"],
    )  # fmt: skip
    for row, name in enumerate(names):
        path = tmp_path / ("images_001" if row < 3 else "images_012") / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGBA", (8, 8), (90, 90, 90, 255)) if row == 5 else Image.new("L", (8, 8), 10 * row)
        image.save(path)
    return tmp_path


def test_findings_become_labels_and_others_stay_unannotated(nih: Path) -> None:
    table = NIHChestXray(nih, subset="all", canvas=(8, 8)).open()
    assert table.labels().tolist() == [0, 1, 1, -1, 0, 0]
    assert table.annotated("label").tolist() == [True, True, True, False, True, True]
    assert table.patients() == ("0", "0", "1", "1", "2", "2")
    assert table.name(0) == "images_001/images/00000000_000.png"
    assert table.name(5) == "images_012/images/00000002_001.png"
    assert table[2].annotations == {"label": 1}
    assert table[3].annotations == {}
    assert (table[2].image == 20).all()


def test_films_with_an_alpha_channel_are_converted(nih: Path) -> None:
    sample = NIHChestXray(nih, subset="all", canvas=(8, 8)).open()[5]
    assert sample.image.shape == (1, 8, 8)
    assert (sample.image == 90).all()
    with pytest.raises(DataError, match="has transparency"):
        NIHChestXray(nih, subset="all", alpha="refuse").open()[5]


def test_films_may_lie_in_one_folder(nih: Path) -> None:
    (nih / "images").mkdir()
    for path in nih.glob("images_*/images/*.png"):
        path.rename(nih / "images" / path.name)
    assert NIHChestXray(nih, subset="all").open().name(4) == "images/00000002_000.png"


def test_the_study_takes_every_pneumonia_film_and_2754_normal_ones(
    tmp_path: Path, touch: Touch, write_csv: Callable[..., None]
) -> None:
    findings = ["No Finding", "Pneumonia", "Mass", "Edema|Pneumonia|Mass", "No Finding", "No Finding"] * 1000
    names = write_table(tmp_path, write_csv, findings)
    touch(tmp_path, [f"images/{name}" for name in names])
    table = NIHChestXray(tmp_path).open()
    assert (table.labels() == 1).sum() == 2000
    assert (table.labels() == 0).sum() == 2754
    assert len(table) == 4754
    rows = [table.name(row) for row in range(len(table))]
    assert rows == sorted(set(rows))
    again, other = NIHChestXray(tmp_path).open(), NIHChestXray(tmp_path, seed=1).open()
    assert rows == [again.name(row) for row in range(len(again))]
    assert rows != [other.name(row) for row in range(len(other))]


def test_the_study_needs_only_its_own_films(nih: Path) -> None:
    (nih / "images_012/images/00000001_001.png").unlink()  # Mass|Nodule
    assert len(NIHChestXray(nih, normals=3).open()) == 5
    with pytest.raises(DataError, match=r"1 of 6 films are missing, such as 00000001_001\.png: searched images/"):
        NIHChestXray(nih, subset="all").open()


def test_official_lists_split_by_patient(nih: Path) -> None:
    (nih / "train_val_list.txt").write_text("\n".join(f"{p:08}_{f:03}.png" for p in (0, 1) for f in (0, 1)))
    (nih / "test_list.txt").write_text("00000002_001.png\n00000002_000.png\n")
    assert NIHChestXray(nih, split="test", subset="all").open().patients() == ("2", "2")
    assert len(NIHChestXray(nih, split="train", subset="all", holdout=0).open()) == 4
    assert len(NIHChestXray(nih, split="test", normals=3).open()) == 2
    (nih / "test_list.txt").write_text("00000009_000.png\n")
    with pytest.raises(DataError, match=r"test_list\.txt line 1 names '00000009_000\.png', which the table lacks"):
        NIHChestXray(nih, split="test", subset="all").open()
    (nih / "test_list.txt").unlink()
    with pytest.raises(DataError, match=r"test_list\.txt is missing, which split='test' needs"):
        NIHChestXray(nih, split="test", subset="all").open()


def test_train_and_val_of_the_list_share_no_patient(
    tmp_path: Path, touch: Touch, write_csv: Callable[..., None]
) -> None:
    names = write_table(
        tmp_path, write_csv, ["No Finding", "No Finding", "Pneumonia", "Pneumonia", "Mass", "Mass"] * 10
    )
    touch(tmp_path, [f"images/{name}" for name in names])
    (tmp_path / "train_val_list.txt").write_text("\n".join(names))
    train, val = (NIHChestXray(tmp_path, split=split, subset="all").open() for split in ("train", "val"))
    assert sorted(val.labels().tolist()) == [-1, -1, 0, 0, 1, 1]
    assert len(train) == 54
    assert not set(train.patients()) & set(val.patients())


def test_an_unknown_finding_is_refused_with_the_nearest(nih: Path) -> None:
    path = nih / "Data_Entry_2017.csv"
    path.write_text(path.read_text().replace("Effusion|Pneumonia", "Effusion|Pneumonai"))
    with pytest.raises(DataError, match=r"line 4 has the unknown finding 'Pneumonai'.*; did you mean 'Pneumonia'\?"):
        NIHChestXray(nih).open()


def test_a_wrong_table_is_refused(nih: Path) -> None:
    path = nih / "Data_Entry_2017.csv"
    with pytest.raises(DataError, match="subset='study' draws 2754 films without finding, but the table has 3"):
        NIHChestXray(nih).open()
    text = path.read_text()
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(DataError, match="names no film, or one film twice"):
        NIHChestXray(nih).open()
    path.write_text(text.replace("Finding Labels", "Findings"))
    with pytest.raises(DataError, match="has no column 'Finding Labels'"):
        NIHChestXray(nih).open()
    path.unlink()
    with pytest.raises(DataError, match=r"found no Data_Entry_2017\.csv or Data_Entry_2017_v2020\.csv in"):
        NIHChestXray(nih).open()
