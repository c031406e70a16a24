"""Hidden labels measure what is guessed: precision, foreign images, and what a mask hides; no strategy sees them."""

import json

import pytest
import torch
from kinds import study

from ssmtl.engine import Options, train
from ssmtl.errors import DataError
from ssmtl.loader import open_sources, training_loader
from ssmtl.runs import RunFolder
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.supervised import Supervised
from ssmtl.streams import Explicit
from ssmtl.train_step import TrainStep
from ssmtl_tasks.targets import FOREIGN


def first_batch(recipe):
    return next(training_loader(open_sources(recipe), start=0, stop=1, rank=0, world=1, workers=0, pin=False))


def values_of(recipe, batch):
    torch.manual_seed(0)
    return TrainStep(recipe).train()(batch, 0)[1]


@pytest.fixture
def half_foreign():
    return study(FixMatch(threshold=0.0, ood_mask=OODMask(0.5)), foreign=2)


def test_hidden_labels_of_unknown_classes_are_foreign(half_foreign):
    batch = first_batch(half_foreign)
    hidden = batch.audit["kind"]
    unlabeled = ~batch.labeled["kind"]
    assert unlabeled.sum() == 8
    assert torch.equal(hidden.weight > 0, unlabeled)
    assert 0 < (hidden.labels[unlabeled] == FOREIGN).sum() < 8
    assert (batch.targets["kind"].labels[~unlabeled] >= 0).all()


def test_precision_is_the_share_of_right_guesses_and_foreign_ones_never_are(half_foreign, monkeypatch):
    guesses = []
    original = FixMatch.losses

    def recorded(self, task, step):
        terms = original(self, task, step)
        guesses.append(step.guesses[0][2])
        return terms

    monkeypatch.setattr(FixMatch, "losses", recorded)
    batch = first_batch(half_foreign)
    values = values_of(half_foreign, batch)
    hidden = batch.audit["kind"].labels[~batch.labeled["kind"]]
    right = (guesses[0].labels == hidden).float()
    assert not right[hidden == FOREIGN].any()
    assert values["kind/precision"].item() == pytest.approx(right.mean().item())


def test_a_mask_is_held_against_what_is_foreign(half_foreign, monkeypatch):
    batch = first_batch(half_foreign)
    foreign = (batch.audit["kind"].labels == FOREIGN)[~batch.labeled["kind"]]
    order = torch.cat([foreign.nonzero()[:, 0], (~foreign).nonzero()[:, 0]])
    hidden_first = torch.ones(8, dtype=torch.bool)
    hidden_first[order[:4]] = False
    monkeypatch.setattr(OODMask, "keep", lambda self, confidence: hidden_first)
    values = values_of(half_foreign, batch)
    assert values["kind/ood_masked"].item() == 0.5
    assert values["kind/foreign"].item() == pytest.approx(foreign.float().mean().item())
    assert values["kind/ood_hits"].item() == pytest.approx(min(4, int(foreign.sum())) / 4)


def test_what_nothing_is_known_of_is_not_a_number_and_no_error(half_foreign):
    recipe = half_foreign.replace(objectives=(half_foreign.objectives[0].replace(strategy=FixMatch(threshold=1.0)),))
    values = values_of(recipe, first_batch(recipe))
    assert values["kind/coverage"].item() == 0.0
    assert values["kind/precision"].isnan()
    assert values["loss"].isfinite()


def test_labels_of_a_hidden_source_never_train():
    recipe = study(Supervised())
    labeled, unlabeled = recipe.sources
    sources = open_sources(recipe)
    assert sources.coverage.visible["kind"].sum() == 12
    assert sources.annotated["kind"].sum() == 12 + 4 * 4
    shown = recipe.replace(sources=(labeled, unlabeled.replace(hide_labels=False)))
    assert open_sources(shown).coverage.visible["kind"].sum() == 12 + 4 * 4


def test_foreign_classes_are_refused_where_labels_train():
    recipe = study(Supervised(), foreign=2)
    labeled, unlabeled = recipe.sources
    with pytest.raises(DataError, match="does not know the class 'stripes'"):
        open_sources(recipe.replace(sources=(labeled, unlabeled.replace(hide_labels=False))))


def test_a_method_without_a_single_unlabeled_image_is_refused():
    recipe = study(FixMatch())
    nothing = recipe.replace(sources=(recipe.sources[0],), streams=Explicit(labeled=6, unlabeled=0))
    with pytest.raises(DataError, match="FixMatch learns 'kind' from unlabeled images, but no batch will hold any"):
        open_sources(nothing).groups()
    supervised = nothing.replace(objectives=(nothing.objectives[0].replace(strategy=Supervised()),))
    assert len(open_sources(supervised).groups()) == 1


def test_micro_steps_without_pseudo_labels_leave_the_others_precision(monkeypatch, tmp_path):
    recipe = study(FixMatch(threshold=0.0), accumulate=2, steps=1, eval_every=1)
    values = iter((0.25, float("nan")))
    forward = TrainStep.forward

    def forged(self, *args):
        loss, found = forward(self, *args)
        return loss, found | {"kind/precision": torch.tensor(next(values))}

    monkeypatch.setattr(TrainStep, "forward", forged)
    folder = RunFolder.create(tmp_path / "run", recipe, "ssmtl run kinds.py")
    assert train(recipe, folder, Options(workers=0, quiet=True))
    rows = map(json.loads, (folder.path / "metrics.jsonl").read_text().splitlines())
    assert [row["kind/precision"] for row in rows if row["phase"] == "train"] == [0.25]
