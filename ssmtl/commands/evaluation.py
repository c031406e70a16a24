"""`ssmtl eval` and `ssmtl compare`: numbers from run folders."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table

from ssmtl.errors import CheckpointError
from ssmtl.evaluate import SplitLoader, evaluate
from ssmtl.recipe import Recipe
from ssmtl.report.compare import compare
from ssmtl.runs import RunFolder


def evaluate_run(
    run: Path,
    checkpoint: Literal["last", "best"] | None,
    weights: Literal["student", "teacher"] | None,
    data: Path | None,
    tile: tuple[int, int] | None = None,
) -> int:
    """Score a checkpoint on the recipe's test splits, print the table and write `evaluation.json`."""
    folder = RunFolder(run)
    recipe = folder.recipe()
    if data is not None:
        recipe = relocate(recipe, data)
    checkpoint, weights = checkpoint or recipe.select, weights or recipe.evaluate
    model, _, state = folder.model(checkpoint, weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    scores: dict[str, dict[str, float]] = {}
    table = Table(title=f"{recipe.name}: {weights} of {checkpoint} checkpoint, step {state['step']}")
    for column in ("split", "metric", "value"):
        table.add_column(column)
    for split in recipe.test:
        shown = split if tile is None else split.replace(tile=tile)
        scores[split.name] = evaluate(model, SplitLoader(recipe, shown), device)
        for name, value in scores[split.name].items():
            table.add_row(split.name, name, f"{value:.4f}")
    Console().print(table)
    note = {"checkpoint": state["folder"], "step": state["step"], "weights": weights, "splits": scores}
    (run / "evaluation.json").write_text(json.dumps(note, indent=1))
    return 0


def relocate(recipe: Recipe, data: Path) -> Recipe:
    """Return the recipe with its data folder replaced, for data that moved since training.

    Readers keep what they had below the recipe's `data`. Where `data` is a file, such as a manifest, its folder is
    meant. Raises CheckpointError for a recipe that read no folder.
    """
    if recipe.data is None:
        raise CheckpointError(f"the recipe '{recipe.name}' was trained without a data folder; leave out --data.")
    folder = data.parent if data.is_file() else data
    return Recipe.model_validate(_moved(recipe.model_dump(), recipe.data, str(folder)))


def _moved(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {name: _moved(item, old, new) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if isinstance(value, str) and (value == old or value.startswith(old.rstrip("/") + "/")):
        return new + value[len(old.rstrip("/")) :]
    return value


def compare_runs(runs: Sequence[Path], baseline: str | None, json_file: Path | None) -> int:
    """Print mean and standard deviation over seeds, per recipe name and metric; write the same numbers as JSON."""
    table, data = compare(runs, baseline=baseline)
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(data, indent=1), encoding="utf-8")
    return 0
