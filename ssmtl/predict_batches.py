"""Images in the size that a model takes, decoded ahead of it, as many at a time as fit."""

import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.datasets.base import Reader
from ssmtl.datasets.canvas import place_image, shown_size
from ssmtl.datasets.decode import MORE_FORMATS, decode_image
from ssmtl.datasets.wrapped import fit_of
from ssmtl.errors import DataError, RecipeError
from ssmtl.evaluate import predict
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.prediction_log import Entry
from ssmtl.task import Prediction

ON_CPU = 4
"""Images at once on a CPU, where more are no faster and a whole number of batches is predicted again after a stop."""
FIRST, MOST = 4, 32
"""Images at once on a GPU, to begin with and at most."""
THREADS = min(4, os.cpu_count() or 1)
AHEAD = 2 * THREADS
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, struct.error)


@dataclass(frozen=True)
class Loaded:
    """An image upright as people see it, and as the model gets it: `shown` is the part of the canvas that it fills."""

    entry: Entry
    image: Image.Image
    pixels: UInt8[np.ndarray, "c H W"]
    shown: tuple[int, int]


@dataclass(frozen=True)
class Unreadable:
    """A file that is no image, with the sentence that says so."""

    entry: Entry
    reason: str


class BatchSize:
    """How many images are predicted at once: `asked`, or as many as turn out to fit.

    A GPU begins with few, takes twice as many after every batch that fitted, and half as many after one that didn't,
    never again more than did fit.
    """

    def __init__(self, asked: int | None, *, gpu: bool) -> None:
        if asked is not None and asked < 1:
            raise DataError(f"--batch-size {asked} was given; give 1 or more, or auto.")
        self.now = asked or (FIRST if gpu else ON_CPU)
        self.finds_itself = asked is None and gpu
        self.most = MOST if self.finds_itself else self.now

    def fitted(self) -> None:
        """Learn that as many as now fit."""
        self.now = min(2 * self.now, self.most)

    def too_many(self) -> bool:
        """Learn that they don't; return whether fewer are worth a try."""
        if not self.finds_itself or self.now == 1:
            return False
        self.now = self.most = self.now // 2
        return True


def load(entry: Entry, reader: Reader) -> Loaded | Unreadable:
    """Decode an image, turn it as its EXIF data says, and place it as the reader would."""
    try:
        image = _upright(decode_image(entry.path, "over_black", MORE_FORMATS))
    except DataError as error:
        return Unreadable(entry, str(error))
    shown = shown_size((image.height, image.width), reader.canvas, fit_of(reader))
    return Loaded(entry, image, place_image(image, reader.canvas, reader.channels, shown), shown)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGED:
        # Damaged EXIF data turns nothing, in viewers neither.
        return image


def loaded_ahead(entries: Iterable[Entry], reader: Reader) -> Iterator[Loaded | Unreadable]:
    """Yield images in their order, a few of them decoded in threads before they are asked for."""
    waiting: deque[Future[Loaded | Unreadable]] = deque()
    coming = iter(entries)
    pool = ThreadPoolExecutor(THREADS)
    try:
        while True:
            waiting.extend(pool.submit(load, entry, reader) for entry in islice(coming, AHEAD - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def predicted(
    model: MultiTaskModel, images: Sequence[Loaded], tasks: tuple[str, ...], size: BatchSize, device: torch.device
) -> Iterator[tuple[Loaded, Mapping[str, Prediction]]]:
    """Yield every image with its predictions, batches of one row on the CPU.

    Raises RecipeError when a GPU has too little memory even for the least that `size` allows.
    """
    start = 0
    while start < len(images):
        part = images[start : start + size.now]
        pixels = torch.from_numpy(np.stack([one.pixels for one in part])).to(device)
        outputs = _outputs(model, pixels, tasks, size)
        if outputs is None:
            continue
        start += len(part)
        for row, one in enumerate(part):
            yield one, {name: _row(pred, row) for name, pred in outputs.items()}
    if len(images) >= size.now:
        size.fitted()


def _outputs(
    model: MultiTaskModel, pixels: UInt8[Tensor, "n c H W"], tasks: tuple[str, ...], size: BatchSize
) -> dict[str, Prediction] | None:
    """Return predictions on the CPU, or None when fewer should be tried."""
    try:
        with torch.no_grad():
            outputs = predict(model, pixels, tasks)
        return {name: tree_map(Tensor.cpu, pred) for name, pred in outputs.items()}
    except RecipeError as error:
        if not isinstance(error.__cause__, torch.OutOfMemoryError):
            raise
        if size.too_many():
            return None
        if size.now > 1:
            raise RecipeError(
                f"{pixels.device} has too little memory for {size.now} images at a time; give a smaller --batch-size, "
                "or --batch-size auto."
            ) from error
        raise


def _row(pred: Prediction, row: int) -> Prediction:
    return tree_map(lambda part: part[row : row + 1], pred)
