from pathlib import Path

import numpy as np
import pytest
from old_pickles import pickled

from ssmtl.datasets.base import Reader
from ssmtl.datasets.imagenet32 import ImageNet32, imagenet_names
from ssmtl.errors import DataError


def batch(number: int) -> dict[str, object]:
    data = np.full((2, 3072), number, np.uint8)
    data[:, :1024] = np.arange(1024) % 256
    return {"data": data, "labels": [100 * number, 100 * number - 99], "mean": np.full(3072, 0.5)}


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    """Ten batches of two images; half of them as arrays, as in the newer download."""
    for number in range(1, 11):
        path = tmp_path / f"train_data_batch_{number}"
        if number % 2:
            pickled(path, batch(number), 2)
        else:
            np.savez(path, **batch(number))
    pickled(tmp_path / "val_data", {"data": np.zeros((3, 3072), np.uint8), "labels": [1, 1000, 500]})
    return tmp_path


def refusal(reader: ImageNet32) -> str:
    with pytest.raises(DataError) as caught:
        reader.open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_labels_are_counted_from_one(batches: Path) -> None:
    reader = ImageNet32(batches)
    table = reader.open()
    assert table.labels().tolist() == [
        99, 0, 199, 100, 299, 200, 399, 300, 499, 400, 599, 500, 699, 600, 799, 700, 899, 800, 999, 900,
    ]  # fmt: skip
    assert reader.classes("label")[0] == "class 0001"
    assert reader.classes("label")[table[18].annotations["label"]] == "class 1000"
    assert ImageNet32(batches, split="val").open().labels().tolist() == [0, 999, 499]
    assert reader.classes("mask") == ()


def test_batches_are_joined_in_the_order_of_their_numbers(batches: Path) -> None:
    table = ImageNet32(batches).open()
    assert [int(table[row].image[1, 0, 0]) for row in range(0, 20, 2)] == list(range(1, 11))
    assert table[2].image[0, 3, 5] == 3 * 32 + 5
    assert table.name(3) == "train_data_batch_2/00001"
    assert table.name(19) == "train_data_batch_10/00001"


def test_batches_may_lie_in_their_folder(tmp_path: Path) -> None:
    pickled(tmp_path / "Imagenet32_val/val_data", {"data": np.zeros((1, 3072), np.uint8), "labels": [7]})
    table = ImageNet32(tmp_path, split="val").open()
    assert (table.labels().tolist(), table.name(0)) == ([6], "val_data/00000")


def test_damaged_batches_are_refused(batches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd, even = batches / "train_data_batch_1", batches / "train_data_batch_2.npz"
    pickled(odd, {**batch(1), "labels": [0, 1]})
    assert "train_data_batch_1 has the label 0, but whole numbers from 1 to 1000" in refusal(ImageNet32(batches))
    pickled(odd, batch(1))
    np.savez(even, data=batch(2)["data"], labels=np.array([{}, {}], dtype=object))
    assert "holds objects, which are never loaded" in refusal(ImageNet32(batches))
    np.savez(even, data=batch(2)["data"])
    assert "train_data_batch_2.npz has no entry 'labels' (only 'data')" in refusal(ImageNet32(batches))
    np.savez(even, **batch(2))
    whole = even.read_bytes()
    even.write_bytes(whole[: len(whole) // 2])
    assert "train_data_batch_2.npz can't be read as arrays" in refusal(ImageNet32(batches))
    even.write_bytes(whole)
    monkeypatch.setattr("ssmtl.datasets.imagenet32.MOST_BYTES", 2 * 3072)
    assert "unpacks to 24704 bytes, but at most 6144" in refusal(ImageNet32(batches))
    even.unlink()
    assert "looked for 'train_data_batch_2' or 'train_data_batch_2.npz'" in refusal(ImageNet32(batches))


def test_names_come_from_the_list_of_the_devkit(tmp_path: Path) -> None:
    path = tmp_path / "map_clsloc.txt"
    words = {3: "kit_fox", 10: "crane", 20: "Crane"}
    lines = [f"n{number:08} {number} {words.get(number, f'thing_{number}')}" for number in range(1000, 0, -1)]
    path.write_text("\n".join(lines))
    names = imagenet_names(path)
    assert names[2] == "kit fox"
    assert (names[9], names[19]) == ("crane n00000010", "Crane n00000020")
    reader = ImageNet32(tmp_path, names=names)
    assert reader.classes("label")[999] == "thing 1000"
    assert Reader.model_validate_json(reader.model_dump_json()) == reader
    path.write_text("\n".join(lines[1:]))
    with pytest.raises(DataError, match="names 999 classes, but 1 to 1000"):
        imagenet_names(path)
    path.write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(DataError, match="line 1001 is 'n00001000 1000 thing_1000', but a synset, a number that no"):
        imagenet_names(path)
    path.write_text("n02119789 1")
    with pytest.raises(DataError, match="line 1 is"):
        imagenet_names(path)
    with pytest.raises(ValueError, match="should have at least 1000 items"):
        ImageNet32(tmp_path, names=names[:999])
