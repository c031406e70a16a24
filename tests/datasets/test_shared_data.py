"""The plain folder forms on real films, where a checkout has them beside it."""

from pathlib import Path

import numpy as np
import pytest

from ssmtl.datasets.folders import ClassFolders, MaskFolder

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real films are not beside this checkout")


def test_the_diagnosis_films_are_counted_and_share_no_patient() -> None:
    folder = DATA / "cxr/classification"
    train, test = (ClassFolders(folder, split=split, holdout=0).open() for split in ("train", "test"))
    assert np.bincount(train.labels()).tolist() == [400, 400]
    assert np.bincount(test.labels()).tolist() == [100, 100]
    assert (len(set(train.patients())), len(set(test.patients()))) == (520, 162)
    assert not set(train.patients()) & set(test.patients())


def test_the_held_out_films_are_a_tenth_of_each_class_of_other_patients() -> None:
    folder = DATA / "cxr/classification"
    train, val = (ClassFolders(folder, split=split).open() for split in ("train", "val"))
    assert np.bincount(train.labels()).tolist() == [360, 360]
    assert np.bincount(val.labels()).tolist() == [40, 40]
    assert not set(train.patients()) & set(val.patients())


def test_the_lung_films_follow_their_lists() -> None:
    folder = DATA / "cxr/segmentation"
    tables = {split: MaskFolder(folder, split=split, canvas=(64, 64)).open() for split in ("train", "val", "test")}
    assert {split: len(table) for split, table in tables.items()} == {"train": 173, "val": 24, "test": 50}
    sample = tables["val"][0]
    assert sample.source_size == (256, 256)
    assert set(np.unique(sample.annotations["mask"])) == {0, 1}
    assert 0.1 < sample.annotations["mask"].mean() < 0.5
    assert sample.image.std() > 20


def test_the_other_hospitals_are_counted() -> None:
    train, test = (
        ClassFolders(DATA / "cxr_cross/classification", split=split, holdout=0).open() for split in ("train", "test")
    )
    assert np.bincount(train.labels()).tolist() == [70, 70]
    assert np.bincount(test.labels()).tolist() == [20, 20]
    assert train.patients() is None
    montgomery = MaskFolder(DATA / "cxr_cross/montgomery", split="all", canvas=(64, 64)).open()
    assert len(montgomery) == 138
    assert set(np.unique(montgomery[0].annotations["mask"])) == {0, 1}
