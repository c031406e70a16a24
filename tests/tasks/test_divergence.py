"""KL(labeled || unlabeled) against numbers computed by hand. logit(3/4) = ln 3."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmtl.errors import RecipeError
from ssmtl.task import Loss
from ssmtl_tasks.segmentation import Segmentation

LN3 = math.log(3)
LUNGS = Segmentation("lungs", classes=("lung",))
THREE = Segmentation("organs", classes=("background", "lung", "heart"))


def maps(*rows: list[float]) -> torch.Tensor:
    """Return logits [n, 1, 1, pixels]."""
    return torch.tensor(rows)[:, None, None, :].requires_grad_()


def kl(labeled, unlabeled, form="bernoulli", *, detach_target=True, task=LUNGS) -> Loss:
    return task.divergence(labeled, unlabeled, form=form, detach_target=detach_target)


def test_bernoulli_is_the_mean_over_pixels_of_each_pair():
    # KL(3/4 || 1/4) = 1/2 ln 3, KL(3/4 || 3/4) = 0, KL(3/4 || 1/2) = ln 2 - H(1/4) = 3/4 ln 3 - ln 2
    loss = kl(maps([LN3, LN3], [LN3, LN3]), maps([-LN3, LN3], [0.0, 0.0]))
    torch.testing.assert_close(loss.total, torch.tensor([LN3 / 4, 0.75 * LN3 - math.log(2)]))
    assert loss.count.tolist() == [1.0, 1.0]


def test_gradient_is_q_minus_p_over_pixels_and_stops_at_the_target():
    labeled, unlabeled = maps([LN3, LN3]), maps([-LN3, LN3])
    kl(labeled, unlabeled).total.sum().backward()
    torch.testing.assert_close(unlabeled.grad.flatten(), torch.tensor([(0.25 - 0.75) / 2, 0.0]))
    assert labeled.grad is None
    kl(labeled, unlabeled, detach_target=False).total.sum().backward()
    # d KL / d a = p (1 - p) (a - b) = 3/16 * 2 ln 3, over 2 pixels
    torch.testing.assert_close(labeled.grad.flatten(), torch.tensor([3 / 16 * LN3, 0.0]))


def test_marginal_compares_the_mean_maps():
    # mean p = (3/4 + 1/4) / 2 = 1/2, mean q = 1/4: KL(1/2 || 1/4) = 1/2 ln(4/3); one pair, whatever the numbers
    loss = kl(maps([LN3], [-LN3]), maps([-LN3], [-LN3], [-LN3]), "marginal")
    torch.testing.assert_close(loss.total, torch.tensor([0.5 * math.log(4 / 3)]))
    assert loss.count.tolist() == [1.0]


def test_marginal_of_swapped_images_is_zero_where_bernoulli_is_not():
    labeled, unlabeled = maps([LN3, -LN3], [-LN3, LN3]), maps([-LN3, LN3], [LN3, -LN3])
    assert kl(labeled, unlabeled, "marginal").total.item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(kl(labeled, unlabeled).total, torch.full((2,), LN3 / 2))


def test_one_channel_is_not_a_softmax_over_one_channel():
    # the trap: softmax over one channel is 1 everywhere, so that the term and its gradient vanish
    unlabeled = maps([-LN3, 1.0])
    loss = kl(maps([LN3, -2.0]), unlabeled)
    loss.total.sum().backward()
    assert loss.total.item() > 0.5
    assert unlabeled.grad.abs().min() > 0.1


def test_reference_is_exactly_zero_connected_and_counted():
    unlabeled = maps([-LN3, float("inf")], [0.0, 1.0])
    loss = kl(maps([LN3, 0.0]), unlabeled, "reference")
    loss.total.sum().backward()
    assert loss.total.tolist() == [0.0, 0.0]
    assert loss.count.tolist() == [1.0, 1.0]
    assert unlabeled.grad.abs().sum() == 0


def test_none_takes_no_part():
    loss = kl(maps([LN3]), maps([-LN3]), "none")
    assert (loss.total.item(), loss.count.item()) == (0.0, 0.0)


@pytest.mark.parametrize("form", ["bernoulli", "marginal"])
def test_several_classes_are_categorical(form):
    # KL((1/2, 1/4, 1/4) || uniform) = 1/2 ln(3/2) + 1/2 ln(3/4) = 1/2 ln(9/8)
    labeled = torch.tensor([math.log(2), 0.0, 0.0]).reshape(1, 3, 1, 1)
    loss = kl(labeled, torch.zeros(1, 3, 1, 1), form, task=THREE)
    assert loss.total.item() == pytest.approx(0.5 * math.log(9 / 8))


def test_fewer_labeled_rows_start_over_and_more_are_left_out():
    a, b = [LN3], [-LN3]
    torch.testing.assert_close(kl(maps(a, b), maps(a, a, a)).total, torch.tensor([0.0, LN3 / 2, 0.0]))
    torch.testing.assert_close(kl(maps(a, b, b), maps(b)).total, torch.tensor([LN3 / 2]))


@pytest.mark.parametrize("form", ["bernoulli", "marginal", "reference", "none"])
@pytest.mark.parametrize(("labeled", "unlabeled"), [(0, 2), (2, 0), (0, 0)])
def test_no_rows_on_a_side_make_no_term(form, labeled, unlabeled):
    pred = torch.randn(unlabeled, 1, 4, 4, requires_grad=True)
    loss = kl(torch.randn(labeled, 1, 4, 4), pred, form)
    loss.total.sum().backward()
    assert loss.total.sum() == 0
    assert loss.total.shape == loss.count.shape
    assert not loss.count.requires_grad
    assert form == "reference" or loss.count.sum() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("form", ["bernoulli", "marginal"])
def test_certain_predictions_stay_finite(dtype, form):
    unlabeled = torch.tensor([[1e4, -1e4, 1e4]], dtype=dtype)[:, None, None].requires_grad_()
    loss = kl(torch.tensor([[1e4, 1e4, 0.0]], dtype=dtype)[:, None, None], unlabeled, form)
    loss.total.sum().backward()
    assert loss.total.dtype == torch.float32
    assert torch.isfinite(loss.total).all()
    assert torch.isfinite(unlabeled.grad).all()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31), form=st.sampled_from(["bernoulli", "marginal"]), task=st.sampled_from([LUNGS, THREE])
)
def test_never_negative_and_zero_for_equal_predictions(seed, form, task):
    random = torch.Generator().manual_seed(seed)
    a, b = 20 * torch.randn(2, 3, len(task.classes), 2, 2, generator=random)
    assert (kl(a, b, form, task=task).total >= -1e-6).all()
    torch.testing.assert_close(kl(a, a, form, task=task).total.sum(), torch.tensor(0.0))


def test_another_form_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'bernoulli'"):
        kl(maps([0.0]), maps([0.0]), "bernouli")
