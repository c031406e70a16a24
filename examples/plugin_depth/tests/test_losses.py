"""Losses against numbers worked out by hand from the papers' equations."""

import math

import pytest
import torch

from ssmtl_depth import Depth, DepthMap, DepthPrediction
from ssmtl_depth.losses import laplace, scale_invariant
from ssmtl_depth.maps import LEAST_LOG_SCALE, closeness

ONE = torch.ones(1, 1, 2)


def a_map(depth, weight=None):
    log_depth = torch.tensor(depth).log()
    weight = torch.ones_like(log_depth) if weight is None else torch.tensor(weight)
    return DepthMap(log_depth, weight, torch.ones_like(log_depth, dtype=torch.bool))


def a_prediction(depth, scale=1.0):
    log_depth = torch.tensor(depth).log()
    return DepthPrediction(log_depth, torch.full_like(log_depth, math.log(scale)))


def test_eigen_equation_4_by_hand():
    difference = torch.tensor([[[0.2, 0.6]]])  # mean of squares 0.2, square of the mean 0.16
    assert scale_invariant(difference, ONE, 0.5) == pytest.approx(0.12)
    assert scale_invariant(difference, ONE, 0.0) == pytest.approx(0.2)
    assert scale_invariant(difference, ONE, 1.0) == pytest.approx(0.04)  # the variance


def test_a_common_factor_is_free_at_full_invariance_and_costs_half_by_default():
    truth, pred = a_map([[[2.0, 3.0, 7.0]]]), a_prediction([[[4.0, 6.0, 14.0]]], scale=math.exp(LEAST_LOG_SCALE))
    free = Depth("depth", invariance=1.0, certainty=1e-9).supervised_loss(pred, truth)
    half = Depth("depth", invariance=0.5, certainty=1e-9).supervised_loss(pred, truth)
    assert free.total.item() == pytest.approx(0, abs=1e-6)
    assert half.total.item() == pytest.approx(math.log(2) ** 2 / 2, rel=1e-5)


def test_likelihood_by_hand_and_its_best_scale_is_the_error():
    difference = torch.tensor([[[0.5, -0.5]]])
    at = {b: laplace(difference, torch.full_like(difference, math.log(b)), ONE).item() for b in (0.25, 0.5, 1.0)}
    assert at[0.25] == pytest.approx(2 + math.log(0.25) - LEAST_LOG_SCALE)
    assert at[0.5] == pytest.approx(1 + math.log(0.5) - LEAST_LOG_SCALE)
    assert at[0.5] < min(at[0.25], at[1.0])  # the maximum likelihood estimate of b is the mean of |d|


def test_the_likelihood_is_0_for_what_is_right_and_sure():
    task, truth = Depth("depth"), a_map([[[2.0, 9.0]]])
    assert task.supervised_loss(task.as_prediction(truth), truth).total.item() == 0


def test_the_scale_learns_from_the_error_and_the_depth_not_from_the_scale():
    task, truth = Depth("depth", certainty=1.0), a_map([[[2.0, 9.0]]])
    grads = []
    for scale in (0.05, 2.0):
        leaves = [part.requires_grad_() for part in a_prediction([[[3.0, 8.0]]], scale)]
        task.supervised_loss(DepthPrediction(*leaves), truth).total.sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    assert torch.equal(grads[0][0], grads[1][0])
    assert (grads[0][1] < 0).all()  # too sure: b must rise
    assert (grads[1][1] > 0).all()  # not sure enough: b must fall


def test_an_image_counts_once_however_few_pixels_are_known():
    task = Depth("depth", certainty=1e-9)
    truth = a_map([[[2.0, 2.0]], [[2.0, 2.0]], [[2.0, 2.0]]], weight=[[[1.0, 1.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    pred = a_prediction([[[4.0, 4.0]], [[4.0, 99.0]], [[77.0, 99.0]]], scale=math.exp(LEAST_LOG_SCALE))
    loss = task.supervised_loss(pred, truth)
    half = math.log(2) ** 2 / 2
    assert loss.total.tolist() == pytest.approx([half, half, 0])
    assert loss.count.tolist() == [1, 1, 0]


def test_the_probability_of_being_close_is_that_of_laplace():
    b = torch.tensor([math.log(1.25), 2 * math.log(1.25), 1e-9, 1e9])
    found = closeness(b.log())
    assert found.tolist() == pytest.approx([1 - math.exp(-1), 1 - math.exp(-0.5), 1.0, 0.0], abs=1e-6)
    draws = torch.distributions.Laplace(0.0, 0.1).sample((200_000,))
    assert (draws.abs() < math.log(1.25)).float().mean().item() == pytest.approx(
        closeness(torch.tensor(0.1).log()).item(), abs=0.005
    )


def test_pseudo_labels_teach_where_the_scale_is_small_and_count_everywhere():
    task = Depth("depth")
    sure, unsure = math.log(0.05), math.log(0.5)  # probabilities 0.988 and 0.360
    weak = DepthPrediction(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[sure, unsure]]]))
    target = task.pseudo_label(weak, 0.5)
    assert target.weight.tolist() == [[[1, 0]]]
    strong = DepthPrediction(torch.tensor([[[1.3, 7.0]]], requires_grad=True), torch.zeros(1, 1, 2, requires_grad=True))
    loss = task.unsupervised_loss(strong, target)
    assert loss.total.item() == pytest.approx(0.3)
    assert loss.count.item() == 2
    loss.total.sum().backward()
    assert strong.log_depth.grad.tolist() == [[[1, 0]]]
    assert strong.log_scale.grad is None  # pseudo-labels say nothing of how wrong predictions are


def test_the_threshold_is_a_probability_and_is_reached_not_exceeded():
    task = Depth("depth")
    weak = DepthPrediction(torch.zeros(1, 1, 1), torch.tensor([[[math.log(0.1)]]]))
    exact = closeness(weak.log_scale).item()
    assert task.pseudo_label(weak, exact).weight.item() == 1
    assert task.pseudo_label(weak, exact + 1e-6).weight.item() == 0
    assert task.confidence(weak).item() == pytest.approx(exact)


def test_what_is_not_valid_has_no_influence_even_where_it_weighs():
    task = Depth("depth")
    target = DepthMap(torch.zeros(1, 1, 2), torch.ones(1, 1, 2), torch.tensor([[[True, False]]]))
    pred = DepthPrediction(torch.tensor([[[0.5, 80.0]]]), torch.zeros(1, 1, 2))
    alone = DepthPrediction(pred.log_depth[..., :1], pred.log_scale[..., :1])
    first = DepthMap(*(part[..., :1] for part in target))
    for name in ("supervised_loss", "unsupervised_loss"):
        both, one = getattr(task, name)(pred, target), getattr(task, name)(alone, first)
        assert both.total.item() == pytest.approx(one.total.item())
        assert both.count.item() == one.count.item() == 1


def test_the_audit_counts_trusted_pixels_within_a_factor_of_one_and_a_quarter():
    task = Depth("depth")
    guess, hidden = a_map([[[2.4, 2.6, 9.0, 2.0]]], weight=[[[1.0, 1.0, 0.0, 1.0]]]), a_map([[[2.0, 2.0, 2.0, 2.0]]])
    hidden = hidden._replace(weight=torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]))
    precision = task.audit(guess, hidden)["precision"]
    assert (precision.total.item(), precision.count.item()) == (1, 2)
