"""The folder that a run leaves behind."""

import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ssmtl.checkpoint import load_checkpoint, load_weights, put_weights
from ssmtl.errors import CheckpointError
from ssmtl.models.multitask import MultiTaskModel
from ssmtl.recipe import Recipe, read_recipe

PACKAGES = ("ssmtl", "torch", "torchvision", "lightning", "kornia", "timm", "numpy")


@dataclass(frozen=True)
class RunFolder:
    """Paths and the small JSON files of one run."""

    path: Path

    @staticmethod
    def create(path: Path, recipe: Recipe, command: str) -> "RunFolder":
        """Make the folder and write `recipe.json` and `run.json`; refuses a folder that already holds a run."""
        if (path / "recipe.json").exists():
            raise CheckpointError(f"{path} already holds a run; name another --out, or go on with --resume {path}.")
        text = recipe.to_json()
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "recipe.json").write_text(text)
        except OSError as error:
            raise CheckpointError(f"the run folder {path} can't be written ({error}); name another --out.") from error
        run = RunFolder(path)
        run.write(
            {
                "name": recipe.name,
                "command": command,
                "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
                "started": _now(),
                "finished": None,
                "status": "running",
                "steps": recipe.steps,
                "seed": recipe.seed,
            }
        )
        return run

    def checkpoint(self, name: str) -> Path:
        """Return the folder of the checkpoint "last" or "best"."""
        return self.path / "checkpoints" / name

    def recipe(self) -> Recipe:
        """Read the recipe back, without running any Python file."""
        return read_recipe(self.path / "recipe.json")

    def note(self) -> dict[str, Any]:
        """Return `run.json`, empty when it is missing or damaged."""
        try:
            return dict(json.loads((self.path / "run.json").read_text()))
        except (OSError, ValueError):
            return {}

    def write(self, note: dict[str, Any]) -> None:
        """Write `run.json` whole or not at all."""
        fresh = self.path / ".run.json.new"
        fresh.write_text(json.dumps(note, indent=1))
        fresh.replace(self.path / "run.json")

    def close(self, status: str, **more: Any) -> None:
        """Record how the run ended, and when."""
        self.write({**self.note(), "status": status, "finished": _now(), **more})

    def model(self, checkpoint: str, weights: str) -> tuple[MultiTaskModel, Recipe, dict[str, Any]]:
        """Rebuild the model of a checkpoint in eval mode; raises CheckpointError when none is good."""
        recipe = self.recipe()
        folder, state = load_checkpoint(self.checkpoint(checkpoint))
        model = recipe.model.build(tuple(recipe.tasks.values()), pretrained=False)
        put_weights(model, load_weights(folder, weights), folder)
        return model.eval(), recipe, {**state, "folder": str(folder)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
