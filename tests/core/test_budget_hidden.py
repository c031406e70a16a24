"""What a budget hides is not there: training gets the same bits whatever the hidden labels say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from launch import TINY

from ssmtl import train_step
from ssmtl.budget import LabelBudget
from ssmtl.commands.recipes import load_recipe
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.loader import open_sources, training_loader
from ssmtl.recipe import Source
from ssmtl.streams import Implicit
from ssmtl.train_step import TrainStep

FILMS = ChestPhantom(samples=24, canvas=(32, 32))
RECIPE = load_recipe(TINY)().replace(
    sources=(Source("films", FILMS, serves=("diagnosis", "lungs")),),
    budget=LabelBudget.setting("c", ("diagnosis", 8), ("lungs", 8)),
    streams=Implicit(batch=12),
)


class Forged:
    """A table whose hidden annotations say something else."""

    def __init__(self, table, hidden):
        self.table, self.hidden = table, hidden

    def __getitem__(self, row):
        sample = self.table[row]
        forged = {kind: 1 - value if self.hidden[kind][row] else value for kind, value in sample.annotations.items()}
        return replace(sample, annotations=forged)


@pytest.fixture
def honest():
    return open_sources(RECIPE)


@pytest.fixture
def forged(honest):
    visible = honest.coverage.visible
    hidden = {"label": ~visible["diagnosis"], "mask": ~visible["lungs"]}
    return replace(honest, tables=(Forged(honest.tables[0], hidden),))


def first_batch(sources):
    return next(training_loader(sources, start=0, stop=1, rank=0, world=1, workers=0, pin=False))


def tensors(value, path="", seen=None):
    """Yield every tensor and array that can be reached from a value, with the way there."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, str | int | float | bytes | type(None)):
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor | np.ndarray):
        yield path, torch.as_tensor(value).detach()
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from tensors(part, f"{path}[{name}]", seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for place, part in enumerate(value):
            yield from tensors(part, f"{path}[{place}]", seen)
    else:
        for name in (*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())):
            yield from tensors(getattr(value, name), f"{path}.{name}", seen)


def windows(sources, monkeypatch):
    """Return the loss of a step and every window that a strategy was given in it."""
    found, original = [], train_step.Window

    def recorded(*parts):
        found.append(original(*parts))
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(train_step, "Window", recorded)
        torch.manual_seed(0)
        loss, values = TrainStep(RECIPE).train()(first_batch(sources), 0)
    loss.backward()
    return loss, values, found


def test_hidden_labels_reach_the_audit_and_nothing_else(honest, forged):
    one, other = first_batch(honest), first_batch(forged)
    for task in ("diagnosis", "lungs"):
        assert 0 < one.labeled[task].sum() < len(one)
        for ours, theirs in zip(one.targets[task], other.targets[task], strict=True):
            assert torch.equal(ours, theirs)
        assert not all(torch.equal(*pair) for pair in zip(one.audit[task], other.audit[task], strict=True))


def test_nothing_that_a_strategy_can_reach_depends_on_hidden_labels(honest, forged, monkeypatch):
    loss, values, ours = windows(honest, monkeypatch)
    other_loss, other_values, theirs = windows(forged, monkeypatch)
    assert torch.equal(loss, other_loss)
    seen = {name for name in values if not name.endswith("/precision")}
    assert len(seen) == len(values) - 1
    assert all(torch.equal(values[name], other_values[name]) for name in seen)
    assert not torch.equal(values["diagnosis/precision"], other_values["diagnosis/precision"])
    assert len(ours) == len(theirs) == 2
    reached = 0
    for one, other in zip(ours, theirs, strict=True):
        for (path, left), (same_path, right) in zip(tensors(one), tensors(other), strict=True):
            assert path == same_path
            assert torch.equal(left, right), path
            reached += 1
    assert reached > 20


def test_the_walk_would_notice_an_audit(honest):
    batch = first_batch(honest)
    assert any(".audit[lungs]" in path for path, _ in tensors(batch))
    assert not any(".audit" in path for path, _ in tensors(batch.without_audit()))
