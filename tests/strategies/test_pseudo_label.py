"""PseudoLabel against numbers computed by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_steps import DIAGNOSIS, LUNGS, encoder_gradient, run, running

from ssmtl.strategies.base import Need
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.pseudo_label import PseudoLabel
from ssmtl.strategies.supervised import Supervised
from ssmtl.views.geometry import Geometry
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

LETTERS = Classification("letter", classes=("a", "b", "c"))
LABELED, UNLABELED = Need(), Need(rows="unlabeled", bn="batch")


def logits(*rows: list[float]) -> torch.Tensor:
    """Return logits [n, 3] of probabilities."""
    return torch.tensor(rows).log().requires_grad_()


@pytest.fixture
def step(fake_step):
    labels = Labels(torch.tensor([1, 0]), torch.ones(2))
    sure, unsure = [0.8, 0.1, 0.1], [0.6, 0.3, 0.1]
    return fake_step({LABELED: logits([0.5, 0.25, 0.25], sure), UNLABELED: logits(sure, unsure)}, labels)


def test_one_unlabeled_pass_gives_target_and_prediction(step):
    assert PseudoLabel().needs() == {LABELED, UNLABELED}
    assert PseudoLabel(bn_update="all").needs() == {LABELED, Need(rows="unlabeled", bn="update")}
    PseudoLabel(0.7).losses(LETTERS, step)
    assert step.asked.count(UNLABELED) == 1


def test_the_mean_runs_over_masked_rows_too(step, ratio):
    terms = PseudoLabel(0.7).losses(LETTERS, step)
    assert list(terms) == ["supervised", "consistency"]
    assert ratio(terms["supervised"]) == pytest.approx((math.log(4) + math.log(5 / 4)) / 2)
    assert terms["consistency"].count.tolist() == [1.0, 1.0]
    assert ratio(terms["consistency"]) == pytest.approx(math.log(5 / 4) / 2)
    assert step.logged["coverage"] == 0.5
    assert step.logged["confidence"] == pytest.approx((0.8 + 0.6) / 2)


def test_gradient_flows_through_the_prediction_of_confident_rows_alone(step):
    PseudoLabel(0.7).losses(LETTERS, step)["consistency"].total.sum().backward()
    torch.testing.assert_close(step.predictions[UNLABELED].grad, torch.tensor([[-0.2, 0.1, 0.1], [0.0, 0.0, 0.0]]))
    assert step.predictions[LABELED].grad is None


@pytest.mark.parametrize(("threshold", "coverage"), [(0.5, 0.0), (0.5 - 2.0**-25, 1.0), (0.5 - 2.0**-26, 0.0)])
def test_the_threshold_itself_is_not_confident(fake_step, threshold, coverage):
    """Between 0.25 and 0.5, numbers of float32 are 2^-25 apart, so that the last one rounds to 0.5."""
    half = torch.tensor([[0.0, 0.0, -math.inf]])
    step = fake_step({LABELED: half, UNLABELED: half}, Labels(torch.tensor([0]), torch.ones(1)))
    PseudoLabel(threshold).losses(LETTERS, step)
    assert step.logged["coverage"] == coverage


def test_fixmatch_takes_what_this_method_leaves():
    half = torch.zeros(1, 2)
    two = Classification("letter", classes=("a", "b"))
    assert two.pseudo_label(half, FixMatch(threshold=0.5).threshold).weight.tolist() == [1.0]
    assert two.pseudo_label(half, PseudoLabel(0.5)._above).weight.tolist() == [0.0]


@given(st.floats(0, 1), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=4))
def test_strictness_is_that_of_float32(threshold, confidences):
    made = torch.tensor(confidences)
    assert torch.equal(made >= PseudoLabel(threshold)._above, made > torch.tensor(threshold, dtype=torch.float32))


def test_certainty_is_not_above_one(fake_step, ratio):
    sure = torch.tensor([[200.0, 0.0, 0.0]]).requires_grad_()
    step = fake_step({LABELED: sure, UNLABELED: sure}, Labels(torch.tensor([0]), torch.ones(1)))
    PseudoLabel(1.0).losses(LETTERS, step)
    assert step.logged["coverage"] == 0.0


def test_a_mask_drops_the_least_confident_row_from_the_mean(step, ratio):
    strategy = PseudoLabel(0.5, ood_mask=OODMask(0.5))
    terms = strategy.losses(LETTERS, step)
    assert terms["consistency"].count.tolist() == [1.0, 0.0]
    assert ratio(terms["consistency"]) == pytest.approx(math.log(5 / 4))
    ((rows, dropped),) = step.masks
    assert (rows, dropped.tolist()) == ("unlabeled", [False, True])


def test_pixels_of_padding_do_not_count(fake_step, ratio, monkeypatch):
    # p = .9 .8 .9 .3 of the class; the threshold .75 leaves the last pixel, the padding the third
    lungs = Segmentation("lungs", classes=("lung",))
    pred = torch.tensor([0.9, 0.8, 0.9, 0.3]).logit().reshape(1, 1, 1, 4).requires_grad_()
    step = fake_step({LABELED: pred, UNLABELED: pred}, Labels(torch.zeros(1, 1, 4).long(), torch.ones(1, 1, 4)))
    valid = torch.tensor([[[True, True, False, True]]])
    still = Geometry(torch.eye(3, dtype=torch.float64)[None], (1, 4), valid)
    monkeypatch.setattr(step, "move", lambda source, into, rows: still)
    loss = PseudoLabel(0.75).losses(lungs, step)["consistency"]
    assert loss.count.tolist() == [3.0]
    assert ratio(loss) == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 3)


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
def test_a_real_step(task):
    base, _ = run(task, Supervised())
    step, values = run(task, PseudoLabel(0.5), lam=3.0)
    total = values["task/supervised"] + 3.0 * values["task/consistency"]
    torch.testing.assert_close(values["loss"], total)
    assert values["task/consistency"] > 0
    assert 0 <= values["task/precision"] <= 1
    assert not torch.allclose(encoder_gradient(step), encoder_gradient(base), rtol=1e-3)
    assert torch.equal(running(step.student), running(base.student))
    everything, _ = run(task, PseudoLabel(0.5, bn_update="all"))
    assert not torch.allclose(running(everything.student), running(base.student))


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
@pytest.mark.parametrize(("rows", "absent"), [("labeled", "consistency"), ("unlabeled", "supervised")])
def test_terms_without_rows_are_zero(task, rows, absent):
    step, values = run(task, PseudoLabel(0.5), rows=rows)
    assert list(values)[:2] == ["task/supervised", "task/consistency"]
    assert values[f"task/{absent}"] == 0.0
    assert encoder_gradient(step).isfinite().all()
