"""The ability that MixUp needs: one distribution over outcomes per row."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.task import Mixable
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

ANIMAL = Classification("animal", classes=("bird", "cat", "deer"))
LOGITS = st.lists(st.floats(-60, 60, width=32), min_size=3, max_size=3).map(lambda row: torch.tensor([row]))


def logs(*rows):
    return torch.tensor(rows).log().requires_grad_()


def test_only_one_distribution_per_row_is_mixable():
    assert isinstance(ANIMAL, Mixable)
    assert not isinstance(Segmentation("lungs", classes=("lung",)), Mixable)
    assert not isinstance(Detection("cars", classes=("car",)), Mixable)


@given(LOGITS)
def test_probabilities_are_the_softmax_of_the_scores_and_a_prediction_has_them_again(pred):
    probabilities = ANIMAL.probabilities(pred)
    torch.testing.assert_close(ANIMAL.scores(pred).softmax(dim=1), probabilities)
    torch.testing.assert_close(ANIMAL.probabilities(ANIMAL.from_probabilities(probabilities)), probabilities)


def test_an_impossible_class_stays_impossible_and_finite():
    pred = ANIMAL.from_probabilities(torch.tensor([[0.0, 1.0, 0.0]]))
    assert torch.isfinite(pred).all()
    assert ANIMAL.probabilities(pred).tolist()[0] == pytest.approx([0.0, 1.0, 0.0], abs=1e-37)


def test_labels_become_distributions():
    soft = ANIMAL.one_hot(Labels(torch.tensor([2, 0]), torch.ones(2)))
    assert soft.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert soft.dtype == torch.float32
    assert ANIMAL.one_hot(Labels(torch.zeros(0).long(), torch.ones(0))).shape == (0, 3)


def test_soft_cross_entropy_by_hand():
    pred = logs((0.5, 0.25, 0.25), (0.1, 0.1, 0.8))
    loss = ANIMAL.soft_loss(pred, torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]))
    assert loss.total.tolist() == pytest.approx([1.25 * math.log(2), -math.log(0.8)], rel=1e-5)
    assert loss.count.tolist() == [1.0, 1.0]
    loss.total.sum().backward()
    # p - y
    torch.testing.assert_close(pred.grad, torch.tensor([[-0.25, 0.0, 0.25], [0.1, 0.1, -0.2]]))


def test_soft_cross_entropy_against_one_hot_labels_is_the_supervised_loss():
    torch.manual_seed(0)
    pred, target = torch.randn(5, 3), Labels(torch.tensor([0, 1, 2, 1, 0]), torch.ones(5))
    torch.testing.assert_close(
        ANIMAL.soft_loss(pred, ANIMAL.one_hot(target)).total, ANIMAL.supervised_loss(pred, target).total
    )


def test_squared_error_is_a_mean_over_classes():
    pred = logs((0.5, 0.25, 0.25), (0.1, 0.1, 0.8))
    loss = ANIMAL.soft_squared_error(pred, torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]))
    assert loss.total.tolist() == pytest.approx([0.0, (0.01 + 0.01 + 0.04) / 3], abs=1e-6)
    assert loss.count.tolist() == [1.0, 1.0]
    assert loss.total.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_of_half_precision_logits_are_float32(dtype):
    pred, soft = torch.tensor([[4.0, 0.0, -4.0]], dtype=dtype), torch.tensor([[0.0, 0.0, 1.0]])
    for loss in (ANIMAL.soft_loss(pred, soft), ANIMAL.soft_squared_error(pred, soft)):
        assert loss.total.dtype == torch.float32
    # 8 + ln(1 + e^-4 + e^-8): a half would have it to two or three digits
    expected = 8 + math.log1p(math.exp(-4) + math.exp(-8))
    assert ANIMAL.soft_loss(pred, soft).total.item() == pytest.approx(expected, rel=1e-6)
