"""The folder that a run leaves behind."""

import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

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
        """Make the folder and write `recipe.json` and `run.json`; refuses a folder that already holds a run.

        A run that ended before its first checkpoint left nothing to lose: its folder may be used again.
        """
        saved = any(path.glob("checkpoints/*/manifest.json"))
        if (path / "recipe.json").exists() and saved:
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
                "device": "unknown",
                "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
                "started": _now(),
                "finished": None,
                "status": "running",
                "steps": recipe.steps,
                "seed": recipe.seed,
            }
        )
        return run

    def replace_recipe(self, recipe: Recipe) -> None:
        """Write `recipe.json` again, whole or not at all: the same run, resumed with other steps."""
        fresh = self.path / ".recipe.json.new"
        fresh.write_text(recipe.to_json())
        fresh.replace(self.path / "recipe.json")

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

    def working(self, device: str, steps: int, options: dict[str, Any]) -> None:
        """Record that a process trains in this folder: on which device, up to which step, and how."""
        now = {"status": "running", "finished": None, "device": device, "steps": steps, "options": options}
        self.write({**self.note(), **now})

    def close(self, status: str) -> None:
        """Record how the run ended, and when."""
        self.write({**self.note(), "status": status, "finished": _now()})

    def good_checkpoint(self, name: str) -> tuple[Path, dict[str, Any]]:
        """Return a verified checkpoint's folder and state; says on stderr when it is not the one asked for."""
        wanted = self.checkpoint(name)
        folder, state = load_checkpoint(wanted)
        if folder != wanted and os.environ.get("LOCAL_RANK", "0") == "0":
            note = f"checkpoint {wanted} is missing or damaged; going on from {folder}."
            Console(stderr=True).print(note, highlight=False, soft_wrap=True, markup=False)
        return folder, state

    def model(self, checkpoint: str, weights: str) -> tuple[MultiTaskModel, Recipe, dict[str, Any]]:
        """Rebuild the model of a checkpoint in eval mode; says so when that is damaged and the previous one stands in.

        Raises CheckpointError when none is good.
        """
        recipe = self.recipe()
        folder, state = self.good_checkpoint(checkpoint)
        model = recipe.model.build(tuple(recipe.tasks.values()), pretrained=False)
        put_weights(model, load_weights(folder, weights), folder)
        return model.eval(), recipe, {**state, "folder": str(folder)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
