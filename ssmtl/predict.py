"""Images in, files out: CSV rows, COCO annotations, masks and overlays as PNG files, and no image predicted twice."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ssmtl.answers import MASKS, OVERLAYS, write_answers
from ssmtl.blocks import Key, legend
from ssmtl.datasets.decode import FOREIGN, MORE_SUFFIXES
from ssmtl.datasets.wrapped import fit_of
from ssmtl.errors import DataError
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.palette import Colors
from ssmtl.pictures import recipe_colors, save_png, to_tensor
from ssmtl.predict_batches import BatchSize, Loaded, Unreadable, loaded_ahead, predicted
from ssmtl.prediction_files import SKIPPED, write_files
from ssmtl.prediction_log import Entry, PredictionLog
from ssmtl.recipe import Recipe
from ssmtl.runs import RunFolder
from ssmtl.task import Classified, Croppable

LEGEND_WIDTH = 400
Checkpoint = Literal["last", "best"] | None
Weights = Literal["student", "teacher"] | None


def predict_files(
    run: Path,
    paths: Sequence[Path],
    out: Path,
    checkpoint: Checkpoint,
    weights: Weights,
    batch_size: int | None = None,
) -> int:
    """Write what a run says of image files or folders of them; return the exit code.

    - `predictions.csv`, a row per image: its file, the stem of its pictures ("output"), and the columns of each task;
    - `boxes.csv`, of tasks that find boxes: a row per box with its class, score and pixel edges in the source image,
      down to the smallest score that the task keeps;
    - `predictions.coco.json`, all objects and regions as annotations of COCO's format;
    - `masks/` with 0 and 255, or class indices where a task has several; `overlays/` in the colors of `legend.png`;
    - `skipped.csv`, the files that can't be read, and why, also those of folders that are images of formats that
      aren't read; the exit code is 2 then, with all others written;
    - `predictions.jsonl`, by which a prediction that was stopped goes on: images that are done are not done again.

    Images are turned upright as their EXIF data says, and all pixels are those of the upright image. `batch_size` None
    takes as many at a time as fit. Raises DataError for a folder that holds another run's predictions.
    """
    entries, foreign = _entries(paths, out), _foreign(paths, out)
    folder = RunFolder(run)
    recipe = folder.recipe()
    checkpoint, weights = checkpoint or recipe.select, weights or recipe.evaluate
    model, recipe, state = folder.model(checkpoint, weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = BatchSize(batch_size, gpu=device.type == "cuda")
    console = Console(stderr=True)
    console.print(f"weights of step {state['step']} from {state['folder']}", highlight=False, soft_wrap=True)
    with PredictionLog(out, _origin(recipe, weights, state)) as log:
        skipped = _predict_pending(model.to(device), recipe, entries, log, size, device, console)
        write_files(log, entries, recipe.tasks, skipped | foreign)
    done, every = len(entries) - len(skipped), len(entries) + len(foreign)
    if done:
        _write_legend(recipe, recipe_colors(recipe), out / OVERLAYS / "legend.png")
    if done < every:
        console.print(f"{every - done} skipped: {out / SKIPPED}", highlight=False, soft_wrap=True)
    console.print(f"{done} of {every} images: {out}", highlight=False, soft_wrap=True)
    return 2 if done < every else 0


def _origin(recipe: Recipe, weights: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return what decides about answers: the weights, the tasks, the model, and how images come to the canvas."""
    reader = recipe.sources[0].reader
    tasks = [task.model_dump() for task in recipe.tasks.values()]
    parts = [tasks, recipe.model.model_dump(), reader.canvas, reader.channels, fit_of(reader), version("ssmtl")]
    return {
        "run": recipe.name,
        "weights": weights,
        "step": state["step"],
        "weights_sha256": _digest(Path(state["folder"]) / f"{weights}.safetensors"),
        "settings_sha256": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _predict_pending(
    model: MultiTaskModel,
    recipe: Recipe,
    entries: Sequence[Entry],
    log: PredictionLog,
    size: BatchSize,
    device: torch.device,
    console: Console,
) -> dict[Path, str]:
    """Predict what isn't done; return why files were skipped."""
    pending = _pending(entries, log, size)
    if len(pending) < len(entries):
        console.print(f"{len(entries) - len(pending)} image(s) are done already", highlight=False)
    colors, tasks = recipe_colors(recipe), recipe.tasks
    skipped: dict[Path, str] = {}
    columns = TextColumn("predicting"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("predicting", total=len(entries), completed=len(entries) - len(pending))
        images = loaded_ahead(pending, recipe.sources[0].reader)
        while batch := list(islice(images, size.now)):
            for one in batch:
                if isinstance(one, Unreadable):
                    skipped[one.entry.path] = one.reason
                    console.print(f"skipped: {one.reason}", highlight=False, soft_wrap=True, markup=False)
            good = [one for one in batch if isinstance(one, Loaded)]
            for one, outputs in predicted(model, good, tuple(tasks), size, device):
                answers = write_answers(tasks, outputs, one.image, one.shown, log.folder, one.entry.stem, colors)
                log.append(one.entry, (one.image.height, one.image.width), answers)
            progress.advance(bar, len(batch))
    return skipped


def _pending(entries: Sequence[Entry], log: PredictionLog, size: BatchSize) -> list[Entry]:
    """Return what isn't done, in whole batches where their size is fixed: a stop changes no digit of any answer then.

    How many images a network gets at once shows in the last bits of what it says.
    """
    done = [log.has(entry) for entry in entries]
    step = 1 if size.finds_itself else size.now
    starts = (start for start in range(0, len(entries), step) if not all(done[start : start + step]))
    return [entry for start in starts for entry in entries[start : start + step]]


def _entries(paths: Sequence[Path], out: Path) -> list[Entry]:
    files = list(dict.fromkeys(_images(paths, (out / MASKS, out / OVERLAYS))))
    return [Entry(path, stem) for path, stem in zip(files, _stems(files), strict=True)]


def _images(paths: Sequence[Path], written: Sequence[Path]) -> Iterator[Path]:
    """Yield image files; of folders all but hidden ones, and those in folders that are `written`, perhaps before."""
    if not paths:
        raise DataError("no image was given; name image files, or folders that hold some.")
    for path in paths:
        if path.is_dir():
            found = list(_below(path, MORE_SUFFIXES, written))
            if not found:
                others = Counter(map(_ending, _below(path, tuple(FOREIGN), written)))
                only = ", ".join(f"{count:,} {ending} ({FOREIGN[ending]})" for ending, count in others.most_common())
                raise DataError(
                    f"the folder {path} holds no image ({', '.join(MORE_SUFFIXES)}){f', only {only}' * bool(only)}."
                )
            yield from found
        elif path.is_file():
            yield path
        else:
            raise DataError(f"there is no file or folder {path}; check the path.")


def _below(folder: Path, endings: tuple[str, ...], written: Sequence[Path]) -> Iterator[Path]:
    ours = {path.resolve() for path in written}
    for path in sorted(folder.rglob("*")):
        shown = path.name.lower().endswith(endings) and not path.name.startswith(".")
        if shown and path.is_file() and path.parent.resolve() not in ours:
            yield path


def _foreign(paths: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return the files of folders that are images in formats that nobody reads, and why they are skipped."""
    folders = (path for path in paths if path.is_dir())
    found = (file for path in folders for file in _below(path, tuple(FOREIGN), (out / MASKS, out / OVERLAYS)))
    return {file: f"{file} is {FOREIGN[_ending(file)]}" for file in found}


def _ending(file: Path) -> str:
    return next(ending for ending in FOREIGN if file.name.lower().endswith(ending))


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
