"""What labels become: `Labels`, class indices with their weights, and how a reader's classes turn into a task's.

Readers and tasks meet by class name, without regard to case. A pixel whose class cannot be known from what the reader
annotated becomes `IGNORE_INDEX`, never background.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from ssmtl.errors import DataError, nearest
from ssmtl.task import IGNORE_INDEX

BACKGROUND = "background"
FOREIGN = -1
"""The label of an image whose hidden class the task doesn't know."""
SURE = 20.0
"""The logit of what is predicted surely, over one of 0."""
_OUT_OF_RANGE = -1


class Labels(NamedTuple):
    """Class indices and how much each counts: [n] for images, [n, h, w] for pixels, without n for one sample.

    `weight` is 0 where there is no label (or no trust in a pseudo-label); `IGNORE_INDEX` marks a pixel that takes no
    part whatever its weight.
    """

    labels: Int64[Tensor, "*shape"]
    weight: Float32[Tensor, "*shape"]


class SoftLabels(NamedTuple):
    """Distributions over k outcomes per pixel, and how much each pixel counts."""

    probabilities: Float[Tensor, "n k h w"]
    weight: Float[Tensor, "n h w"]


def check_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return `classes` when their names are usable and differ by more than case; raises ValueError otherwise."""
    folded = [name.casefold() for name in classes]
    if not all(name.strip() for name in classes):
        raise ValueError(f"a class without a name in {classes}; give every class one")
    if len(set(folded)) < len(folded):
        raise ValueError(f"{classes} names a class twice (upper and lower case count as the same); remove one")
    return classes


def class_label(annotation: object, classes: tuple[str, ...], known: tuple[str, ...], task: str) -> int:
    """Return the index in the task's `known` classes of an index into the reader's `classes`.

    Raises DataError for an annotation that isn't such an index, and for a class that the task doesn't know.
    """
    if isinstance(annotation, bool) or not isinstance(annotation, int | np.integer):
        raise DataError(
            f"task '{task}' got a label of type {type(annotation).__name__}; it expects an index into the reader's "
            f"classes {classes}. Check the reader's annotation 'label'."
        )
    if not 0 <= annotation < len(classes):
        raise DataError(
            f"task '{task}' got label {annotation}, but the reader names {len(classes)} classes {classes}; "
            f"labels must lie in 0..{len(classes) - 1}. Correct the label or add the class to the reader."
        )
    name = classes[int(annotation)]
    folded = [own.casefold() for own in known]
    if name.casefold() not in folded:
        raise DataError(
            f"task '{task}' does not know the class '{name}' that the reader found; add it to the task's "
            f"classes, or leave such files out{nearest(name, known)}"
        )
    return folded.index(name.casefold())


@cache
def lookup_table(classes: tuple[str, ...], outputs: tuple[str, ...], task: str) -> Int64[np.ndarray, "256"]:
    """Return what each value of a reader's mask (an index into `classes`) means as an index into `outputs`.

    Whatever isn't one of the task's classes becomes the task's background when the reader annotates all of them, and
    `IGNORE_INDEX` when the reader leaves one out, since that one may be there, or when the task has no background.
    Raises DataError when the two share no class, or when the task has no place for a class that the reader names.
    """
    assert len(classes) <= IGNORE_INDEX
    folded = {name.casefold(): index for index, name in enumerate(outputs)}
    wanted = set(folded) - {BACKGROUND}
    annotated = {name.casefold() for name in classes} - {BACKGROUND}
    if not wanted & annotated:
        raise DataError(
            f"task '{task}' learns {_listed(wanted)}, but the reader's masks show only {_listed(annotated)}; "
            "no class has the same name in both. Rename the task's classes, or use another reader."
        )
    foreign = sorted(annotated - wanted)
    if foreign and BACKGROUND not in folded:
        raise DataError(
            f"task '{task}' has no class for the mask class '{foreign[0]}'; add that to the task's classes, or "
            f"'{BACKGROUND}' to stand for everything else{nearest(foreign[0], wanted)}"
        )
    rest = folded.get(BACKGROUND, IGNORE_INDEX) if wanted <= annotated else IGNORE_INDEX
    table = np.full(256, _OUT_OF_RANGE, dtype=np.int64)
    table[IGNORE_INDEX] = IGNORE_INDEX
    for index, name in enumerate(classes):
        own = name.casefold()
        table[index] = folded[own] if own in wanted else rest
    table.setflags(write=False)
    return table


def mask_labels(annotation: object, classes: tuple[str, ...], outputs: tuple[str, ...], task: str) -> Labels:
    """Return the labels of one mask, a uint8 [h, w] map of indices into `classes` with 255 = ignore.

    Raises DataError for another type or shape, for an index beyond `classes`, and as `lookup_table` does.
    """
    if not isinstance(annotation, np.ndarray) or annotation.dtype != np.uint8 or annotation.ndim != 2:
        given = type(annotation).__name__
        if isinstance(annotation, np.ndarray):
            given = f"{annotation.dtype} of shape {annotation.shape}"
        raise DataError(
            f"task '{task}' got {given} for a mask; it expects a uint8 map of shape (height, width) with one "
            "class index per pixel. Check the reader's annotation 'mask'."
        )
    labels: Int64[np.ndarray, "h w"] = lookup_table(classes, outputs, task)[annotation]
    if (labels == _OUT_OF_RANGE).any():
        worst = int(annotation[labels == _OUT_OF_RANGE].max())
        raise DataError(
            f"task '{task}' got a mask with the value {worst}, but the reader names {len(classes)} classes {classes}; "
            f"values must lie in 0..{len(classes) - 1}, or be {IGNORE_INDEX} for ignore. Correct the mask."
        )
    return Labels(torch.from_numpy(labels), torch.ones(labels.shape))


def _listed(names: set[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "no class"
