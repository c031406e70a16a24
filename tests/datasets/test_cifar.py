import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from old_pickles import pickled, python2_pickle

from ssmtl.datasets.base import Reader, Traceable
from ssmtl.datasets.cifar import CIFAR10, CIFAR100
from ssmtl.datasets.cifar_names import CIFAR10_NAMES, CIFAR100_COARSE, CIFAR100_FINE
from ssmtl.errors import DataError

DATA = Path(__file__).parents[3] / "shared" / "data"
Write = Callable[..., Path]


def refusal(reader: CIFAR10 | CIFAR100) -> str:
    with pytest.raises(DataError) as caught:
        reader.open()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rows(count: int, first: int = 0) -> np.ndarray:
    """Return images whose red is the row's number, and whose green and blue say where a pixel is."""
    data = np.zeros((count, 3, 32, 32), np.uint8)
    data[:, 0] = np.arange(first, first + count)[:, None, None]
    data[:, 1], data[:, 2] = np.arange(32)[:, None], np.arange(32)[None]
    return data.reshape(count, 3072)


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    """Five batches of four images, and a test batch of two, in the original layout."""
    folder = tmp_path / "cifar-10-batches-py"
    for number in range(1, 6):
        labels = [(4 * number + place) % 10 for place in range(4)]
        python2_pickle(
            folder / f"data_batch_{number}",
            {"batch_label": f"training batch {number} of 5", "labels": labels, "data": rows(4, 10 * number)},
        )
    python2_pickle(folder / "test_batch", {"labels": [9, 0], "data": rows(2, 100)})
    python2_pickle(folder / "batches.meta", {"num_cases_per_batch": 4, "label_names": list(CIFAR10_NAMES)})
    return tmp_path


def test_batches_come_in_their_order(batches: Path) -> None:
    table = CIFAR10(batches).open()
    assert len(table) == 20
    assert table.labels().tolist() == [4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
    assert table.labels().dtype == np.int32
    assert [table[row].image[0, 0, 0] for row in (0, 3, 4, 19, -1)] == [10, 13, 20, 53, 53]
    assert [table.name(row) for row in (0, 7, -1)] == ["data_batch_1/00000", "data_batch_2/00003", "data_batch_5/00003"]
    assert len({table.name(row) for row in range(20)}) == 20
    assert table.annotated("label").all()
    assert not table.annotated("mask").any()
    assert table.patients() is None
    with pytest.raises(IndexError):
        table[20]
    test = CIFAR10(batches / "cifar-10-batches-py", split="test").open()
    assert (test.labels().tolist(), test.name(1)) == ([9, 0], "test_batch/00001")


def test_planes_are_red_green_blue_line_by_line(batches: Path) -> None:
    sample = CIFAR10(batches).open()[2]
    assert sample.image[:, 5, 7].tolist() == [12, 5, 7]
    assert (sample.size, sample.source_size, sample.annotations) == ((32, 32), (32, 32), {"label": 6})
    sample.image[:] = 0
    assert CIFAR10(batches).open()[2].image[1, 5, 7] == 5


def test_another_canvas_stretches_and_one_channel_is_gray(batches: Path) -> None:
    data = np.repeat(np.uint8([200, 100, 50]), 1024)[None]
    python2_pickle(batches / "cifar-10-batches-py/test_batch", {"labels": [1], "data": data})
    sample = CIFAR10(batches, split="test", canvas=(48, 64), channels=1).open()[0]
    assert sample.image.shape == (1, 48, 64)
    assert (sample.image == 124).all()  # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
    assert (sample.size, sample.source_size) == ((48, 64), (32, 32))
    color = CIFAR10(batches, split="test", canvas=(16, 16)).open()[0]
    assert color.image[:, 3, 3].tolist() == [200, 100, 50]
    with pytest.raises(ValueError, match=r"reads 1 channel \(gray\) or 3 \(RGB\), got channels=2"):
        CIFAR10(batches, channels=2)


def test_a_row_is_traced_by_its_pixels_and_label(batches: Path) -> None:
    table = CIFAR10(batches).open()
    assert isinstance(table, Traceable)
    assert table.made_of(5, "label") == (rows(4, 20)[1].tobytes(), b"9")
    assert table.in_memory


def test_damaged_batches_are_refused(batches: Path) -> None:
    folder = batches / "cifar-10-batches-py"
    python2_pickle(folder / "data_batch_3", {"labels": [0, 10], "data": rows(2)})
    assert "data_batch_3 has the label 10, but whole numbers from 0 to 9" in refusal(CIFAR10(batches))
    python2_pickle(folder / "data_batch_3", {"labels": [], "data": np.zeros((0, 3072), np.uint8)})
    assert "CIFAR10 found no image in data_batch_3" in refusal(CIFAR10(batches))
    (folder / "data_batch_3").unlink()
    assert f"looked for 'data_batch_3' in {folder} and found none" in refusal(CIFAR10(batches))
    python2_pickle(folder / "batches.meta", {"label_names": [*CIFAR10_NAMES[1:], "airplane"]})
    assert "batches.meta names the classes 'automobile', 'bird', 'cat', ... (10 of them), but airplane" in refusal(
        CIFAR10(batches)
    )


def test_cifar100_has_fine_and_coarse_classes(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    labels = {"fine_labels": [99, 0, 50], "coarse_labels": [13, 4, 19]}
    for split in ("train", "test"):
        python2_pickle(folder / split, {**labels, "data": rows(3)})
    names = {"fine_label_names": list(CIFAR100_FINE), "coarse_label_names": list(CIFAR100_COARSE)}
    python2_pickle(folder / "meta", names)
    fine, coarse = CIFAR100(tmp_path), CIFAR100(tmp_path, split="test", labels="coarse")
    assert [fine.classes("label")[label] for label in fine.open().labels()] == ["worm", "apple", "mouse"]
    assert [coarse.classes("label")[label] for label in coarse.open().labels()] == [
        "non-insect_invertebrates", "fruit_and_vegetables", "vehicles_2",
    ]  # fmt: skip
    assert (fine.open().name(2), coarse.open().name(2)) == ("train/00002", "test/00002")
    assert fine.classes("mask") == ()
    python2_pickle(folder / "train", {**labels, "fine_labels": [0, 100, 1], "data": rows(3)})
    assert "has the label 100, but whole numbers from 0 to 99" in refusal(fine)
    pickled(folder / "meta", {"coarse_label_names": ["fish"]})
    assert "meta names no list of classes, but apple" in refusal(fine)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (5, "names no list of classes"),
        (1.5, "names no list of classes"),
        (np.arange(10), "names no list of classes"),
        (None, "names no list of classes"),
        ("airplane", "names no list of classes"),
        ({"airplane": 1}, "names no list of classes"),
        ([[1]], "names the classes a list, ... (1 of them)"),
        (["line\nbreak" * 10, 5], r"names the classes 'line\nbreakline\nbreak', a int, ... (2 of them)"),
    ],
)
def test_names_of_another_kind_are_refused(batches: Path, names: object, expected: str) -> None:
    pickled(batches / "cifar-10-batches-py/batches.meta", {"label_names": names})
    assert expected in refusal(CIFAR10(batches))


def test_names_in_nested_lists_are_never_written_out(batches: Path) -> None:
    nested: list[object] = ["airplane"]
    for _ in range(60):
        nested = [nested, nested]
    pickled(batches / "cifar-10-batches-py/batches.meta", {"label_names": nested})
    assert "names the classes a list, a list, ... (2 of them)" in refusal(CIFAR10(batches))


def test_the_names_are_those_of_the_sets() -> None:
    assert [len(set(names)) for names in (CIFAR10_NAMES, CIFAR100_FINE, CIFAR100_COARSE)] == [10, 100, 20]
    for names in (CIFAR10_NAMES, CIFAR100_FINE):
        assert list(names) == sorted(names)


@pytest.fixture
def images(tmp_path: Path, write_image: Write) -> Path:
    """Two training images and one for testing of each class; the red of a training image is 20 * class + number."""
    folder = tmp_path / "images"
    for label, name in enumerate(CIFAR10_NAMES):
        for number in range(2):
            pixels = np.full((32, 32, 3), (20 * label + number, 0, 255), np.uint8)
            write_image(folder / f"train/{name}/{number:04}.png", pixels)
        write_image(folder / f"test/{name}/0000.jpg", label, (32, 32))
    return folder


def packed(folder: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


def test_a_folder_and_an_archive_of_it_are_the_same(images: Path, tmp_path: Path) -> None:
    archive = packed(images, tmp_path / "packed/cifar10_jpg.zip")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("__MACOSX/train/cat/._0001.jpg", b"litter")
        file.writestr("train/cat/.DS_Store", b"litter")
        file.writestr("README.md", b"text")
    tables = [CIFAR10(root).open() for root in (images, archive.parent, archive)]
    for table in tables:
        assert table.labels().tolist() == [label for label in range(10) for _ in range(2)]
        assert [table.name(row) for row in (0, 7)] == ["train/airplane/0000.png", "train/cat/0001.png"]
        assert table[7].image[:, 9, 9].tolist() == [61, 0, 255]
        assert table[-1].image[0, 0, 0] == 181
        assert (table[7].annotations, table[7].source_size) == ({"label": 3}, (32, 32))
        assert table.annotated("label").all()
        assert not table.annotated("mask").any()
    assert len(CIFAR10(archive, split="test").open()) == 10
    gray = CIFAR10(archive, channels=1, canvas=(64, 32)).open()[7]
    assert gray.image.shape == (1, 64, 32)
    assert (gray.image == 47).all()  # 0.299 * 61 + 0.114 * 255 = 47.3


def test_an_archive_survives_pickling_and_its_removal(images: Path, tmp_path: Path) -> None:
    archive = packed(images, tmp_path / "cifar.zip")
    table = CIFAR10(archive).open()
    stored = (images / "train/cat/0001.png").read_bytes()
    archive.unlink()
    copy = pickle.loads(pickle.dumps(table))
    assert isinstance(copy, Traceable)
    for one in (table, copy):
        assert one[7].image[:, 0, 0].tolist() == [61, 0, 255]
        assert one.made_of(7, "label") == (stored, b"3")
        with pytest.raises(IndexError):
            one[20]


def test_a_root_without_one_choice_is_refused(images: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert "found no folder" in refusal(CIFAR10(root))
    root.mkdir()
    assert f"or for one zip archive in {root} and found none of them" in refusal(CIFAR10(root))
    packed(images, root / "a.zip")
    assert len(CIFAR10(root).open()) == 20
    packed(images, root / "b.zip")
    assert "found a.zip, b.zip" in refusal(CIFAR10(root))
    (root / "a.zip").write_bytes(b"no archive")
    assert "a.zip can't be read as a zip archive" in refusal(CIFAR10(root / "a.zip"))


def test_images_of_another_size_are_refused(images: Path, tmp_path: Path, write_image: Write) -> None:
    write_image(images / "train/bird/0000.png", 90, (31, 32))
    (images / "train/bird/0001.png").write_bytes(b"\xff\xd8 no picture")
    expected = ("bird/0000.png.* has 32x31 pixels", "bird/0001.png.* (damaged|is not a PNG)")
    for root in (images, packed(images, tmp_path / "cifar.zip")):
        table = CIFAR10(root).open()
        for row, message in zip((4, 5), expected, strict=True):
            with pytest.raises(DataError, match=message):
                table[row]


@pytest.mark.parametrize("reader", [CIFAR10("a"), CIFAR100("b", labels="coarse", canvas=(40, 40), channels=1)])
def test_readers_survive_json(reader: Reader) -> None:
    assert Reader.model_validate_json(reader.model_dump_json()) == reader


@pytest.mark.skipif(not DATA.is_dir(), reason="the real images are not beside this checkout")
def test_the_real_archive() -> None:
    table, test = (CIFAR10(DATA / "cifar10_small", split=split).open() for split in ("train", "test"))
    assert np.bincount(table.labels()).tolist() == [1000] * 10
    assert np.bincount(test.labels()).tolist() == [200] * 10
    assert test.name(0) == "test/airplane/0001.jpg"
    means = [np.stack([table[row].image for row in range(first, first + 40)]).mean((0, 2, 3)) for first in (0, 6000)]
    assert means[0][2] > means[0][0] > 100  # airplanes fly in the blue
    assert means[1][2] < means[1][1]  # frogs don't
