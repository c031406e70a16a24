"""A run folder as the engine writes it, with hand-picked numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CHEX = {"kind": "CheX", "root": "films"}
NIH = {"kind": "NIHChestXray", "root": "nih"}
RECIPE: dict[str, Any] = {
    "kind": "Recipe",
    "name": "multimix_cxr",
    "sources": [{"kind": "Source", "name": "films", "reader": {**CHEX, "split": "train"}, "serves": ["diagnosis"]}],
    "test": [
        {"kind": "Split", "name": "CheX test", "reader": {**CHEX, "split": "test"}, "tasks": ["diagnosis"]},
        {"kind": "Split", "name": "NIH test", "reader": NIH, "tasks": ["diagnosis"]},
    ],
    "steps": 1000,
    "seed": 0,
    "published": {
        "kind": "Published",
        "paper": "multimix-melba",
        "method": "MultiMix",
        "setting": [["n_cls_labels", 100], ["n_seg_labels", 10]],
        "same_data": True,
    },
    "deviations": ["The KL term acts on foreground probabilities."],
}
INFO: dict[str, Any] = {
    "name": "multimix_cxr",
    "command": "ssmtl run recipes/multimix_cxr.py --seed 0",
    "versions": {"ssmtl": "0.1.0", "torch": "2.15.0"},
    "device": "cpu",
    "started": "2026-01-01T10:00:00+00:00",
    "finished": "2026-01-01T11:02:03+00:00",
    "status": "finished",
    "steps": 1000,
    "seed": 0,
}
TRAIN = [
    {
        "phase": "train",
        "step": step,
        "loss": 2.0 / step,
        "lr": 1e-4,
        "diagnosis/supervised": 1.0 / step,
        "diagnosis/consistency": 0.5 / step,
        "diagnosis/coverage": step / 1000,
    }
    for step in range(100, 1001, 100)
]
VALIDATION = [
    {
        "phase": "validation",
        "step": step,
        "split": "validation",
        "weights": "student",
        "diagnosis/auc": 0.5 + step / 4000,
        "lungs/jaccard": 0.9,
        "lungs/hausdorff": 2.5,
        "geometric_mean": 0.8,
    }
    for step in (500, 1000)
]
TEST = [
    {
        "phase": "test",
        "step": 1000,
        "split": split,
        "checkpoint": "last",
        "weights": "student",
        "diagnosis/accuracy": accuracy,
        "diagnosis/auc": 0.875,
        "lungs/dice": 0.9,
        "lungs/jaccard": 0.8125,
        "lungs/hausdorff": 3.0,
    }
    for split, accuracy in (("CheX test", 0.75), ("NIH test", 0.5))
]

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that writes a run folder: `recipe` and `info` override fields, `records` replace the log."""

    def make(
        name: str = "run",
        *,
        recipe: dict[str, Any] | None = None,
        info: dict[str, Any] | None = None,
        records: list[dict[str, Any]] | None = None,
        pictures: bool = True,
    ) -> Path:
        folder = tmp_path / name
        (folder / "pictures").mkdir(parents=True)
        dump = {
            "format": 1,
            "plugins": {"tasks/Classification": "ssmtl==0.1.0"},
            "recipe": {**RECIPE, **(recipe or {})},
        }
        (folder / "recipe.json").write_text(json.dumps(dump))
        (folder / "run.json").write_text(json.dumps({**INFO, **(info or {})}))
        lines = TRAIN + VALIDATION + TEST if records is None else records
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        if pictures:
            for task in ("lungs", "diagnosis saliency"):
                pixels = np.full((8, 8, 3), 200, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "pictures" / f"NIH test--{task}--00.png")
        return folder

    return make
