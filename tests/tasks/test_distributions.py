"""Predictions as distributions: what soft targets, divergences and confidences are, in numbers computed by hand."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.task import Confident, Distributions
from ssmtl.views.geometry import Geometry
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import SoftLabels

LETTERS = Classification("letter", classes=("a", "b", "c"))
LUNGS = Segmentation("lungs", classes=("lung",))
ORGANS = Segmentation("organs", classes=("background", "lung", "heart"))
P, Q, R = [1 / 2, 1 / 4, 1 / 4], [1 / 4, 1 / 4, 1 / 2], [0.8, 0.1, 0.1]


def rows(*distributions):
    return torch.tensor(distributions).log().requires_grad_()


def pixels(*distributions):
    """Return logits of one image, one pixel per distribution, side by side: [1, k, 1, w]."""
    return torch.tensor(distributions).log().T[None, :, None].requires_grad_()


def lung(*probabilities):
    return torch.tensor(probabilities).logit().reshape(1, 1, 1, -1).requires_grad_()


def shift(by, size, **fields):
    matrix = torch.eye(3, dtype=torch.float64)[None].clone()
    matrix[:, 0, 2] = by
    return Geometry(matrix, size, **fields)


def test_who_has_the_ability():
    for task in (LETTERS, LUNGS, ORGANS):
        assert isinstance(task, Distributions)
        assert isinstance(task, Confident)
    boxes = Detection("boxes", classes=("car",))
    assert not isinstance(boxes, Distributions)
    assert not isinstance(boxes, Confident)


def test_soft_targets_of_images_are_their_probabilities_without_gradient():
    target = LETTERS.soft_target(rows(P, R))
    torch.testing.assert_close(target, torch.tensor([P, R]))
    assert not target.requires_grad
    assert LETTERS.warp_soft(target, shift(1.0, (4, 4))) is target


def test_squared_error_of_images_is_a_mean_over_classes():
    pred = rows(Q, [0.6, 0.3, 0.1])
    loss = LETTERS.squared_error(pred, LETTERS.soft_target(rows(P, R)))
    torch.testing.assert_close(loss.total, torch.tensor([1 / 24, 0.08 / 3]))
    assert loss.count.tolist() == [1.0, 1.0]
    loss.total[0].backward()
    torch.testing.assert_close(pred.grad, torch.tensor([[-5 / 96, -1 / 96, 6 / 96], [0.0, 0.0, 0.0]]))


def test_kl_of_images_weighs_by_the_first_distribution():
    """Swapped, the second row would be 0.8 ln 1.6 + 0.2 ln 0.4."""
    loss = LETTERS.kl(rows(P, P), rows(Q, R))
    torch.testing.assert_close(loss.total, torch.tensor([log(2) / 4, 0.5 * log(0.625) + 0.5 * log(2.5)]))
    assert loss.count.tolist() == [1.0, 1.0]


def test_the_gradient_of_kl_flows_into_both():
    """By the logits of q it is q - p; by those of p, p_j (ln p_j/q_j - KL), with ln p/q = ln 2 (1, 0, -1)."""
    p, q = rows(P), rows(Q)
    LETTERS.kl(p, q).total.sum().backward()
    torch.testing.assert_close(q.grad, torch.tensor([[-1 / 4, 0.0, 1 / 4]]))
    torch.testing.assert_close(p.grad, log(2) * torch.tensor([[1 / 2 * 3 / 4, 1 / 4 * -1 / 4, 1 / 4 * -5 / 4]]))


def test_entropy_of_images_and_its_gradient():
    pred = rows(P, [1 / 3] * 3)
    loss = LETTERS.entropy(pred)
    torch.testing.assert_close(loss.total, torch.tensor([1.5 * log(2), log(3)]))
    assert loss.count.tolist() == [1.0, 1.0]
    loss.total.sum().backward()
    # -p_j (ln p_j + H)
    torch.testing.assert_close(pred.grad, log(2) * torch.tensor([[-1 / 4, 1 / 8, 1 / 8], [0.0, 0.0, 0.0]]))


def test_confidence_is_the_largest_probability_of_an_image():
    found = LETTERS.confidence(rows(P, R))
    torch.testing.assert_close(found, torch.tensor([0.5, 0.8]))
    assert not found.requires_grad


def test_confidence_of_a_mask_is_the_geometric_mean_of_its_pixels():
    torch.testing.assert_close(ORGANS.confidence(pixels(R, P)), torch.tensor([(0.8 * 0.5) ** 0.5]))
    torch.testing.assert_close(LUNGS.confidence(lung(0.9, 0.4)), torch.tensor([(0.9 * 0.6) ** 0.5]))
    assert not LUNGS.confidence(lung(0.9)).requires_grad


def test_one_class_has_two_outcomes():
    target = LUNGS.soft_target(lung(0.9, 0.25))
    torch.testing.assert_close(target.probabilities[0, :, 0], torch.tensor([[0.1, 0.75], [0.9, 0.25]]))
    assert target.weight.tolist() == [[[1.0, 1.0]]]
    assert not target.probabilities.requires_grad


def test_squared_error_of_masks_counts_pixels_with_a_weight():
    target = ORGANS.soft_target(pixels(P, P, R))._replace(weight=torch.tensor([[[1.0, 0.0, 0.5]]]))
    loss = ORGANS.squared_error(pixels(Q, R, [0.6, 0.3, 0.1]), target)
    torch.testing.assert_close(loss.total, torch.tensor([1 / 24 + 0.5 * 0.08 / 3]))
    assert loss.count.tolist() == [1.5]
    # of one class, both outcomes err alike, and their mean is one's square
    loss = LUNGS.squared_error(lung(0.6, 0.9), LUNGS.soft_target(lung(0.9, 0.9)))
    torch.testing.assert_close(loss.total, torch.tensor([0.09]))
    assert loss.count.tolist() == [2.0]


def test_kl_and_entropy_of_masks_are_sums_of_pixels():
    loss = ORGANS.kl(pixels(P, P), pixels(Q, R))
    torch.testing.assert_close(loss.total, torch.tensor([log(2) / 4 + 0.5 * log(0.625) + 0.5 * log(2.5)]))
    assert loss.count.tolist() == [2.0]
    loss = LUNGS.kl(lung(0.5, 0.75), lung(0.25, 0.75))
    torch.testing.assert_close(loss.total, torch.tensor([0.5 * log(2) + 0.5 * log(2 / 3)]))
    loss = LUNGS.entropy(lung(0.5, 0.25))
    torch.testing.assert_close(loss.total, torch.tensor([log(2) + 0.25 * log(4) + 0.75 * log(4 / 3)]))
    assert loss.count.tolist() == [2.0]


def test_soft_masks_move_with_the_image():
    target = LUNGS.soft_target(lung(0.9, 0.5, 0.1))
    moved = LUNGS.warp_soft(target, shift(1.0, (1, 3)))
    assert moved.weight.tolist() == [[[0.0, 1.0, 1.0]]]
    torch.testing.assert_close(moved.probabilities[0, 1, 0, 1:], torch.tensor([0.9, 0.5]))
    halfway = LUNGS.warp_soft(target, shift(0.5, (1, 3)))
    torch.testing.assert_close(halfway.probabilities[0, 1, 0, 1:], torch.tensor([0.7, 0.3]))


def test_what_a_view_never_saw_or_blanked_has_no_weight():
    seen = torch.tensor([[[True, False, True]]])
    target = LUNGS.soft_target(lung(0.9, 0.5, 0.1))
    assert LUNGS.warp_soft(target, shift(0.0, (1, 3), valid=seen)).weight.tolist() == [[[1.0, 0.0, 1.0]]]
    assert LUNGS.warp_soft(target, shift(0.0, (1, 3), erased=~seen)).weight.tolist() == [[[1.0, 0.0, 1.0]]]
    assert LUNGS.warp_soft(target, shift(1.0, (1, 3), valid=seen)).weight.tolist() == [[[0.0, 1.0, 0.0]]]


@given(st.integers(0, 2**31), st.floats(-3, 3), st.floats(0.5, 2.0))
def test_moved_distributions_stay_distributions(seed, by, scale):
    logits = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    matrix = torch.tensor([[scale, 0.1, by], [0.0, 1.0, -by / 2], [0.0, 0.0, 1.0]], dtype=torch.float64)
    moved = ORGANS.warp_soft(ORGANS.soft_target(logits), Geometry(matrix.expand(2, 3, 3), (5, 6)))
    assert isinstance(moved, SoftLabels)
    total = moved.probabilities.sum(dim=1)
    torch.testing.assert_close(total[moved.weight > 0], torch.ones_like(total[moved.weight > 0]), rtol=1e-4, atol=1e-4)


@given(st.integers(0, 2**31), st.sampled_from([LETTERS, LUNGS, ORGANS]))
def test_divergences_are_never_negative_and_0_of_equals(seed, task):
    draw = torch.Generator().manual_seed(seed)
    shape = (3, 3) if task is LETTERS else (3, len(task.classes), 2, 2)
    one, other = (4 * torch.randn(shape, generator=draw) for _ in range(2))
    assert (task.kl(one, other).total >= -1e-5).all()
    assert (task.kl(one, one).total == 0).all()
    assert (task.squared_error(one, task.soft_target(one)).total == 0).all()
    most = log(max(len(task.classes), 2)) * task.entropy(one).count
    assert (task.entropy(one).total <= most + 1e-4).all()


@pytest.mark.parametrize("task", [LETTERS, LUNGS, ORGANS], ids=lambda task: task.name)
def test_losses_are_float32_finite_and_defined_without_rows(task):
    shape = (len(task.classes),) if task is LETTERS else (len(task.classes), 2, 2)
    extreme = torch.full((2, *shape), 300.0, dtype=torch.bfloat16)
    extreme[:, 0] = -300.0
    extreme.requires_grad_()
    for pred in (extreme, extreme[:0]):
        target = task.soft_target(pred)
        losses = task.squared_error(pred, target), task.kl(pred, pred), task.entropy(pred)
        assert all(loss.total.dtype == torch.float32 for loss in losses)
        assert all(loss.total.shape == loss.count.shape == (len(pred),) for loss in losses)
        assert all(loss.total.isfinite().all() and loss.total.requires_grad for loss in losses)
        (gradient,) = torch.autograd.grad(sum(loss.total.sum() for loss in losses), extreme)
        assert gradient.isfinite().all()
        assert task.confidence(pred).shape == (len(pred),)
