"""Recipe: every mistake that can be seen without data is refused when the recipe is built, in a sentence."""

import pytest
from pydantic import ValidationError

from ssmtl.budget import LabelBudget
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.errors import DataError
from ssmtl.loader import open_sources
from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.multitask import Model
from ssmtl.models.saliency_bridge import SaliencyBridge
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source, Split, Views, read_recipe
from ssmtl.schedules import LinearRamp
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.strategies.supervised import Supervised
from ssmtl.strategies.tsa import TSA
from ssmtl.streams import PerSource
from ssmtl.views.presets import multimix_strong, multimix_weak
from ssmtl_tasks import Classification, Segmentation

FILMS = ChestPhantom(samples=8, canvas=(32, 32))
DIAGNOSIS = Classification("diagnosis", classes=("normal", "pneumonia"))
LUNGS = Segmentation("lungs", classes=("lung",))
BOTH = Source("films", FILMS, serves=("diagnosis", "lungs"))
HELD_OUT = Split("held out", FILMS.replace(split="val"), tasks=("diagnosis", "lungs"))


def recipe(**changes):
    parts = {
        "name": "study",
        "objectives": (Objective(DIAGNOSIS, FixMatch()), Objective(LUNGS, Supervised())),
        "sources": (BOTH,),
        "model": Model(MultiMixEncoder(), bridge=SaliencyBridge("diagnosis", "lungs")),
        "views": Views(weak=multimix_weak(), strong=multimix_strong()),
    }
    return Recipe(**{**parts, **changes})


REFUSED = {
    "two tasks of one name": (
        {"objectives": (Objective(DIAGNOSIS, Supervised()), Objective(DIAGNOSIS, FixMatch()))},
        "two tasks are called 'diagnosis'",
    ),
    "a source that serves nobody known": (
        {"sources": (BOTH.replace(serves=("diagnosis", "lung")),)},
        r"serves the task 'lung', which no objective has; did you mean 'lungs'\?",
    ),
    "a task that nobody serves": ({"sources": (BOTH.replace(serves=("lungs",)),)}, "no source serves the task"),
    "a budget for nobody": (
        {"budget": LabelBudget(counts=(("diagnosys", 3),))},
        "the budget counts labels of the task 'diagnosys'.*did you mean 'diagnosis'",
    ),
    "a bridge from nowhere": (
        {"model": Model(MultiMixEncoder(), bridge=SaliencyBridge("findings", "lungs"))},
        "the saliency bridge joins the task 'findings'",
    ),
    "a strategy that the task can't serve": (
        {"objectives": (Objective(DIAGNOSIS, PredictionMatching()), Objective(LUNGS, Supervised()))},
        "PredictionMatching needs a task with the ability Matchable, which Classification .* does not have",
    ),
    "a view that a task doesn't declare": (
        {"objectives": (Objective(DIAGNOSIS, FixMatch()), Objective(LUNGS.replace(equivariant_to=()), Supervised()))},
        "use HorizontalFlip, which the task 'lungs' declares neither in invariant_to nor in equivariant_to",
    ),
    "two canvases": (
        {"validation": (HELD_OUT.replace(reader=FILMS.replace(canvas=(64, 64))),)},
        r"'held out' has canvas \(64, 64\), 'films' \(32, 32\)",
    ),
    "channels that differ": (
        {"model": Model(MultiMixEncoder(), channels=3)},
        r"'films' reads 1 channel\(s\), the model takes 3",
    ),
    "the best of nothing": ({"select": "best"}, "select='best' chooses by validation scores"),
    "two judges": (
        {"validation": (HELD_OUT, HELD_OUT.replace(name="more"))},
        "two validation splits score 'diagnosis'",
    ),
    "tiles of what is no map": (
        {"validation": (HELD_OUT.replace(tile=(16, 16)),)},
        r"'held out' predicts tiles of \(16, 16\) pixels, of which 'diagnosis' can't be put together",
    ),
    "the last of no tests": ({"test_last": 0}, "greater than or equal to 1"),
    "the best of the last": (
        {"select": "best", "test_last": 20, "validation": (HELD_OUT,)},
        "test_last=20 tests the last weights, select='best' others",
    ),
    "no steps": ({"steps": 0}, "greater than or equal to 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_when_built(case):
    changes, sentence = REFUSED[case]
    with pytest.raises(ValidationError, match=sentence):
        recipe(**changes)


def test_a_recipe_reads_back_and_hashes(tmp_path):
    hidden = BOTH.replace(name="more", hide_labels=True)
    study = recipe(
        validation=(HELD_OUT,), streams=PerSource(labeled=2), sources=(BOTH, hidden), test_last=20,
        objectives=(
            Objective(DIAGNOSIS, FixMatch(ood_mask=OODMask(0.2), tsa=TSA()), ramp=LinearRamp(0.16, over=16_384)),
            Objective(LUNGS, Supervised()),
        ),
    )  # fmt: skip
    (tmp_path / "recipe.json").write_text(study.to_json())
    again = read_recipe(tmp_path / "recipe.json")
    assert again == study
    assert hash(again) == hash(study)


def test_unused_policies_are_not_held_against_a_task():
    """Nobody asks for the strong view here, so what it would do to masks doesn't matter."""
    still = LUNGS.replace(equivariant_to=("HorizontalFlip", "ReflectCrop"))
    objectives = (Objective(DIAGNOSIS, Supervised()), Objective(still, Supervised()))
    assert recipe(objectives=objectives).tasks["lungs"] == still


@pytest.mark.parametrize("classes", [("normal", "tuberculosis"), ("normal", "pneumonia", "tuberculosis")])
def test_classes_are_compared_with_the_readers_before_training(classes):
    objectives = (Objective(DIAGNOSIS.replace(classes=classes), FixMatch()), Objective(LUNGS, Supervised()))
    with pytest.raises(DataError, match=r"(?i)pneumonia.*|'tuberculosis' without a labeled example"):
        open_sources(recipe(objectives=objectives))
