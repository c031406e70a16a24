import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssmtl.batch import Sample
from ssmtl.datasets.cached import CachedTable
from ssmtl.datasets.folders import ClassFolders


class Counting:
    """Four samples of 100 bytes of image and 100 of mask, counting how often each is decoded."""

    def __init__(self) -> None:
        self.decoded = [0] * 4

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> Sample:
        self.decoded[row] += 1
        mask = np.zeros((10, 10), np.uint8)
        return Sample(
            self.name(row), np.full((1, 10, 10), row, np.uint8), (10, 10), (10, 10), {"mask": mask, "label": 1}
        )

    def name(self, row: int) -> str:
        return f"row{row}"

    def annotated(self, kind: str) -> np.ndarray:
        return np.full(4, kind == "mask")

    def labels(self, kind: str = "label") -> np.ndarray:
        return np.array([1, 1, 1, 1], np.int32)

    def patients(self) -> tuple[str, ...]:
        return ("a", "a", "b", "b")


def test_each_row_is_decoded_once_until_the_limit() -> None:
    table = Counting()
    cached = CachedTable(table, limit_bytes=450)
    for _ in range(3):
        for row in range(4):
            sample = cached[row]
            assert sample.name == f"row{row}"
            assert (sample.image == row).all()
            assert sample.annotations["label"] == 1
    assert table.decoded == [1, 1, 3, 3]  # 200 bytes a sample: two fit into 450
    assert cached.held_bytes == 400


def test_writing_into_a_sample_leaves_the_cache_as_it_was() -> None:
    cached = CachedTable(Counting(), limit_bytes=10_000)
    for _ in range(3):
        sample = cached[2]
        assert (sample.image == 2).all()
        assert (sample.annotations["mask"] == 0).all()
        sample.image[:] = 99
        sample.annotations["mask"][:] = 99


def test_the_questions_go_to_the_table() -> None:
    cached = CachedTable(Counting(), limit_bytes=0)
    assert len(cached) == 4
    assert cached.name(3) == "row3"
    assert cached.annotated("mask").all()
    assert not cached.annotated("label").any()
    assert cached.labels().tolist() == [1, 1, 1, 1]
    assert cached.patients() == ("a", "a", "b", "b")


def test_pickling_leaves_the_memory_behind() -> None:
    cached = CachedTable(Counting(), limit_bytes=10_000)
    assert cached[0].name == "row0"
    copy = pickle.loads(pickle.dumps(cached))
    assert copy.held_bytes == 0
    assert (copy[0].image == cached[0].image).all()
    assert copy.table.decoded[0] == 2


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        CachedTable(Counting(), limit_bytes=-1)


def test_it_serves_files(class_folders: Path, write_image: Callable[..., Path]) -> None:
    cached = CachedTable(ClassFolders(class_folders, split="test", canvas=(8, 8)).open(), limit_bytes=10_000)
    before = cached[0].image
    write_image(class_folders / cached.name(0), 255)
    np.testing.assert_array_equal(cached[0].image, before)
