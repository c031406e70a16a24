"""CIFAR-10 and SVHN in their original layouts, small: classes of one color each, so that nothing is random."""

import numpy as np
from old_pickles import python2_pickle
from scipy.io import savemat

from ssmtl.datasets.cifar_names import CIFAR10_NAMES

PER_CLASS = 110
"""Ten more than the recipes hold out for validation."""


def pixels(labels):
    """Return images [n, 3, 32, 32] of one color each, no two of them alike."""
    count = len(labels)
    image = np.zeros((count, 3, 32, 32), np.uint8)
    image[:, 0] = (25 * np.asarray(labels))[:, None, None]
    image[:, 1], image[:, 2] = (np.arange(count) % 250)[:, None, None], (np.arange(count) // 250)[:, None, None]
    return image


def write_cifar(root, per_class=PER_CLASS):
    """Write five batches and one for testing, with the same number of training images of every class."""
    folder = root / "cifar-10-batches-py"
    labels = np.arange(10 * per_class) % 10
    images = pixels(labels).reshape(-1, 3072)
    for number, rows in enumerate(np.array_split(np.arange(len(labels)), 5), start=1):
        python2_pickle(folder / f"data_batch_{number}", {"labels": labels[rows].tolist(), "data": images[rows]})
    python2_pickle(folder / "test_batch", {"labels": list(range(10)) * 2, "data": images[:20][:, ::-1].copy()})
    python2_pickle(folder / "batches.meta", {"label_names": list(CIFAR10_NAMES)})
    return root


def write_svhn(root, per_class=PER_CLASS):
    """Write the cropped digits for training and testing; the files call the digit 0 by 10."""
    for split, count in (("train", 10 * per_class), ("test", 20)):
        digits = np.arange(count) % 10
        content = {"X": pixels(digits).transpose(2, 3, 1, 0), "y": np.where(digits, digits, 10)[:, None].astype("u1")}
        savemat(root / f"{split}_32x32.mat", content, do_compression=True)
    return root
