"""The model card beside an exported file: what it is, how to run it, what it was trained on, and how well it does."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from ssmtl.datasets.wrapped import fit_of
from ssmtl.errors import DataError
from ssmtl.export import INPUT, TOLERANCE, Deployed, describe
from ssmtl.label_record import LABELS, read_record
from ssmtl.recipe import Recipe
from ssmtl.report.records import Record, read_run
from ssmtl.task import Classified, Exportable

Form = Literal["onnx", "torch"]


class Exported(NamedTuple):
    """A file that was written: of which run and weights, and for which images.

    `size` is (height, width) of the images to give, `least` the smallest side of a dynamic size, None of a fixed one;
    `difference` is the largest one from the model, None when it could not be measured; `opset` is ONNX's.
    """

    file: Path
    form: Form
    run: Path
    recipe: Recipe
    step: int
    checkpoint: str
    weights: str
    module: Deployed
    size: tuple[int, int]
    least: int | None
    difference: float | None
    opset: int | None


def model_card(exported: Exported) -> str:
    """Return the card as Markdown; raises CheckpointError for a run folder that can't be read."""
    sections = (
        _head(exported),
        _tasks(exported.recipe),
        _input(exported),
        _outputs(exported),
        _usage(exported),
        _data(exported),
        _scores(exported),
        _making(exported),
        _limits(exported),
    )
    return "\n\n".join(sections) + "\n"


def _head(exported: Exported) -> str:
    names = ", ".join(f"`{name}`" for name in exported.recipe.tasks)
    form = f"ONNX, opset {exported.opset}" if exported.form == "onnx" else "a program of torch.export"
    checked = f"its outputs differ from the model's by at most {exported.difference:.1g} on random images"
    if exported.difference is None:
        checked = "it was not compared with the model, because onnxruntime is not installed"
    return (
        f"# {exported.file.name}: {exported.recipe.name}\n\n"
        f"One network that answers {names}: the {exported.weights}'s weights of the {exported.checkpoint} checkpoint, "
        f"step {exported.step}. The file is {form}; {checked} (1e-3 would be refused)."
    ).replace("1e-3", f"{TOLERANCE:g}")


def _tasks(recipe: Recipe) -> str:
    rows = [
        (f"`{name}`", task.kind, ", ".join(task.classes) if isinstance(task, Classified) else "")
        for name, task in recipe.tasks.items()
    ]
    return "## Tasks\n\n" + _table(("name", "kind", "classes"), rows)


def _input(exported: Exported) -> str:
    model, reader = exported.module.model, exported.recipe.sources[0].reader
    color = {1: "gray", 3: "RGB"}.get(model.channels, f"{model.channels} channels")
    height, width = reader.canvas
    size = f"{exported.size[0]} x {exported.size[1]} pixels (height x width)"
    if exported.least is not None:
        size = f"height and width any multiples of {exported.module.stride} from {exported.least} pixels on"
    means, stds = (", ".join(f"{v:g}" for v in part.flatten().tolist()) for part in (model.mean, model.std))
    fit = {
        "stretch": "stretched to the canvas",
        "pad": "shrunk or enlarged to fit the canvas, at its top left corner, with black around",
    }[fit_of(reader)]
    return (
        "## Input\n\n"
        f"`{INPUT}`: float32 of shape (n, {model.channels}, height, width), {color}, values in [0, 1]; any number n of "
        f"images, {size}. In training, images were {fit}, bilinearly with antialiasing, {height} x {width} pixels. "
        f"Normalization is inside of the file (mean {means}; standard deviation {stds})."
    )


def _outputs(exported: Exported) -> str:
    module, size = exported.module, exported.size
    here = describe(module, size)
    other = (size[0] + module.stride, size[1] + 2 * module.stride) if exported.least else size
    there = describe(module, other)
    rows = [
        (
            f"`{name}`",
            _shape(output.values, there[name].values, size, other),
            str(output.values.dtype).removeprefix("torch."),
            output.meaning,
        )
        for name, output in here.items()
    ]
    return "## Outputs\n\n" + _table(("name", "shape", "type", "meaning"), rows)


def _shape(here: torch.Tensor, there: torch.Tensor, size: tuple[int, int], other: tuple[int, int]) -> str:
    """Name the dimensions that follow the image's size, by what two sizes give."""
    names = {(a, b): name for name, a, b in zip(("height", "width"), size, other, strict=True) if a != b}
    pairs = list(zip(here.shape, there.shape, strict=True))[1:]
    return ", ".join(["n", *(str(a) if a == b else names.get((a, b), "by size") for a, b in pairs)])


def _usage(exported: Exported) -> str:
    channels, (height, width) = exported.module.model.channels, exported.size
    mode = "L" if channels == 1 else "RGB"
    if fit_of(exported.recipe.sources[0].reader) == "stretch":
        shown: tuple[str, ...] = (f"image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)",)
    else:
        shown = (
            f"scale = min({height} / image.height, {width} / image.width)",
            "sides = round(image.width * scale), round(image.height * scale)",
            "image = image.resize(sides, Image.Resampling.BILINEAR)",
        )
    run = (
        f'session = onnxruntime.InferenceSession("{exported.file.name}")',
        "names = [output.name for output in session.get_outputs()]",
        f'found = dict(zip(names, session.run(names, {{"{INPUT}": images}})))',
    )
    if exported.form == "torch":
        run = (
            f'program = torch.export.load("{exported.file.name}").module()',
            "with torch.no_grad():",
            "    found = {name: values.numpy() for name, values in program(torch.from_numpy(images)).items()}",
        )
    lines = (
        "import numpy as np",
        "import onnxruntime" if exported.form == "onnx" else "import torch",
        "from PIL import Image",
        "",
        f'image = Image.open("image.png").convert("{mode}")',
        *shown,
        f"images = np.zeros((1, {channels}, {height}, {width}), np.float32)",
        "pixels = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1) / 255",
        "images[0, :, : image.height, : image.width] = pixels",
        *run,
        "for name, values in found.items():",
        "    print(name, values.shape)",
    )
    notes = [task.reading() for task in exported.recipe.tasks.values() if isinstance(task, Exportable)]
    return "\n\n".join(["## How to run it", "```python\n" + "\n".join(lines) + "\n```", *filter(None, notes)])


def _data(exported: Exported) -> str:
    """Return which labels of which sources were seen, as the run itself recorded it."""
    recipe = exported.recipe
    try:
        seen = read_record(exported.run / LABELS).labels
    except DataError:
        seen = {}
    count = {(task, source): len(names) for task, sources in seen.items() for source, names in sources.items()}
    rows = [
        (source.name, source.reader.kind, *(str(count.get((task, source.name), "unknown")) for task in recipe.tasks))
        for source in recipe.sources
    ]
    columns = ("source", "reader", *(f"labels of `{task}`" for task in recipe.tasks))
    return (
        "## Training data\n\n"
        + _table(columns, rows)
        + f"\n\nOther images of these sources were seen without labels. The labeled ones: `{LABELS}` of the run."
    )


def _scores(exported: Exported) -> str:
    """Return what the run and `ssmtl eval` measured of just these weights."""
    found = [record for record in read_run(exported.run).records if _of_these_weights(exported, record)]
    rows = [
        (record.phase, record.split, name, _number(value)) for record in found for name, value in record.values.items()
    ]
    rows += [("eval", split, name, _number(value)) for split, name, value in _evaluated(exported)]
    text = "## Scores\n\n"
    if not rows:
        return text + "None was measured for these weights; `ssmtl eval` measures the recipe's test splits."
    return (
        text
        + f"Of the {exported.weights}'s weights of the {exported.checkpoint} checkpoint, step {exported.step}, as in "
        "this file, by the original model.\n\n" + _table(("measured by", "split", "metric", "value"), rows)
    )


def _of_these_weights(exported: Exported, record: Record) -> bool:
    if record.weights != exported.weights:
        return False
    if record.phase == "test":
        return record.checkpoint == exported.checkpoint
    return record.phase == "validation" and record.step == exported.step


def _evaluated(exported: Exported) -> list[tuple[str, str, float]]:
    """Return (split, metric, value) of `evaluation.json`, when it is about these weights."""
    try:
        note: dict[str, Any] = json.loads((exported.run / "evaluation.json").read_text())
        if (note["step"], note["weights"]) != (exported.step, exported.weights):
            return []
        return [(split, name, value) for split, values in note["splits"].items() for name, value in values.items()]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _making(exported: Exported) -> str:
    info = read_run(exported.run).info
    digest = hashlib.sha256((exported.run / "recipe.json").read_bytes()).hexdigest()
    versions = ", ".join(f"{name} {version}" for name, version in info.versions.items())
    deviations = exported.recipe.deviations
    rest = "\n\nDeviations from the published method:\n\n" + "\n".join(f"- {text}" for text in deviations)
    return (
        f"## How it was made\n\nRecipe `{exported.recipe.name}`, seed {exported.recipe.seed}, {info.steps} steps on "
        f"{info.device}, with {versions}: `{info.command}`. SHA-256 of `recipe.json`: `{digest}`."
        + (rest if deviations else "")
    )


def _limits(exported: Exported) -> str:
    sizes = "Other sizes than in training were not scored. " if exported.least is not None else ""
    return (
        "## Limits and license\n\n"
        "What the scores above don't cover is unknown: other cameras, places, people, and classes that are not in the "
        f"list, for which it answers all the same. {sizes}Probabilities are not calibrated.\n\n"
        "License: not stated. The license of weights depends on that of the training data and of pretrained weights, "
        "which only whoever trained them can tell; replace this line before passing the file on."
    )


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
