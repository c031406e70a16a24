"""SVHN, cropped: digits of house numbers (Netzer et al. 2011), 73,257 for training and 531,131 easier ones extra."""

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.io import loadmat, whosmat

from ssmtl.datasets.array_table import ArrayReader, ArrayTable, Part, class_indices
from ssmtl.errors import DataError

_DIGITS = tuple("0123456789")
_MOST_IMAGES = 1_000_000


class SVHN(ArrayReader):
    """`{train,test,extra}_32x32.mat`: images [32, 32, 3, n] and labels 1 to 10, of which 10 is the digit 0.

    Classes are the digits "0" to "9". Other code makes class 9 of the digit 0; tasks compare names, so that the two
    can't be mixed up. Semi-supervised studies train without "extra", whose 1.6 GB are held in memory.
    """

    split: Literal["train", "test", "extra", "train+extra"] = "train"

    def classes(self, kind: str) -> tuple[str, ...]:
        return _DIGITS if kind == "label" else ()

    def open(self) -> ArrayTable:
        root = self.folder()
        parts, columns = [], []
        for split in self.split.split("+"):
            path = self.file(root, f"{split}_32x32.mat")
            found = _load(path)
            columns.append((class_indices(path, found["y"].ravel(), 1, 10) + np.int32(1)) % np.int32(10))
            parts.append(Part(path.stem, found["X"].transpose(3, 2, 0, 1)))
        return self.table(parts, columns)


def _load(path: Path) -> dict[str, Any]:
    """Return X and y of a file; raises DataError for one that is damaged, of version 7.3, or of other shapes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _check_shapes(path, {name: (shape, kind) for name, shape, kind in whosmat(path, appendmat=False)})
            return loadmat(path, appendmat=False, variable_names=("X", "y"))
    except DataError:
        raise
    except NotImplementedError as error:
        raise DataError(
            f"{path} is a MATLAB file of version 7.3 (HDF5), but version 5 was expected, as SVHN is published; fetch "
            "the original file, or save it with -v7."
        ) from error
    except Exception as error:  # damaged files end in errors of nearly every type
        raise DataError(f"{path} is no MATLAB file, or damaged ({error}); fetch the original file again.") from error


def _check_shapes(path: Path, found: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """Refuse other variables than SVHN's before any of them is unpacked into memory."""
    images, kind = found.get("X", ((), "nothing"))
    labels, _ = found.get("y", ((), "nothing"))
    n = images[-1] if images else 0
    if images != (32, 32, 3, n) or kind != "uint8" or labels not in ((n, 1), (1, n)) or n > _MOST_IMAGES:
        raise DataError(
            f"{path} holds X as {kind} {list(images)} and y as {list(labels)}, but uint8 [32, 32, 3, n] and [n, 1] "
            f"were expected, with at most {_MOST_IMAGES} images; fetch the original file of cropped digits."
        )
