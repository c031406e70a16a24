"""MultiMix's recipe: the ablations of the paper (Haque et al. 2021, MELBA Section 3.2) have exactly its parts."""

from pathlib import Path
from typing import NamedTuple

import pytest
from golden import ROOT

from ssmtl.commands.recipes import load_recipe
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.mixmatch import MixMatch
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.strategies.supervised import Supervised

RECIPE = load_recipe(ROOT / "recipes/multimix_cxr.py")


class Row(NamedTuple):
    """A row of the ablation table: which losses and parts a model has, and what the decoder's first layer takes in."""

    paper: str
    diagnosis: type | None
    lungs: type | None
    bridge: bool
    unlabeled_from: tuple[str, ...]


ABLATION = {
    "enc": Row("Enc", Supervised, None, False, ()),
    "enc-mm": Row("Enc-MM", MixMatch, None, False, ("films",)),
    "enc-ssl": Row("Enc-SSL", FixMatch, None, False, ("films",)),
    "u-net": Row("U-Net", None, Supervised, False, ()),
    "umtl": Row("UMTL", Supervised, Supervised, False, ()),
    "umtl-s": Row("UMTL-S", Supervised, Supervised, True, ()),
    "umtl-ssl": Row("UMTL-SSL", FixMatch, Supervised, False, ("films",)),
    "umtl-ssl-s": Row("UMTL-SSL-S", FixMatch, Supervised, True, ("films",)),
    "multimix": Row("MultiMix", FixMatch, PredictionMatching, True, ("films", "lung films")),
}


@pytest.mark.parametrize("method", ABLATION)
def test_a_variant_has_exactly_the_parts_of_the_paper(method):
    row, recipe = ABLATION[method], RECIPE(method=method)
    strategies = {objective.task.name: type(objective.strategy) for objective in recipe.objectives}
    expected = {"diagnosis": row.diagnosis, "lungs": row.lungs}
    assert strategies == {task: kind for task, kind in expected.items() if kind is not None}
    assert {source.serves for source in recipe.sources} == {(task,) for task in strategies}
    assert (recipe.model.bridge is not None) == row.bridge
    assert recipe.streams.unlabeled_from == row.unlabeled_from
    assert recipe.published.method == row.paper
    assert recipe.name == f"multimix_cxr {method}"
    model = recipe.model.build(tuple(recipe.tasks.values()), pretrained=False)
    assert model.heads.keys() == strategies.keys()
    if row.lungs:
        first = next(model.heads["lungs"].parameters())
        assert first.shape == (128, 386 if row.bridge else 384, 3, 3)


def test_no_other_variant_is_offered():
    assert set(ABLATION) == set(RECIPE.__annotations__["method"].__args__)


def test_the_loss_weights_of_the_paper():
    weights = {objective.task.name: objective for objective in RECIPE().objectives}
    assert (weights["diagnosis"].gamma, weights["diagnosis"].lam) == (1.0, 0.25)
    lungs = weights["lungs"]
    assert (lungs.gamma, lungs.gamma * lungs.lam) == (5.0, pytest.approx(0.01))  # alpha and beta
    assert weights["diagnosis"].strategy == FixMatch(threshold=0.7, pseudo_labels_from="student")


def test_the_classifier_by_mixmatch_has_the_settings_of_mixmatch():
    """MELBA names none for Enc-MM: those of Berthelot et al. 2019, with a ramp that fits into shorter runs."""
    recipe = RECIPE(method="enc-mm")
    (objective,) = recipe.objectives
    assert objective.strategy == MixMatch(temperature=0.5, alpha=0.75, views=2)
    assert (objective.gamma, objective.lam) == (1.0, 75.0)
    weights = [objective.coefficient("consistency", step, 1000) for step in (0, 80, 160, 999)]
    assert weights == pytest.approx([0.0, 37.5, 75.0, 75.0])
    assert objective.coefficient("consistency", 16_384, 10**6) == 75.0
    assert RECIPE(method="enc-mm", consistency=0.5).objectives[0].lam == 0.5
    other = RECIPE(method="enc-ssl")
    assert (recipe.optimizer, recipe.schedule, recipe.views) == (other.optimizer, other.schedule, other.views)
    assert any("Enc-MM" in deviation for deviation in recipe.deviations)


def test_a_step_draws_ten_of_each_kind():
    streams = RECIPE().streams
    assert (streams.labeled, streams.unlabeled) == (10, 10)


def test_labels_are_hidden_by_the_budget():
    budget = RECIPE(diagnosis_labels=1000, lung_labels="full", seed=3).budget
    assert (budget.count("diagnosis"), budget.count("lungs"), budget.seed) == (1000, "full", 3)


def test_the_published_row_has_the_budget_of_the_run():
    published = RECIPE(diagnosis_labels=1000, lung_labels=50, method="umtl-s").published
    assert dict(published.setting) == {"n_cls_labels": 1000, "n_seg_labels": 50}
    assert not published.same_data


@pytest.mark.parametrize("evaluate", ["student", "teacher"])
def test_flags_reach_their_parts(evaluate):
    recipe = RECIPE(seg_kl="marginal", consistency=0.5, lr=3e-4, size=64, evaluate=evaluate)
    assert recipe.objectives[1].strategy.form == "marginal"
    assert recipe.objectives[0].lam == 0.5
    assert recipe.optimizer.lr == 3e-4
    assert {source.reader.canvas for source in recipe.sources} == {(64, 64)}
    assert recipe.evaluate == evaluate


def test_every_deviation_is_a_sentence():
    deviations = RECIPE().deviations
    assert len(deviations) >= 5
    assert all(text.endswith(".") and len(text) > 40 for text in deviations)


def test_results_page_is_named():
    assert "docs/results/multimix_cxr.md" in Path(ROOT / "recipes/multimix_cxr.py").read_text()
