"""docs/metrics.md explains every key that a run can write: of all strategies, all tasks, and the shared lines."""

import json
import re
from pathlib import Path

import pytest
import torch
from kinds import study
from launch import TINY

from ssmtl import LinearRamp, Objective
from ssmtl.commands.recipes import load_recipe, shipped_recipes
from ssmtl.component import kinds, resolve
from ssmtl.engine import Options, train
from ssmtl.runs import RunFolder
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.tsa import TSA

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
NAMES = [
    name
    for row in re.findall(r"^\| ((?:\**`[^`]+`\**(?:, )?)+) \|", PAGE, flags=re.MULTILINE)
    for name in re.findall(r"`([^`]+)`", row)
]
HEADLINES = set(re.findall(r"\*\*`TASK/(\w+)`\*\*", PAGE))
ANY = {"TASK": r"\w+", "CLASS": ".+", "_95": r"_\d+"}
"""What parts of the page's names stand for."""
IN_RECIPES = {"DenseFixMatch", "FixMatchStar", "PredictionMatching"}
"""Strategies that the recipes here train, or that differ from FixMatch in defaults alone."""


def pattern(name):
    return re.compile(re.sub("|".join(ANY), lambda part: ANY[part[0]], re.escape(name)))


def explained(key):
    return any(pattern(name).fullmatch(key) for name in NAMES)


def keys(recipe, place):
    """Train two steps and return every key that was written."""
    recipe = recipe.replace(steps=2, eval_every=2, checkpoint_every=2)
    folder = RunFolder.create(place / "run", recipe, "metrics.md")
    assert train(recipe, folder, Options(accelerator="cpu", workers=0, quiet=True))
    return {key for line in (folder.path / "metrics.jsonl").read_text().splitlines() for key in json.loads(line)}


def test_the_page_explains_each_key_once():
    assert len(NAMES) > 40
    doubled = {name for name in NAMES if NAMES.count(name) > 1}
    assert doubled == {"TASK/precision"}, "of pseudo-labels while training, of masks in scores"


@pytest.mark.parametrize("name", sorted(set(kinds("strategies")) - IN_RECIPES))
def test_every_key_of_a_strategy_is_explained(name, tmp_path):
    cls = resolve("strategies", name)
    parts = {"ood_mask": OODMask(0.5), "tsa": TSA()}
    strategy = cls(**{key: part for key, part in parts.items() if key in cls.model_fields})
    written = keys(study(strategy, foreign=2, test=()), tmp_path)
    assert {"loss", "lr", "kind/supervised", "kind/tsa_kept"} <= written
    assert ("kind/ood_masked" in written) == ("ood_mask" in cls.model_fields)
    assert not {key for key in written if not explained(key)}


def test_every_key_of_multimix_is_explained(tmp_path):
    written = keys(load_recipe(TINY)(select="best"), tmp_path)
    assert {"diagnosis/consistency", "lungs/matching", "geometric_mean", "checkpoint", "weights"} <= written
    assert not {key for key in written if not explained(key)}


def test_every_key_of_masks_and_boxes_is_explained(tmp_path):
    recipe = load_recipe(shipped_recipes()["custom"])(size=32, encoder="test_resnet", labeled=2, unlabeled=2)
    small = {"validation": recipe.validation, "test": recipe.test}
    few = {
        name: tuple(split.replace(reader=split.reader.replace(samples=6)) for split in splits)
        for name, splits in small.items()
    }
    written = keys(recipe.replace(**few), tmp_path)
    assert {"mask/consistency", "boxes/pseudo_boxes", "mask/miou", "boxes/ap_car", "geometric_mean"} <= written
    assert not {key for key in written if not explained(key)}


@pytest.mark.parametrize("name", kinds("tasks"))
def test_every_score_of_a_task_is_explained_and_its_headline_is_bold(name):
    for task in resolve("tasks", name).examples():
        images, targets = task.fake_batch(4, seed=0)
        target = task.collate(targets, images.shape[-2:])
        metrics = task.metrics()
        metrics.update(task.as_prediction(target), target)
        assert not {key for key in metrics.compute() if not explained(f"{task.name}/{key}")}
        assert task.headline in HEADLINES


def test_the_loss_is_what_the_page_says_it_is(tmp_path):
    """Gamma times supervised, plus gamma times lambda times the rest."""
    strategy = resolve("strategies", "FixMatch")(threshold=0.0)
    recipe = study(strategy, test=())
    task = recipe.objectives[0].task
    objective = Objective(task, strategy, gamma=2.0, lam=3.0, ramp=LinearRamp(1.0))
    recipe = recipe.replace(objectives=(objective,), steps=2, eval_every=2, checkpoint_every=2)
    folder = RunFolder.create(tmp_path / "run", recipe, "metrics.md")
    assert train(recipe, folder, Options(accelerator="cpu", workers=0, quiet=True))
    row = json.loads((folder.path / "metrics.jsonl").read_text().splitlines()[-1])
    at_half = 2.0 * (row["kind/supervised"] + 3.0 * 0.5 * row["kind/consistency"])
    assert row["step"] == 2
    assert row["loss"] == pytest.approx(at_half, rel=1e-4)
    assert torch.isfinite(torch.tensor(row["loss"]))
