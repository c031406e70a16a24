"""Generators of small folders with the real layouts and known pixel values."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImage = Callable[..., Path]


def write_image(
    path: Path, pixels: int | np.ndarray = 100, size: tuple[int, int] = (12, 16), **options: object
) -> Path:
    """Write a gray image of one level and (height, width), or an array; the ending decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.full(size, pixels, dtype=np.uint8) if isinstance(pixels, int) else pixels
    Image.fromarray(levels).save(path, **options)
    return path


def touch(root: Path, names: Iterable[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(header), *map(list, rows)])


@pytest.fixture(name="write_image")
def _write_image() -> WriteImage:
    return write_image


@pytest.fixture(name="touch")
def _touch() -> Callable[[Path, Iterable[str]], None]:
    return touch


@pytest.fixture(name="write_csv")
def _write_csv() -> Callable[..., None]:
    return write_csv


@pytest.fixture
def chex_kaggle(tmp_path: Path) -> Path:
    """The Kaggle form with its litter: a second copy inside, __MACOSX and .DS_Store."""
    base = tmp_path / "chest_xray"
    normal = ["IM-0115-0001.jpeg", "IM-0115-0002.jpeg", "NORMAL2-IM-0381-0001.jpeg", "IM-0117-0001.jpeg"]
    sick = ["person1_bacteria_1.jpeg", "person1_virus_6.jpeg", "person2_bacteria_3.jpeg", "person3_virus_9.jpeg"]
    for name in normal:
        write_image(base / "train/NORMAL" / name, 40)
    for name in sick:
        write_image(base / "train/PNEUMONIA" / name, 80)
    for split in ("val", "test"):
        write_image(base / split / "NORMAL/NORMAL2-IM-1427-0001.jpeg", 40)
        write_image(base / split / "PNEUMONIA/person1946_bacteria_4874.jpeg", 80)
    touch(
        tmp_path,
        [
            "chest_xray/chest_xray/train/NORMAL/IM-0115-0001.jpeg",
            "chest_xray/__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
            "chest_xray/train/.DS_Store",
            "chest_xray/train/NORMAL/.DS_Store",
            "chest_xray/train/__MACOSX/._x.jpeg",
        ],
    )
    return tmp_path


@pytest.fixture
def montgomery(tmp_path: Path) -> Path:
    """Three films of 20x24; the lungs are columns 2..7 and 14..19 of rows 5..14."""
    left, right = np.zeros((20, 24), np.uint8), np.zeros((20, 24), np.uint8)
    left[5:15, 14:20], right[5:15, 2:8] = 255, 255
    for name in ("MCUCXR_0001_0.png", "MCUCXR_0002_0.png", "MCUCXR_0104_1.png"):
        write_image(tmp_path / "MontgomerySet/CXR_png" / name, 90, (20, 24))
        write_image(tmp_path / "MontgomerySet/ManualMask/leftMask" / name, left)
        write_image(tmp_path / "MontgomerySet/ManualMask/rightMask" / name, right)
    touch(tmp_path, ["MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt"])
    return tmp_path


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Ten images a class for training and two for testing, level 10 NORMAL and 200 PNEUMONIA, two films a patient."""
    rows = []
    for split, count in (("train", 10), ("test", 2)):
        for label, level in (("NORMAL", 10), ("PNEUMONIA", 200)):
            for number in range(count):
                name = f"{split}/{label}/{label[0]}{split}{number:02}.png"
                write_image(tmp_path / name, level)
                rows.append((name, split, label, f"{label[0]}{split}{number // 2}", "source.png"))
    write_csv(tmp_path / "labels.csv", ("path", "split", "label", "patient_id", "source_file"), rows)
    return tmp_path


@pytest.fixture
def mask_folder(tmp_path: Path) -> Path:
    """Six images of 12x16 with masks whose left half is foreground, and lists of 3, 1 and 2."""
    mask = np.zeros((12, 16), np.uint8)
    mask[:, :8] = 255
    for number in range(6):
        write_image(tmp_path / f"images/f{number}.jpg", 60 + number)
        write_image(tmp_path / f"masks/f{number}.png", mask)
    for split, stems in (("train", "f0\nf1\nf2\n"), ("val", "f3\n"), ("test", "f4\n\nf5")):
        (tmp_path / f"{split}.txt").write_text(stems)
    return tmp_path
