"""What a task can't learn from is refused with a sentence, before anything is trained on it."""

from typing import Any

import numpy as np
import torch

from ssmtl.checks.bench import SIZE, alike, bench, rows_of
from ssmtl.checks.suite import Broken, check, require
from ssmtl.task import Annotation, BoxList, Classified, Task
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import GEOMETRIC

STRANGER = ("a class that nobody knows",)


def _own_annotation(task: Task) -> str:
    if task.annotation in ("label", "mask", "boxes") and isinstance(task, Classified):
        return ""
    return f"its annotation '{task.annotation}' is not one of classes whose form is known ('label', 'mask', 'boxes')"


def _stays(task: Task) -> str:
    return "" if {*GEOMETRIC} & {*task.equivariant_to} else "its targets never move"


@check()
def check_a_wrong_annotation_is_refused(task: Task) -> None:
    """An annotation that is nothing of the kind is a ValueError that names the task."""
    classes = task.classes if isinstance(task, Classified) else ()
    _refused(task, np.full((1, 1, 1, 1), "?"), classes, "an array of text with four dimensions")


@check(unless=_own_annotation)
def check_an_unknown_class_is_refused(task: Task) -> None:
    """A reader that knows none of the task's classes is refused by name."""
    given = {"label": 0, "mask": np.zeros((8, 8), dtype=np.uint8), "boxes": _box(0)}[task.annotation]
    _refused(task, given, STRANGER, f"an annotation of the class '{STRANGER[0]}', which it doesn't learn")


@check(unless=_own_annotation)
def check_classes_are_matched_by_name(task: Task) -> None:
    """A reader that lists the same classes in another order means the same, and its annotation is only read."""
    assert isinstance(task, Classified)
    last = len(task.classes) - 1
    mask = (np.arange(64, dtype=np.uint8) % len(task.classes)).reshape(8, 8)
    given: dict[str, tuple[Annotation, Annotation]] = {
        "label": (0, last),
        "mask": (mask, last - mask),
        "boxes": (_box(0), _box(last)),
    }
    before, (first, second) = mask.copy(), given[task.annotation]
    one, other = task.target(first, task.classes), task.target(second, task.classes[::-1])
    require(
        alike(one, other),
        "a reader with the same classes in another order gives other targets; match classes by name, not by index.",
    )
    require(np.array_equal(mask, before), "target writes into the annotation, which readers may keep; copy it first.")


@check(unless=_own_annotation)
def check_an_index_out_of_range_is_refused(task: Task) -> None:
    """A class index beyond the reader's classes is refused."""
    assert isinstance(task, Classified)
    index = len(task.classes) + 1
    given = {"label": index, "mask": np.full((8, 8), index, dtype=np.uint8), "boxes": _box(index)}[task.annotation]
    _refused(task, given, task.classes, f"class index {index} of {len(task.classes)} classes")


@check(unless=_stays)
def check_other_rows_are_refused(task: Task) -> None:
    """Moving targets by the geometry of another number of rows is refused, not broadcast."""
    target = bench(task).target
    identity = torch.eye(3, dtype=torch.float64)[None]
    try:
        moved = task.warp(target, Geometry(identity, SIZE))
    except Exception:  # any refusal will do
        return
    raise Broken(
        f"warp moves {rows_of(target)} rows by the geometry of 1 to {rows_of(moved)}; refuse that, with "
        "ssmtl.views.geometry.same_rows."
    )


def _refused(task: Task, annotation: Any, classes: tuple[str, ...], what: str) -> None:
    try:
        task.target(annotation, classes)
    except ValueError as error:
        require(
            task.name in str(error),
            f"target refuses {what} without naming the task ({error}); say what was given, what '{task.name}' "
            "expects, and how to fix it.",
        )
    except Exception as error:
        raise Broken(
            f"target answers {what} with {type(error).__name__} ({error}); raise ssmtl.errors.DataError that names "
            "the task, what was given and what was expected."
        ) from error
    else:
        raise Broken(f"target accepts {what}; raise ssmtl.errors.DataError that names the task and what it expects.")


def _box(label: int) -> BoxList:
    return BoxList(
        np.array([[1, 1, 5, 5]], dtype=np.float32), np.array([label], dtype=np.int64), np.zeros(1, dtype=np.bool_)
    )
