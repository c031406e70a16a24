"""PiModel against numbers computed by hand."""

import pytest
import torch
from small_steps import DIAGNOSIS, LUNGS, encoder_gradient, run, running

from ssmtl.strategies.base import Need
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.pi_model import PiModel
from ssmtl.strategies.supervised import Supervised
from ssmtl.views.geometry import View
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

LETTERS = Classification("letter", classes=("a", "b", "c"))
LABELED = Need()
FIRST = Need(rows="unlabeled", grad=False, bn="batch")
SECOND = Need(view=View("weak", 1), rows="unlabeled", bn="batch")


def logits(*rows: list[float]) -> torch.Tensor:
    """Return logits [n, 3] of probabilities."""
    return torch.tensor(rows).log().requires_grad_()


@pytest.fixture
def step(fake_step):
    labels = Labels(torch.tensor([1, 0]), torch.ones(2))
    first, second = logits([0.5, 0.25, 0.25], [0.8, 0.1, 0.1]), logits([0.25, 0.25, 0.5], [0.6, 0.3, 0.1])
    return fake_step({LABELED: logits([0.5, 0.25, 0.25], [0.8, 0.1, 0.1]), FIRST: first, SECOND: second}, labels)


def test_two_draws_of_the_weak_view_in_training_mode():
    assert PiModel().needs() == {LABELED, FIRST, SECOND}
    assert {need.bn for need in PiModel(bn_update="all").needs()} == {"update"}


def test_the_mean_runs_over_rows_and_classes(step, ratio):
    # (1/4)^2 + 0 + (1/4)^2 and 0.2^2 + 0.2^2 + 0, both over three classes
    terms = PiModel().losses(LETTERS, step)
    assert list(terms) == ["supervised", "consistency"]
    assert ratio(terms["consistency"]) == pytest.approx((1 / 24 + 0.08 / 3) / 2)


def test_gradient_flows_through_the_second_view_alone(step):
    """For d = p - q it is 2/3 p_j (d_j - sum_c p_c d_c): here d = (-1/4, 0, 1/4), and the sum is 1/16."""
    PiModel().losses(LETTERS, step)["consistency"].total.sum().backward()
    first_row = torch.tensor([-5.0, -1.0, 6.0]) / 96
    torch.testing.assert_close(step.predictions[SECOND].grad[0], first_row)
    # d = (-0.2, 0.2, 0), and the sum is -0.06
    torch.testing.assert_close(
        step.predictions[SECOND].grad[1], 2 / 3 * torch.tensor([0.6 * -0.14, 0.3 * 0.26, 0.1 * 0.06])
    )
    assert step.predictions[FIRST].grad is None
    assert step.predictions[LABELED].grad is None


def test_what_is_told_and_masked_is_the_first_view(step, ratio):
    """The second view would be sure of other rows: 0.5 and 0.6."""
    terms = PiModel(ood_mask=OODMask(0.5)).losses(LETTERS, step)
    assert terms["consistency"].count.tolist() == [0.0, 1.0]
    assert ratio(terms["consistency"]) == pytest.approx(0.08 / 3)
    assert step.logged["coverage"] == 1.0
    assert step.logged["confidence"] == pytest.approx((0.5 + 0.8) / 2)
    ((view, rows, target),) = step.audited
    assert (view, rows, target.labels.tolist()) == ("weak", "unlabeled", [0, 0])


def test_soft_masks_move_into_the_second_view(fake_step, ratio, monkeypatch):
    """Shifted right by one pixel, targets (.9 .6 .2) become (outside .9 .6), of which both outcomes are compared."""
    shift = torch.eye(3, dtype=torch.float64)[None].clone()
    shift[:, 0, 2] = 1
    lungs = Segmentation("lungs", classes=("lung",))
    first = torch.tensor([0.9, 0.6, 0.2]).logit().reshape(1, 1, 1, 3)
    second = torch.tensor([0.5, 0.7, 0.9]).logit().reshape(1, 1, 1, 3).requires_grad_()
    labels = Labels(torch.zeros(1, 1, 3).long(), torch.ones(1, 1, 3))
    step = fake_step({LABELED: second, FIRST: first, SECOND: second}, labels, shift)
    moves, move = [], step.move
    monkeypatch.setattr(step, "move", lambda *between: moves.append(between) or move(*between))
    loss = PiModel().losses(lungs, step)["consistency"]
    assert moves == [(View("weak", 0), View("weak", 1), "unlabeled")]
    assert loss.count.tolist() == [2.0]
    assert ratio(loss) == pytest.approx((0.2**2 + 0.3**2) / 2)
    loss.total.sum().backward()
    assert second.grad.flatten()[0] == 0.0
    # 2 (p - q) p (1 - p), as the mean over outcomes of two equal squares
    torch.testing.assert_close(second.grad.flatten()[1:], torch.tensor([2 * -0.2 * 0.21, 2 * 0.3 * 0.09]))


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
def test_a_real_step(task):
    base, _ = run(task, Supervised())
    step, values = run(task, PiModel(), lam=20.0)
    torch.testing.assert_close(values["loss"], values["task/supervised"] + 20.0 * values["task/consistency"])
    assert values["task/consistency"] > 0  # the two views differ
    assert values["task/coverage"] == 1.0
    assert 0 <= values["task/precision"] <= 1
    assert not torch.allclose(encoder_gradient(step), encoder_gradient(base), rtol=1e-3)
    assert torch.equal(running(step.student), running(base.student))
    everything, _ = run(task, PiModel(bn_update="all"))
    assert not torch.allclose(running(everything.student), running(base.student))


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
@pytest.mark.parametrize(("rows", "absent"), [("labeled", "consistency"), ("unlabeled", "supervised")])
def test_terms_without_rows_are_zero(task, rows, absent):
    step, values = run(task, PiModel(), rows=rows)
    assert list(values)[:2] == ["task/supervised", "task/consistency"]
    assert values[f"task/{absent}"] == 0.0
    assert encoder_gradient(step).isfinite().all()
