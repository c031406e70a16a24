"""One step of L = sum_t gamma_t (L_s,t + lambda_t L_u,t): the reduction, and what may influence it."""

import copy
from dataclasses import replace
from typing import final

import pytest
import torch
from launch import TINY
from torch import nn

from ssmtl.batch import Batch
from ssmtl.commands.recipes import load_recipe
from ssmtl.loader import open_sources, training_loader
from ssmtl.recipe import Views
from ssmtl.schedules import LinearRamp
from ssmtl.strategies.base import Need, Strategy
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.task import Loss
from ssmtl.teacher import Teacher
from ssmtl.train_step import TrainStep
from ssmtl.views.geometry import View
from ssmtl.views.presets import identity

GAMMA, LAM = {"diagnosis": 1.0, "lungs": 5.0}, {"diagnosis": 0.25, "lungs": 0.002}


RECIPE = load_recipe(TINY)()


def batches(recipe, count=2):
    loader = training_loader(open_sources(recipe), start=0, stop=count, rank=0, world=1, workers=0, pin=False)
    return [next(loader) for _ in range(count)]


BATCHES = batches(RECIPE)


def fresh(recipe=RECIPE):
    torch.manual_seed(0)
    return TrainStep(recipe).train()


@pytest.fixture
def step():
    return fresh()


def with_ramp(recipe, ramp):
    objectives = tuple(objective.replace(ramp=ramp) for objective in recipe.objectives)
    return recipe.replace(objectives=objectives)


def only(name):
    """Return the recipe with one objective's rows in its batches, and those batches' first."""
    rows = Batch(**{**vars(BATCHES[0])})
    mask = rows.served[name]
    rows.labeled = {task: labeled & mask for task, labeled in rows.labeled.items()}
    rows.served = {task: served & mask for task, served in rows.served.items()}
    return rows


FAKE = {
    ("diagnosis", "supervised"): Loss(torch.tensor([2.0, 4.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])),  # 3
    ("diagnosis", "consistency"): Loss(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0])),  # 0.75
    ("lungs", "supervised"): Loss(torch.tensor([6.0, 0.0, 1.0]), torch.tensor([10.0, 0.0, 4.0])),  # 0.5
    ("lungs", "matching"): Loss(torch.zeros(2), torch.zeros(2)),  # nothing counted
}


def fake_losses(strategy: Strategy, task, window):
    window.log("coverage", Loss(torch.tensor([3.0]), torch.tensor([4.0])))
    return {term: loss for (name, term), loss in FAKE.items() if name == task.name}


@pytest.fixture
def faked(monkeypatch):
    for strategy in (FixMatch, PredictionMatching):
        monkeypatch.setattr(strategy, "losses", fake_losses)


def test_the_loss_is_the_weighted_sum_of_global_means(step, faked):
    loss, values = step(BATCHES[0], 0)
    assert values["diagnosis/supervised"].item() == 3.0
    assert values["diagnosis/consistency"].item() == 0.75
    assert values["lungs/supervised"].item() == 0.5  # 7 over 14 pixels, not the mean of 0.6 and 0.25
    assert values["lungs/coverage"].item() == 0.75
    expected = 1.0 * (3.0 + 0.25 * 0.75) + 5.0 * (0.5 + 0.002 * 0.0)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert values["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_a_floor_divides_what_counts_less(step, faked, monkeypatch):
    few = Loss(torch.tensor([3.0, 0.0]), torch.tensor([0.25, 0.0]), floor=1.0)
    monkeypatch.setitem(FAKE, ("diagnosis", "consistency"), few)
    monkeypatch.setitem(FAKE, ("lungs", "supervised"), replace(few, count=torch.tensor([1.5, 0.5])))
    loss, values = step(BATCHES[0], 0)
    assert values["diagnosis/consistency"].item() == 3.0
    assert values["lungs/supervised"].item() == 1.5
    assert loss.item() == pytest.approx(3.0 + 0.25 * 3.0 + 5.0 * 1.5)


def test_a_term_without_counted_rows_is_exactly_zero(step, faked):
    _, values = step(BATCHES[0], 0)
    assert values["lungs/matching"].item() == 0.0


def test_a_ramp_scales_every_term_but_the_supervised_one(faked):
    ramped = fresh(with_ramp(RECIPE, LinearRamp(0.5)))
    for number, share in ((0, 0.0), (3, 0.5), (6, 1.0), (11, 1.0)):  # of 12 steps, half are the ramp
        loss, values = ramped(BATCHES[0], number)
        assert loss.item() == pytest.approx(3.0 + share * 0.25 * 0.75 + 5.0 * 0.5, rel=1e-6)
        assert values["diagnosis/consistency"].item() == 0.75  # logged unscaled


def test_real_terms_add_up(step):
    loss, values = step(BATCHES[0], 0)
    expected = sum(
        GAMMA[task] * (1.0 if term == "supervised" else LAM[task]) * values[f"{task}/{term}"].item()
        for task, term in FAKE
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert all(value.isfinite() and not value.requires_grad for value in values.values())


@pytest.mark.parametrize(("present", "absent"), [("diagnosis", "lungs"), ("lungs", "diagnosis")])
def test_a_batch_without_rows_of_a_task(step, present, absent):
    loss, values = step(only(present), 0)
    loss.backward()
    assert all(values[f"{absent}/{term}"].item() == 0.0 for task, term in FAKE if task == absent)
    assert values[f"{present}/supervised"].item() > 0
    gradients = [p.grad for p in step.student.heads[absent].parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_hidden_labels_have_no_influence(step):
    expected, _ = step(BATCHES[0], 0)
    other = copy.deepcopy(BATCHES[0])
    other.audit = {name: type(target)(*(part * 0 + 1 for part in target)) for name, target in other.audit.items()}
    hidden = 0
    for name, target in other.targets.items():
        rows = ~other.labeled[name]
        target.labels[rows] = 1 - target.labels[rows].clamp(0, 1)
        target.weight[rows] = 1.0
        hidden += int(rows.sum())
    assert hidden == 12  # of 8 rows, 2 show a diagnosis and 2 a mask
    assert torch.equal(step(other, 0)[0], expected)


def test_a_visible_label_has_influence(step):
    expected, _ = step(BATCHES[0], 0)
    other = copy.deepcopy(BATCHES[0])
    rows = other.labeled["diagnosis"]
    other.targets["diagnosis"].labels[rows] = 1 - other.targets["diagnosis"].labels[rows]
    assert not torch.equal(step(other, 0)[0], expected)


def test_the_same_step_twice_is_the_same_to_the_bit_and_another_step_is_not(step):
    first, _ = step(BATCHES[0], 5)
    torch.randn(7)  # whatever else drew random numbers
    again, _ = step(BATCHES[0], 5)
    other, _ = step(BATCHES[0], 6)
    micro, _ = step(BATCHES[0], 5, 1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, micro)


@pytest.mark.parametrize(("dropout", "differs"), [(0.25, True), (0.0, False)])
def test_dropout_alone_depends_on_step_and_micro_step(dropout, differs):
    recipe = load_recipe(TINY)(dropout=dropout).replace(
        views=Views(strong=identity())
    )  # only dropout is left to chance
    still = fresh(recipe)
    first = still(BATCHES[0], 5)[0]
    assert torch.equal(first, still(BATCHES[0], 6)[0]) is not differs
    assert torch.equal(first, still(BATCHES[0], 5, 1)[0]) is not differs


def test_gradients_reach_every_parameter_of_the_student_and_none_of_the_teacher(step):
    step(BATCHES[0], 0)[0].backward()
    for name, parameter in step.student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    for name in ("encoder", "heads.diagnosis", "heads.lungs"):
        assert any(p.grad.any() for p in step.student.get_submodule(name).parameters()), name
    assert all(p.grad is None and not p.requires_grad for p in step.teacher.parameters())


def test_the_teacher_stays_in_evaluation_mode(step):
    step.eval()
    step.train()
    assert step.student.training
    assert not any(part.training for part in step.teacher.modules())


def test_rows_whose_prediction_becomes_a_label_leave_no_tape(step, monkeypatch):
    passes = []
    forward = type(step.student).forward

    def watched(model, images, rows):
        outputs = forward(model, images, rows)
        passes.append((len(images), outputs["diagnosis"].requires_grad))
        return outputs

    monkeypatch.setattr(type(step.student), "forward", watched)
    step(BATCHES[0], 0)
    # With tape: 2 strong unlabeled films, 2 labeled ones, 4 lung films. Without: 2 weak unlabeled films.
    assert passes == [(8, True), (2, False)]


def test_accumulated_gradients_are_the_mean_of_the_micro_steps(step):
    each = []
    for micro, batch in enumerate(BATCHES):
        step.zero_grad()
        step(batch, 3, micro)[0].backward()
        each.append([p.grad.clone() for p in step.student.parameters()])
    step.zero_grad()
    for micro, batch in enumerate(BATCHES):
        (step(batch, 3, micro)[0] / 2).backward()
    for parameter, one, two in zip(step.student.parameters(), *each, strict=True):
        assert torch.allclose(parameter.grad, (one + two) / 2, rtol=1e-4, atol=1e-7)


class Small(nn.Module):
    def __init__(self, weight, running, seen):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))
        self.register_buffer("running", torch.tensor([running]))
        self.register_buffer("seen", torch.tensor([seen]))


def moved(teacher, step):
    ours, theirs = Small(1.0, 1.0, 1), Small(3.0, 5.0, 9)
    teacher.update(ours, theirs, step)
    assert theirs.weight.item() == 3.0
    return ours.weight.item(), ours.running.item(), ours.seen.item()


def test_the_teacher_is_a_moving_average_and_copies_buffers():
    assert moved(Teacher(decay=0.9), 0) == pytest.approx((1.2, 5.0, 9))  # 0.9 * 1 + 0.1 * 3
    assert moved(Teacher(decay=0.9, buffers="ema"), 0) == pytest.approx((1.2, 1.4, 9))  # 0.9 * 1 + 0.1 * 5
    assert moved(Teacher(decay=0.0), 0) == pytest.approx((3.0, 5.0, 9))


@pytest.mark.parametrize(("step", "weight"), [(0, 3.0), (1, 2.0), (3, 1.5), (9, 1.2), (1000, 1.2)])
def test_warmup_averages_all_steps_evenly_at_first(step, weight):
    assert moved(Teacher(decay=0.9, warmup=True), step)[0] == pytest.approx(weight)  # d = min(0.9, 1 - 1/(t+1))


def test_update_teacher_moves_the_whole_model(step):
    with torch.no_grad():
        for parameter in step.student.parameters():
            parameter += 1.0
    before = [p.clone() for p in step.teacher.parameters()]
    step.update_teacher(0)
    for ours, old in zip(step.teacher.parameters(), before, strict=True):
        assert torch.allclose(ours, old + (1 - RECIPE.teacher.decay), atol=1e-6)


@final
class Greedy(Strategy):
    """Reads what it never asked for."""

    view: str = "weak"

    def needs(self):
        return frozenset({Need(rows="unlabeled", grad=False)})

    def losses(self, task, step):
        step.images(View(self.view), "labeled")


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_rows_that_no_need_asks_for_are_refused(view):
    """They used to be the last row of the view, silently."""
    objective = RECIPE.objectives[0]
    recipe = RECIPE.replace(objectives=(objective.replace(strategy=Greedy(view=view)), *RECIPE.objectives[1:]))
    with pytest.raises(ValueError, match=r"'diagnosis' reads the labeled rows of the view .* which none of its needs"):
        fresh(recipe)(BATCHES[0], 0)
