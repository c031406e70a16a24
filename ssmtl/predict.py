"""Images in, files out: classes as a CSV row, masks and overlays as PNG files in the size of the source image."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch.utils._pytree import tree_map

from ssmtl.datasets.base import Reader
from ssmtl.datasets.canvas import place_image, shown_size
from ssmtl.datasets.decode import SUFFIXES, decode_image
from ssmtl.datasets.files import FileReader
from ssmtl.errors import DataError
from ssmtl.evaluate import predict
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.pictures import save_png, to_rgb
from ssmtl.recipe import Recipe
from ssmtl.runs import RunFolder

Checkpoint = Literal["last", "best"] | None
Weights = Literal["student", "teacher"] | None


def predict_files(run: Path, paths: Sequence[Path], out: Path, checkpoint: Checkpoint, weights: Weights) -> int:
    """Write `predictions.csv`, `masks/` and `overlays/` for image files or folders of them; return the exit code.

    A row of the CSV names the file, the stem of its pictures ("output"), and per task its answer with probabilities, or
    the share of its area that is foreground. Masks hold 0 and 255, or class indices where a task has several.
    An image that can't be read is reported and skipped; the exit code is 2 then, with all others written.
    """
    files = list(_images(paths))
    folder = RunFolder(run)
    recipe = folder.recipe()
    model, recipe, state = folder.model(checkpoint or recipe.select, weights or recipe.evaluate)
    console = Console(stderr=True)
    console.print(f"weights of step {state['step']} from {state['folder']}", highlight=False, soft_wrap=True)
    rows: list[dict[str, Any]] = []
    failed = 0
    for path, stem in track(list(zip(files, _stems(files), strict=True)), description="predicting", console=console):
        try:
            image = decode_image(path, alpha="over_black")
        except DataError as error:
            console.print(f"skipped: {error}", highlight=False, soft_wrap=True, markup=False)
            failed += 1
            continue
        rows.append({"file": str(path), "output": stem, **_predict_one(model, recipe, image, out, stem)})
    _write_csv(out / "predictions.csv", rows)
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


def _predict_one(model: MultiTaskModel, recipe: Recipe, image: Image.Image, out: Path, stem: str) -> dict[str, Any]:
    reader = recipe.sources[0].reader
    placed = place_image(image, reader.canvas, reader.channels, _shown(reader, image))
    with torch.no_grad():
        outputs = predict(model, torch.from_numpy(placed)[None], tuple(recipe.tasks))
    source = to_rgb(torch.from_numpy(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1).copy()))
    row: dict[str, Any] = {}
    size, (height, width) = (image.height, image.width), _shown(reader, image)
    for name, task in recipe.tasks.items():
        if task.annotation == "mask":
            outputs[name] = tree_map(lambda part: part[..., :height, :width], outputs[name])
        (answer,) = task.decode(outputs[name], [size])
        if task.annotation == "mask":
            mask = torch.from_numpy(answer)
            visible = 255 if len(getattr(task, "classes", ())) == 1 else 1  # class indices where there are several
            save_png((mask * visible)[None], out / "masks" / f"{stem}--{name}.png")
            row[f"{name}_area"] = f"{float((mask > 0).float().mean()):.4f}"
            nothing = tree_map(lambda part: part[0], task.collate([None], size))
            overlay = task.draw(source, nothing, tree_map(lambda part: part[0], outputs[name]))
            save_png(overlay, out / "overlays" / f"{stem}--{name}.png")
        else:
            row |= {name: answer.name, f"{name}_probability": f"{answer.probability:.4f}"}
            row |= {f"{name}_{label}": f"{value:.4f}" for label, value in answer.probabilities.items()}
    return row


def _shown(reader: Reader, image: Image.Image) -> tuple[int, int]:
    """Return the part of the canvas that the image fills: as in training."""
    fit = reader.fit if isinstance(reader, FileReader) else "stretch"
    return shown_size((image.height, image.width), reader.canvas, fit)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
