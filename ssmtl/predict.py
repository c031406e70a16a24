"""Images in, files out: CSV rows of classes and boxes, masks and overlays as PNG files in the size of the image."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track

from ssmtl.answers import BOX_COLUMNS, Row, answer_image
from ssmtl.blocks import Key, legend
from ssmtl.datasets.decode import SUFFIXES, decode_image
from ssmtl.errors import DataError
from ssmtl.palette import Colors
from ssmtl.pictures import recipe_colors, save_png, to_tensor
from ssmtl.recipe import Recipe
from ssmtl.runs import RunFolder
from ssmtl.task import Classified, Croppable

LEGEND_WIDTH = 400
Checkpoint = Literal["last", "best"] | None
Weights = Literal["student", "teacher"] | None


def predict_files(run: Path, paths: Sequence[Path], out: Path, checkpoint: Checkpoint, weights: Weights) -> int:
    """Write what a run says of image files or folders of them; return the exit code.

    - `predictions.csv`, a row per image: its file, the stem of its pictures ("output"), and per task the class with all
      probabilities, the share of the area that is foreground or that each of several classes has, or how many objects
      of each class have a score of at least 0.5;
    - `boxes.csv`, of tasks that find boxes: a row per box with its class, score and pixel edges in the source image,
      down to the smallest score that the task keeps;
    - `masks/` with 0 and 255, or class indices where a task has several; `overlays/` in the colors of `legend.png`.

    An image that can't be read is reported and skipped; the exit code is 2 then, with all others written.
    """
    files = list(_images(paths))
    folder = RunFolder(run)
    recipe = folder.recipe()
    model, recipe, state = folder.model(checkpoint or recipe.select, weights or recipe.evaluate)
    console = Console(stderr=True)
    console.print(f"weights of step {state['step']} from {state['folder']}", highlight=False, soft_wrap=True)
    rows, boxes = [], []
    colors = recipe_colors(recipe)
    failed = 0
    for path, stem in track(list(zip(files, _stems(files), strict=True)), description="predicting", console=console):
        try:
            image = decode_image(path, alpha="over_black")
        except DataError as error:
            console.print(f"skipped: {error}", highlight=False, soft_wrap=True, markup=False)
            failed += 1
            continue
        place = {"file": str(path), "output": stem}
        answers = answer_image(model, recipe, image, out, stem, colors)
        rows.append(place | answers.columns)
        boxes += [place | box for box in answers.boxes]
    if rows:
        _write_csv(out / "predictions.csv", list(rows[0]), rows)
        _write_legend(recipe, colors, out / "overlays" / "legend.png")
        if any(task.annotation == "boxes" for task in recipe.tasks.values()):
            _write_csv(out / "boxes.csv", ["file", "output", *BOX_COLUMNS], boxes)
    console.print(f"{len(rows)} of {len(files)} images: {out}", highlight=False, soft_wrap=True)
    return 2 if failed else 0


def _images(paths: Sequence[Path]) -> Iterator[Path]:
    if not paths:
        raise DataError("no image was given; name image files, or folders that hold some.")
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not found:
                raise DataError(f"the folder {path} holds no image ({', '.join(SUFFIXES)}).")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise DataError(f"there is no file or folder {path}; check the path.")


def _stems(files: Sequence[Path]) -> list[str]:
    """Name outputs after their files; where several share a name, the later ones get a number that is free."""
    taken = {file.stem for file in files}
    number: Counter[str] = Counter()
    stems = []
    for file in files:
        stem = name = file.stem
        number[name] += 1
        if number[name] > 1:
            while (stem := f"{name}-{number[name]}") in taken:
                number[name] += 1
            taken.add(stem)
        stems.append(stem)
    return stems


def _write_legend(recipe: Recipe, colors: Colors, path: Path) -> None:
    """Write the colors of overlays; outlines of a single class have none."""
    tasks = [task for task in recipe.tasks.values() if isinstance(task, Croppable) and isinstance(task, Classified)]
    names = [name for task in tasks if task.annotation == "boxes" or len(task.classes) > 1 for name in task.classes]
    keys = [Key(name, colors[name]) for name in dict.fromkeys(names) if name in colors]
    if keys:
        save_png(to_tensor(legend(keys, LEGEND_WIDTH)), path)


def _write_csv(path: Path, columns: list[str], rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)
