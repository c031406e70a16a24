"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): 50,000 images of 32x32 pixels for training, 10,000 for testing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image

from ssmtl.datasets.array_table import ArrayReader, ArrayTable, Part
from ssmtl.datasets.base import Table
from ssmtl.datasets.batches_pickle import SIDE, images_of, read_pickle
from ssmtl.datasets.cifar_names import CIFAR10_NAMES, CIFAR100_COARSE, CIFAR100_FINE
from ssmtl.datasets.decode import decode_image, decode_mask
from ssmtl.datasets.file_table import FileTable
from ssmtl.datasets.files import class_folders
from ssmtl.datasets.zipped import open_zip
from ssmtl.errors import DataError

_SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


class CIFAR10(ArrayReader):
    """The official `cifar-10-batches-py/`, or images in `{train,test}/<class>/`, as folders or in one zip archive.

    `root` is the folder with any of these in it, or one of them. Pickles are read without running what they ask for.
    JPEG copies of the set have lost detail: errors on them don't compare with published ones.
    """

    split: Literal["train", "test"] = "train"

    def classes(self, kind: str) -> tuple[str, ...]:
        return CIFAR10_NAMES if kind == "label" else ()

    def open(self) -> Table:
        root = self.root.expanduser().resolve()
        if root.is_file():
            return self._zipped(root)
        root = self.folder("cifar-10-batches-py")
        if (root / "batches.meta").exists() or (root / "data_batch_1").exists():
            return self._pickled(root)
        if all((root / split).is_dir() for split in _SPLITS):
            return self._unpacked(root)
        archives = sorted(path for path in root.glob("*.zip") if not path.name.startswith("."))
        if len(archives) == 1:
            return self._zipped(archives[0])
        found = f"found {', '.join(path.name for path in archives)}" if archives else "found none of them"
        raise DataError(
            f"{self.kind} looked for 'cifar-10-batches-py', for the folders 'train' and 'test', or for one zip archive "
            f"in {root} and {found}; unpack the original download there, or set `root` to what it shall read."
        )

    def _pickled(self, folder: Path) -> ArrayTable:
        _check_names(folder / "batches.meta", "label_names", CIFAR10_NAMES)
        names = ["test_batch"] if self.split == "test" else [f"data_batch_{number}" for number in range(1, 6)]
        return _batches(self, folder, names, "labels", len(CIFAR10_NAMES))

    def _unpacked(self, root: Path) -> FileTable:
        return FileTable(
            root=root,
            columns=class_folders(root, [self.split], CIFAR10_NAMES),
            canvas=self.canvas,
            channels=self.channels,
            fit="stretch",
            decode=_small,
            decode_mask=decode_mask,
        )

    def _zipped(self, path: Path) -> Table:
        return open_zip(path, self.split, CIFAR10_NAMES, SIDE, self.canvas, self.channels)


class CIFAR100(ArrayReader):
    """The official `cifar-100-python/`; `labels` chooses the 100 fine classes or the 20 coarse ones above them."""

    split: Literal["train", "test"] = "train"
    labels: Literal["fine", "coarse"] = "fine"

    def classes(self, kind: str) -> tuple[str, ...]:
        if kind != "label":
            return ()
        return CIFAR100_FINE if self.labels == "fine" else CIFAR100_COARSE

    def open(self) -> ArrayTable:
        folder, names = self.folder("cifar-100-python"), self.classes("label")
        _check_names(folder / "meta", f"{self.labels}_label_names", names)
        return _batches(self, folder, [self.split], f"{self.labels}_labels", len(names))


def _batches(reader: ArrayReader, folder: Path, names: Sequence[str], key: str, classes: int) -> ArrayTable:
    parts, columns = [], []
    for name in names:
        path = reader.file(folder, name)
        images, labels = images_of(path, read_pickle(path), key, classes)
        parts.append(Part(name, images))
        columns.append(labels)
    return reader.table(parts, columns)


def _check_names(path: Path, key: str, expected: tuple[str, ...]) -> None:
    """Refuse a set whose own list, where it is there, names other classes, or in another order."""
    if not path.exists():
        return
    found = read_pickle(path).get(key)
    entries = found if isinstance(found, list | tuple) else ()
    names = [name.decode("latin1") if isinstance(name, bytes) else name for name in entries]
    if names != list(expected):
        shown = [repr(name[:20]) if isinstance(name, str) else f"a {type(name).__name__}" for name in names[:3]]
        what = f"the classes {', '.join(shown)}, ... ({len(names)} of them)" if names else "no list of classes"
        raise DataError(
            f"{path} names {what}, but {', '.join(expected[:3])}, ... ({len(expected)} of them) were expected; fetch "
            "the original file again."
        )


def _small(path: Path) -> Image.Image:
    image = decode_image(path)
    if image.size != (SIDE, SIDE):
        raise DataError(
            f"{path} has {image.width}x{image.height} pixels, but CIFAR-10 has {SIDE}x{SIDE}; restore the original, or "
            "read other images with ClassFolders."
        )
    return image
