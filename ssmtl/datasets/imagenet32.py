"""ImageNet at 32x32 pixels (Chrabaszcz et al. 2017): 1,281,167 images of 1,000 classes, in batches."""

import zipfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ssmtl.datasets.array_table import ArrayReader, ArrayTable, Part
from ssmtl.datasets.batches_pickle import MOST_BYTES, images_of, read_pickle
from ssmtl.datasets.files import listed
from ssmtl.errors import DataError

CLASSES = 1000
_TRAIN = tuple(f"train_data_batch_{number}" for number in range(1, 11))


class ImageNet32(ArrayReader):
    """`train_data_batch_1` to `_10`, or `val_data`, as pickles or `.npz`; 3.9 GB of memory for all of "train".

    The files number the classes 1 to 1,000 in an order of their own, which a network never sees: `names` are
    "class 0001" and so on, unless `imagenet_names` reads them from the list that comes with the devkit.
    """

    split: Literal["train", "val"] = "train"
    names: Annotated[tuple[str, ...], Field(min_length=CLASSES, max_length=CLASSES)] = tuple(
        f"class {number:04d}" for number in range(1, CLASSES + 1)
    )

    def classes(self, kind: str) -> tuple[str, ...]:
        return self.names if kind == "label" else ()

    def open(self) -> ArrayTable:
        root = self.folder("Imagenet32_train" if self.split == "train" else "Imagenet32_val")
        parts, columns = [], []
        for name in _TRAIN if self.split == "train" else ("val_data",):
            path = self.file(root, name, f"{name}.npz")
            batch = _read_arrays(path) if path.suffix == ".npz" else read_pickle(path)
            images, labels = images_of(path, batch, "labels", CLASSES, first=1)
            parts.append(Part(name, images))
            columns.append(labels)
        return self.table(parts, columns)


def imagenet_names(path: Path) -> tuple[str, ...]:
    """Return the classes' names from `map_clsloc.txt`, whose lines are "n02119789 1 kit_fox", in the batches' order.

    Names that stand for two classes ("crane") carry the identifier of WordNet too. Raises DataError for a list that
    doesn't name each class once.
    """
    found: dict[int, tuple[str, str]] = {}
    for line, text in listed(path):
        match text.split():
            case [synset, number, name] if number.isdecimal() and int(number) not in found:
                found[int(number)] = synset, name.replace("_", " ")
            case _:
                raise DataError(
                    f"{path} line {line} is '{text[:80]}', but a synset, a number that no other line has, and a name "
                    "were expected; restore the original list."
                )
    if sorted(found) != list(range(1, CLASSES + 1)):
        raise DataError(f"{path} names {len(found)} classes, but 1 to {CLASSES} were expected; restore the list.")
    often = Counter(name.casefold() for _, name in found.values())
    ordered = (found[number] for number in range(1, CLASSES + 1))
    return tuple(name if often[name.casefold()] == 1 else f"{name} {synset}" for synset, name in ordered)


def _read_arrays(path: Path) -> dict[str, Any]:
    """Return the images and labels of a `.npz`; raises DataError for one that is damaged, or too large to be one."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = max((entry.file_size for entry in archive.infolist()), default=0)
        if size > MOST_BYTES:
            raise DataError(f"{path} unpacks to {size} bytes, but at most {MOST_BYTES} were expected; fetch it again.")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in ("data", "labels") if name in arrays}
    except DataError:
        raise
    except Exception as error:  # damaged archives end in errors of nearly every type
        raise DataError(
            f"{path} can't be read as arrays of numbers ({error}); it is damaged or holds objects, which are never "
            "loaded: fetch the original file again."
        ) from error
