"""First losses of a recipe as text; `python tests/support/golden.py` writes them anew, for a change that means to."""

import json
import tempfile
from pathlib import Path

from ssmtl.commands.recipes import load_recipe
from ssmtl.engine import Options, train
from ssmtl.runs import RunFolder

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/recipes/first_losses"
STEPS = 3


def first_losses(path, folder):
    """Train a recipe for three steps at 32 pixels and return what was logged of each."""
    recipe = load_recipe(path)(size=32).replace(steps=STEPS, eval_every=1, validation=(), test=(), select="last")
    train(recipe, RunFolder.create(folder, recipe, "golden"), Options(accelerator="cpu", workers=0, quiet=True))
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def stored(path):
    """Return the text of a recipe's stored losses as values."""
    return [json.loads(line) for line in (FOLDER / f"{path.stem}.jsonl").read_text().splitlines()]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for recipe_file in sorted((ROOT / "recipes").glob("*.py")):
        with tempfile.TemporaryDirectory() as place:
            rows = first_losses(recipe_file, Path(place) / "run")
        rounded = [{k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        (FOLDER / f"{recipe_file.stem}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rounded))
