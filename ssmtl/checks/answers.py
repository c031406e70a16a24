"""What people get: answers in pixels of their own images, records for files, and pictures."""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssmtl.checks.bench import OBLONG, ROWS, alike, close, copied, prediction, shaken, take
from ssmtl.checks.suite import check, lacks, require
from ssmtl.task import Classified, Croppable, Exportable, Output, Record, Task

SOURCES = ((24, 40), (96, 64), (32, 48), (17, 23), (64, 64))
"""(Height, width) of source images: smaller, larger, odd, and of another shape than the canvas."""


def _records(task: Task) -> list[Record]:
    pred, _ = prediction(task, size=OBLONG)
    answers = task.decode(pred, SOURCES)
    require(len(answers) == ROWS, f"decode returns {len(answers)} answers for {ROWS} rows; return one for each.")
    return [task.record(answer) for answer in answers]


@check()
def check_records_have_columns(task: Task) -> None:
    """Cells are strings, in columns that are the same for all images and begin with the task's name."""
    found = _records(task)
    for record in found:
        require(isinstance(record, Record), f"record returns {type(record).__name__}; return a Record.")
        for name, cell in record.columns.items():
            require(
                name == task.name or name.startswith(f"{task.name}_"),
                f"record has a column '{name}'; begin its name with '{task.name}', so that no two tasks share one.",
            )
            require(isinstance(cell, str), f"record's column '{name}' holds {type(cell).__name__}; write a string.")
        require(
            list(record.columns) == list(found[0].columns),
            f"record's columns vary from image to image: {list(found[0].columns)}, {list(record.columns)}; write an "
            "empty cell for what isn't there.",
        )


@check()
def check_records_have_maps_of_the_image(task: Task) -> None:
    """Maps are gray pictures of 8 or 16 bits in the size of the source image, the same ones for every image."""
    found = _records(task)
    for record, size in zip(found, SOURCES, strict=True):
        require(record.maps.keys() == found[0].maps.keys(), "record's maps vary from image to image.")
        for name, values in record.maps.items():
            require(
                isinstance(values, np.ndarray) and values.dtype in (np.uint8, np.uint16) and values.shape == size,
                f"record's map '{name}' is {getattr(values, 'dtype', type(values).__name__)} "
                f"{getattr(values, 'shape', '')} for an image of {size}; write uint8 or uint16 in its size.",
            )


@check()
def check_records_have_coco_objects(task: Task) -> None:
    """Objects are what a COCO file holds: plain values, a class, a box within the image, a region as a mask."""
    for record, size in zip(_records(task), SOURCES, strict=True):
        for one in record.objects:
            plain = {key: value for key, value in one.items() if key != "segmentation"}
            try:
                json.dumps(plain, allow_nan=False)
            except (TypeError, ValueError) as error:
                require(False, f"record's objects don't go into JSON ({error}); use plain Python numbers.")
            _check_object(task, one, size)


def _same(one: Record, other: Record) -> bool:
    """Tell whether two records say the same of an image; numbers in objects may differ by rounding."""
    maps = one.maps.keys() == other.maps.keys() and all(np.array_equal(one.maps[k], other.maps[k]) for k in one.maps)
    return one.columns == other.columns and maps and len(one.objects) == len(other.objects)


def _check_object(task: Task, one: dict[str, Any], size: tuple[int, int]) -> None:
    known = task.classes if isinstance(task, Classified) else (one.get("category"),)
    category = one.get("category")
    require(
        isinstance(category, str) and category in known,
        f"record's objects have the category {category!r}; write the name of a class.",
    )
    if "bbox" in one:
        left, top, width, height = one["bbox"]
        inside = left >= 0 and top >= 0 and left + width <= size[1] + 1e-3 and top + height <= size[0] + 1e-3
        require(
            width >= 0 and height >= 0 and inside,
            f"record has a bbox {one['bbox']} in an image of {size} (height, width); write (left, top, width, height) "
            "in pixels of the source image.",
        )
    region = one.get("segmentation")
    require(
        region is None or (isinstance(region, np.ndarray) and region.dtype == bool and region.shape == size),
        f"record's segmentation is no bool map of {size}; write the region as a mask in the image's size.",
    )


@check()
def check_answers_are_of_their_row(task: Task) -> None:
    """The answer about a row is the same alone and among others."""
    pred, _ = prediction(task, size=OBLONG)
    whole = [task.record(answer) for answer in task.decode(pred, SOURCES)]
    for row in (0, 3):
        (alone,) = task.decode(take(pred, slice(row, row + 1)), SOURCES[row : row + 1])
        require(_same(task.record(alone), whole[row]), "decode mixes rows, or takes them for others.")


@check(unless=lacks(Croppable))
def check_crop_of_everything_changes_nothing(task: Task) -> None:
    """Cut to the whole canvas, a prediction says the same; cut to a part, it can still be decoded."""
    assert isinstance(task, Croppable)
    pred, _ = prediction(task, size=OBLONG)
    whole, cut = (task.decode(one, SOURCES) for one in (pred, task.crop(pred, OBLONG)))
    same = [_same(task.record(a), task.record(b)) for a, b in zip(whole, cut, strict=True)]
    require(all(same), "crop to the whole canvas changes answers; keep what is inside of (height, width).")
    part = task.decode(task.crop(pred, (16, 24)), SOURCES)
    require(len(part) == ROWS, "a cropped prediction decodes to another number of answers.")


@check(unless=lacks(Croppable))
def check_crop_shows_the_top_left(task: Task) -> None:
    """Maps of a prediction that is cut to a part show what those of the whole show there, in nearly all places."""
    assert isinstance(task, Croppable)
    pred, _ = prediction(task, size=OBLONG)
    height, width = 16, 24
    whole = task.decode(pred, [OBLONG] * ROWS)
    part = task.decode(task.crop(pred, (height, width)), [(height, width)] * ROWS)
    for full, shown in zip(map(task.record, whole), map(task.record, part), strict=True):
        for name, values in full.maps.items():
            same = float((values[:height, :width] == shown.maps[name]).mean())
            require(
                same > 0.9,
                f"of a prediction cut to {(height, width)}, only {same:.0%} of the map '{name}' is what the whole has "
                "at the top left; cut there, and don't turn or mirror what is decoded.",
            )


@check(unless=lacks(Exportable))
def check_exported_outputs_are_of_their_row(task: Task) -> None:
    """What is exported are finite tensors with a row per image and a meaning, the same alone and among others."""
    assert isinstance(task, Exportable)
    pred, _ = prediction(task)
    found, alone = task.exported(pred), task.exported(take(pred, slice(1, 2)))
    require(found and found.keys() == alone.keys(), "exported returns no output, or others for other rows.")
    for name, one in found.items():
        good = isinstance(one, Output) and isinstance(one.values, Tensor) and len(one.values) == ROWS
        require(good, f"exported's '{name}' is no Output with a row per image; return Output(tensor, meaning).")
        require(one.meaning.strip(), f"nothing says what exported's '{name}' means; write a sentence.")
        require(one.values.isfinite().all(), f"exported's '{name}' has values that aren't finite.")
        require(
            close(one.values[1:2], alone[name].values, 1e-3),
            f"exported's '{name}' says something else of a row when others are beside it; reduce within rows only.",
        )


@check()
def check_pictures_leave_the_image_alone(task: Task) -> None:
    """Pictures are uint8 [3, h, w], of the image's size unless they compare two things, and drawn on a copy."""
    found = shaken(task, size=OBLONG)
    pred, target = (take(part, 0) for part in (found.predict(), found.target))
    nothing = take(task.collate([None], OBLONG), 0)
    image, before = found.images[0].clone(), copied((pred, target))
    for reference, said in ((target, None), (nothing, pred), (nothing, None), (target, pred)):
        picture = task.draw(image, reference, said)
        require(torch.equal(image, found.images[0]), "draw writes into the image; draw on a copy.")
        require(alike((pred, target), before), "draw writes into the prediction or the target; draw from copies.")
        require(
            isinstance(picture, Tensor) and picture.dtype == torch.uint8 and picture.ndim == 3 and len(picture) == 3,
            f"draw returns {getattr(picture, 'dtype', type(picture).__name__)} {list(getattr(picture, 'shape', ()))}; "
            "return uint8 [3, height, width].",
        )
        compares = said is not None and reference is target
        require(
            compares or picture.shape == image.shape,
            f"draw returns {list(picture.shape)} for an image of {list(image.shape)} although there is nothing to "
            "compare; keep the image's size.",
        )
        require(alike(picture, task.draw(image, reference, said)), "draw makes another picture the second time.")
