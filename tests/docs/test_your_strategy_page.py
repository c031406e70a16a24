"""docs/your-strategy.md: its strategy is short, keeps the contract, computes what the paper says, and trains."""

import importlib
import json
import re
import sys
from math import log
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from plugins import install

from ssmtl import component
from ssmtl.checks import check_strategy
from ssmtl.checks.fake_step import FakeStep
from ssmtl.commands.new import new_plugin
from ssmtl.commands.recipes import load_recipe
from ssmtl.engine import Options, train
from ssmtl.recipe import read_recipe
from ssmtl.runs import RunFolder
from ssmtl.strategies.base import Look
from ssmtl.views.geometry import WEAK, View
from ssmtl_tasks import Classification
from ssmtl_tasks.targets import Labels

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "your-strategy.md").read_text()
METHOD, CONTRACT, RECIPE = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
STATED_FAILURE = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
WARP = 'target = task.warp(guess, step.move(WEAK, view, "unlabeled"))'


class Package(NamedTuple):
    folder: Path
    module: object


@pytest.fixture
def package(tmp_path, monkeypatch):
    """What a reader has after following the page: the written package with the page's strategy in it, installed."""
    folder = tmp_path / "ssmtl-uni-match"
    assert new_plugin("strategy", "UniMatch", folder) == 0
    (folder / "ssmtl_uni_match" / "uni_match.py").write_text(METHOD)
    install(str(folder), tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(folder))
    component._entry_points.cache_clear()
    yield Package(folder, importlib.import_module("ssmtl_uni_match.uni_match"))
    component._entry_points.cache_clear()
    for name in ("ssmtl_uni_match", "ssmtl_uni_match.uni_match"):
        del sys.modules[name]


def test_the_files_around_it_are_those_that_are_written(package):
    assert (package.folder / "tests" / "test_contract.py").read_text() == CONTRACT
    (points,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert points in (package.folder / "pyproject.toml").read_text()
    assert component.resolve("strategies", "UniMatch") is package.module.UniMatch


def test_it_is_short():
    assert 40 < len([line for line in METHOD.splitlines() if line.strip()]) < 80


def test_it_keeps_the_contract(package):
    results = check_strategy(package.module.UniMatch())
    skipped = {result.check for result in results if result.outcome == "not applicable"}
    assert skipped == {"check_examples_are_true", "check_order_is_nothing", "check_rows_teach_alone"}
    assert len(results) > 30


def test_the_failure_that_it_shows_is_what_is_read(package):
    assert WARP in METHOD
    (package.folder / "ssmtl_uni_match" / "uni_match.py").write_text(METHOD.replace(WARP, "target = guess"))
    importlib.invalidate_caches()
    module = importlib.reload(package.module)
    results = check_strategy(module.UniMatch(), on_fail="record")
    (failure,) = [result for result in results if not result.ok and result.check.endswith("views")]
    assert f"{failure.check}: {failure.message}".split() == " ".join(STATED_FAILURE).split()


def logits(*rows):
    return torch.tensor([[p, 1 - p] for p in rows]).log().requires_grad_()


def test_its_losses_are_those_of_the_paper(package):
    """Of two unlabeled images, the first is surely a cat; every mean is over both."""
    module, animal = package.module, Classification("animal", classes=("cat", "dog"))
    predictions = {
        module.LABELED: logits(0.5),
        module.GUESS: logits(0.9, 0.6),
        module.STRONG[0]: logits(0.5, 0.1),
        module.STRONG[1]: logits(0.25, 0.1),
    }
    images = torch.rand(2, 3, 8, 8)
    perturbed = []

    def network(pixels, features):
        assert torch.equal(pixels, images)
        perturbed.append(features([torch.ones(2, 64, 4, 4)])[0])
        return logits(0.8, 0.1)

    step = FakeStep(
        predictions,
        Labels(torch.tensor([1]), torch.ones(1)),
        images={Look(WEAK, "unlabeled"): images},
        network=network,
    )
    terms = module.UniMatch(threshold=0.8).losses(animal, step)
    values = {name: (loss.total.sum() / loss.count.sum()).item() for name, loss in terms.items()}
    strong = (log(2) + log(4)) / 2 / 2
    assert values == pytest.approx({"supervised": log(2), "strong": strong, "features": log(1 / 0.8) / 2})
    channels = perturbed[0].flatten(2)
    assert ((channels == 0).all(dim=2) | (channels == 2).all(dim=2)).all()
    assert 0.3 < (channels == 0).float().mean() < 0.7
    sum(loss.total.sum() for loss in terms.values()).backward()
    assert predictions[module.GUESS].grad is None
    assert {need.view for need in predictions if need.rows == "unlabeled"} == {WEAK, *map(view, (0, 1))}


def view(draw):
    return View("strong", draw)


def test_its_recipe_trains(package, tmp_path):
    path = tmp_path / "lungs.py"
    path.write_text(RECIPE)
    recipe = load_recipe(path)(size=32, masks=4).replace(steps=2, eval_every=2, checkpoint_every=2, test=())
    folder = RunFolder.create(tmp_path / "run", recipe, "page")
    assert train(recipe, folder, Options(accelerator="cpu", workers=0, quiet=True))
    (first, *_) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"lungs/supervised", "lungs/strong", "lungs/features"} <= set(first)
    assert all(first[f"lungs/{term}"] >= 0 for term in ("supervised", "strong", "features"))
    assert read_recipe(tmp_path / "run" / "recipe.json") == recipe
