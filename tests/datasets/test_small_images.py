"""Which reader reads what: files in each of their forms, or phantoms, with images held out by class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import write_cifar, write_svhn

from ssmtl.datasets.base import Reader
from ssmtl.datasets.cifar import CIFAR10
from ssmtl.datasets.cifar_names import CIFAR10_NAMES
from ssmtl.datasets.shapes_phantom import FIGURES, TEXTURES
from ssmtl.datasets.small_images import ANIMALS, HELD_OUT, TRAINING, VEHICLES, SmallImages, small_images
from ssmtl.errors import DataError


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifar(tmp_path_factory.mktemp("cifar"))


@pytest.fixture(scope="module")
def svhn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_svhn(tmp_path_factory.mktemp("svhn"))


def names(reader: Reader) -> set[str]:
    table = reader.open()
    return {table.name(row) for row in range(len(table))}


def per_class(reader: Reader) -> list[int]:
    labels = reader.open().labels()
    assert labels is not None
    return np.bincount(labels).tolist()


def test_held_out_images_are_the_rest_of_the_training_set(cifar: Path) -> None:
    images = small_images(cifar)
    assert per_class(images.validation) == [HELD_OUT] * 10
    assert per_class(images.train) == [10] * 10
    assert not names(images.train) & names(images.validation)
    assert names(images.train) | names(images.validation) == names(CIFAR10(cifar))
    assert names(images.test) == names(CIFAR10(cifar, split="test"))


def test_families_are_all_classes_of_a_set() -> None:
    assert sorted((*ANIMALS, *VEHICLES)) == sorted(CIFAR10_NAMES)
    assert [CIFAR10_NAMES.index(name) for name in ANIMALS] == [2, 3, 4, 5, 6, 7]
    assert [CIFAR10_NAMES.index(name) for name in VEHICLES] == [0, 1, 8, 9]
    phantoms = small_images(None)
    assert (phantoms.own, phantoms.foreign) == (FIGURES, TEXTURES)
    assert sorted((*phantoms.own, *phantoms.foreign)) == sorted(phantoms.classes)


def test_phantoms_need_no_file() -> None:
    images = small_images(None, size=16)
    assert (images.name, images.original, images.flip) == ("phantoms", False, True)
    assert [len(reader.open()) for reader in (images.train, images.validation, images.test)] == [TRAINING, 200, 1000]
    together = [names(reader) for reader in (images.train, images.validation, images.test)]
    assert len(set.union(*together)) == TRAINING + 1200
    assert images.train.canvas == (16, 16)


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-py"])
def test_official_batches_are_those_of_the_papers(cifar: Path, inside: str) -> None:
    images = small_images(cifar / inside)
    assert (images.name, images.original, images.flip) == ("CIFAR-10", True, True)
    assert (images.own, images.foreign, images.classes) == (ANIMALS, VEHICLES, CIFAR10_NAMES)
    assert not small_images(cifar / inside, size=16).original


def test_jpegs_have_other_pixels(tmp_path: Path) -> None:
    for split, count in (("train", HELD_OUT + 1), ("test", 1)):
        for name in CIFAR10_NAMES:
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / split / name / f"{number:04}.jpg")
    images = small_images(tmp_path)
    assert (images.name, images.original) == ("CIFAR-10", False)
    assert (per_class(images.train), per_class(images.test)) == ([1] * 10, [1] * 10)


def test_digits_are_never_mirrored(svhn: Path) -> None:
    images = small_images(svhn, "svhn")
    assert (images.name, images.original, images.flip) == ("SVHN", True, False)
    assert (images.own, images.foreign) == ((), ())
    assert (per_class(images.train), len(images.test.open())) == ([10] * 10, 20)


@pytest.mark.parametrize(
    ("data", "dataset", "says"),
    [
        (Path("nowhere"), "cifar10", "the data folder nowhere does not exist; check --data"),
        (Path("nowhere"), "svhn", "the data folder nowhere does not exist"),
        (None, "svhn", "is read from files; name their folder with --data"),
    ],
)
def test_no_folder_is_one_sentence(data: Path | None, dataset: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        small_images(data, dataset)  # type: ignore[arg-type]


def test_too_few_images_to_hold_some_out(tmp_path: Path) -> None:
    few: SmallImages = small_images(write_cifar(tmp_path, per_class=HELD_OUT - 1))
    with pytest.raises(DataError, match=f"has {HELD_OUT - 1} row.* of the class 'airplane'.* 0 to {HELD_OUT} of every"):
        few.validation.open()
