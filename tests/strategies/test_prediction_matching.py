"""PredictionMatching against numbers computed by hand. logit(3/4) = ln 3."""

import math

import pytest
import torch

from ssmtl.objective import Objective
from ssmtl.strategies.base import Need
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.task import Loss
from ssmtl_tasks.losses import Dice
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

LN3 = math.log(3)
LUNGS = Segmentation("lungs", classes=("lung",), loss=Dice())
LABELED, UNLABELED = Need(), Need(rows="unlabeled")


def maps(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)[:, None, None, :].requires_grad_()


@pytest.fixture
def step(fake_step):
    # two labeled images with p = (3/4, 1/4) and s = (1, 0), two unlabeled with q = (1/4, 1/4)
    target = Labels(torch.tensor([[[1, 0]], [[1, 0]]]), torch.ones(2, 1, 2))
    return fake_step({LABELED: maps([LN3, -LN3], [LN3, -LN3]), UNLABELED: maps([-LN3, -LN3], [-LN3, -LN3])}, target)


def test_melba_eq2(step, ratio):
    # Dice: 1 - (2 * 3/4 + 1)/(1 + 1 + 1) = 1/6. KL: (1/2 ln 3 + 0) / 2 pixels.
    terms = PredictionMatching().losses(LUNGS, step)
    assert ratio(terms["supervised"]) == pytest.approx(1 / 6)
    assert ratio(terms["matching"]) == pytest.approx(LN3 / 4)


def test_melba_eq5_is_the_weighted_sum_of_both_tasks(step, ratio):
    # alpha = gamma = 5, beta = gamma * lam = 0.01; lambda = 0.25 for the diagnosis
    lungs = Objective(LUNGS, PredictionMatching(), gamma=5.0, lam=0.002)
    diagnosis = Objective(LUNGS, FixMatch(), lam=0.25)
    terms = lungs.strategy.losses(LUNGS, step)
    total = sum(lungs.coefficient(name, 0, 100) * ratio(loss) for name, loss in terms.items())
    assert total == pytest.approx(5 / 6 + 0.01 * LN3 / 4)
    assert (diagnosis.coefficient("supervised", 0, 100), diagnosis.coefficient("consistency", 0, 100)) == (1.0, 0.25)


def test_gradient_stops_at_the_labeled_predictions(step):
    PredictionMatching().losses(LUNGS, step)["matching"].total.sum().backward()
    assert step.predictions[LABELED].grad is None
    torch.testing.assert_close(step.predictions[UNLABELED].grad.flatten(1), torch.tensor([[-0.25, 0.0]] * 2))


def test_gradient_reaches_them_when_asked(step):
    PredictionMatching(detach_target=False).losses(LUNGS, step)["matching"].total.sum().backward()
    assert step.predictions[LABELED].grad.abs().max() > 0.1


def test_reference_is_the_published_zero(step):
    loss: Loss = PredictionMatching(form="reference").losses(LUNGS, step)["matching"]
    loss.total.sum().backward()
    assert loss.total.tolist() == [0.0, 0.0]
    assert step.predictions[UNLABELED].grad.abs().sum() == 0


def test_none_asks_for_no_unlabeled_pass(step):
    strategy = PredictionMatching(form="none")
    assert strategy.needs() == {LABELED}
    assert list(strategy.losses(LUNGS, step)) == ["supervised"]
    assert step.asked == [LABELED]
    assert PredictionMatching(form="reference").needs() == {LABELED, UNLABELED}
