"""`ssmtl export`: a run's model as one file, compared with the model before it is kept, and its model card."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Literal

from rich.console import Console

from ssmtl.errors import RecipeError
from ssmtl.export import (
    INPUT,
    Deployed,
    Shape,
    describe,
    largest_difference,
    record,
    require_onnx,
    run_onnx,
    save_onnx,
    save_program,
    smallest,
)
from ssmtl.model_card import Exported, Form, model_card
from ssmtl.recipe import Recipe
from ssmtl.runs import RunFolder
from ssmtl.task import Classified

SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}


def export_run(
    run: Path,
    form: Form,
    size: tuple[int, int] | None,
    dynamic: bool,
    out: Path | None,
    checkpoint: Literal["last", "best"] | None,
    weights: Literal["student", "teacher"] | None,
) -> int:
    """Write a run's model as a file and its card beside it; return the exit code.

    Raises RecipeError for a size that the model can't take, and when the file doesn't do what the model does; nothing
    is left behind then.
    """
    if size is not None and dynamic:
        raise RecipeError(f"both --size {size[0]} {size[1]} and --dynamic were given; leave out one of them.")
    if form == "onnx":
        require_onnx()
    folder = RunFolder(run)
    recipe = folder.recipe()
    checkpoint, weights = checkpoint or recipe.select, weights or recipe.evaluate
    model, recipe, state = folder.model(checkpoint, weights)
    module = Deployed(model, recipe.tasks)
    wanted = size or recipe.sources[0].reader.canvas
    outputs = describe(module, wanted)
    program = record(module, wanted, dynamic=dynamic)
    least = smallest(program, module) if dynamic else None
    wanted = wanted if least is None else _allowed(wanted, least, module.stride)
    file = out or run / f"model{SUFFIX[form]}"
    fresh = file.with_name(f".new-{file.name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        opset, run_file = None, None
        if form == "onnx":
            opset = save_onnx(program, list(outputs), _notes(recipe, state["step"], weights), fresh)
            run_file = run_onnx(fresh)
        else:
            run_file = save_program(program, _notes(recipe, state["step"], weights), fresh)
        shapes = _shapes(module, wanted, least)
        difference = None if run_file is None else largest_difference(module, run_file, shapes)
        fresh.replace(file)
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()
    exported = Exported(
        file, form, run, recipe, state["step"], checkpoint, weights, module, wanted, least, difference, opset
    )
    card = file.with_name(f"{file.name}.md")
    card.write_text(model_card(exported), encoding="utf-8")
    _say(exported, list(outputs), shapes, card)
    return 0


def _allowed(size: tuple[int, int], least: int, stride: int) -> tuple[int, int]:
    """Return the size that a file of dynamic size takes instead of one that it may be too small for."""
    height, width = (max(least, -(-side // stride) * stride) for side in size)
    return height, width


def _shapes(module: Deployed, size: tuple[int, int], least: int | None) -> list[Shape]:
    """Return the shapes that a file is tried on: one image and three, and other sizes where there may be some."""
    channels = module.model.channels
    shapes: list[Shape] = [(1, channels, *size), (3, channels, *size)]
    if least is not None:
        shapes += [(1, channels, least, least), (2, channels, size[1] + module.stride, size[0])]
    return shapes


def _notes(recipe: Recipe, step: int, weights: str) -> dict[str, str]:
    """Return what the file itself says, so that its numbers have names without the card."""
    classes = {name: task.classes for name, task in recipe.tasks.items() if isinstance(task, Classified)}
    return {"recipe": recipe.name, "step": str(step), "weights": weights, "classes": json.dumps(classes)}


def _say(exported: Exported, outputs: list[str], shapes: list[Shape], card: Path) -> None:
    size = f"{exported.size[0]} x {exported.size[1]}"
    if exported.least is not None:
        size = f"multiples of {exported.module.stride} from {exported.least} on"
    checked = f"largest difference from the model on {len(shapes)} random batches: {exported.difference:.2g}"
    if exported.difference is None:
        checked = 'not compared with the model: onnxruntime is missing, see `pip install "ssmtl[export]"`'
    lines = (
        f"weights: {exported.weights} of the {exported.checkpoint} checkpoint, step {exported.step}",
        f"input: {INPUT}, float32 [n, {exported.module.model.channels}, height, width] in [0, 1], {size} pixels",
        f"outputs: {', '.join(outputs)}",
        checked,
        f"file: {exported.file}",
        f"model card: {card}",
    )
    Console(stderr=True).print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)
