"""Mask metrics against numbers computed by hand, brute force, and scikit-image."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from ssmtl_tasks.mask_metrics import MASK_METRICS, StructuralSimilarity


def measure(name: str, probability, reference, valid=None) -> float:
    metric = MASK_METRICS[name]()
    probability, reference = torch.as_tensor(probability).float(), torch.as_tensor(reference).bool()
    metric.update(
        probability, reference, torch.ones_like(reference) if valid is None else torch.as_tensor(valid).bool()
    )
    return metric.compute().item()


# image 0: |A| = 3, |B| = 2, both 2: D = 4/5, J = 2/3, P = 2/3, R = 1
# image 1: |A| = 1, |B| = 2, both 1: D = 2/3, J = 1/2, P = 1, R = 1/2
PROBABILITY = [[[0.5, 0.9], [0.6, 0.4]], [[0.8, 0.2], [0.1, 0.49]]]
REFERENCE = [[[1, 1], [0, 0]], [[1, 0], [0, 1]]]


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [("dice", 4 / 5, 2 / 3), ("jaccard", 2 / 3, 1 / 2), ("precision", 2 / 3, 1), ("recall", 1, 1 / 2)],
)
def test_overlap_is_per_image_then_mean(name, first, second):
    assert measure(name, PROBABILITY, REFERENCE) == pytest.approx((first + second) / 2)


def test_soft_dice_uses_probabilities():
    # sum ps = 1.4, sum p = 2.4, sum s = 2: 2.8 / 4.4; 1.29, 1.59, 2: 2.58 / 3.59
    assert measure("soft_dice", PROBABILITY, REFERENCE) == pytest.approx((2.8 / 4.4 + 2.58 / 3.59) / 2, rel=1e-6)


@pytest.mark.parametrize("name", ["dice", "jaccard", "precision", "recall", "soft_dice"])
def test_both_empty_is_complete_agreement_and_one_empty_is_none(name):
    nothing, something = torch.zeros(1, 4, 4), torch.eye(4)[None]
    assert measure(name, nothing, nothing) == 1
    assert measure(name, nothing, something) == 0
    assert measure(name, something, nothing) == 0


@pytest.mark.parametrize("name", sorted(MASK_METRICS))
def test_ignored_pixels_are_excluded(name):
    random = np.random.default_rng(0)
    probability, reference = random.random((2, 12, 12)), random.random((2, 12, 12)) < 0.5
    valid = np.ones((2, 12, 12))
    valid[:, :, 9:] = 0
    cropped = measure(name, probability[:, :, :9], reference[:, :, :9])
    assert measure(name, probability, reference, valid) == pytest.approx(cropped)
    reference[:, :, 9:] ^= True
    assert measure(name, probability, reference, valid) == pytest.approx(cropped)


@pytest.mark.parametrize("name", sorted(MASK_METRICS))
def test_batches_and_processes_add_up(name):
    random = torch.Generator().manual_seed(0)
    probability, reference = torch.rand(3, 9, 9, generator=random), torch.rand(3, 9, 9, generator=random) < 0.5
    valid = torch.ones(3, 9, 9).bool()
    whole, one, other = (MASK_METRICS[name]() for _ in range(3))
    whole.update(probability, reference, valid)
    one.update(probability[:1], reference[:1], valid[:1])
    other.update(probability[1:], reference[1:], valid[1:])
    other.update(probability[:0], reference[:0], valid[:0])
    one.merge_state(other)
    assert one.compute().item() == pytest.approx(whole.compute().item(), rel=1e-12)


def test_ssim_is_that_of_a_uniform_7x7_window_on_cut_masks():
    random = np.random.default_rng(1)
    probability, reference = random.random((16, 20)), random.random((16, 20)) < 0.3
    expected = structural_similarity((probability >= 0.5) * 1.0, reference * 1.0, win_size=7, data_range=1.0)
    assert measure("ssim", probability[None], reference[None]) == pytest.approx(expected, rel=1e-12)


def test_ssim_by_hand():
    # constant masks 0 and 1: (2*0*1 + c1)(0 + c2) / ((0 + 1 + c1)(0 + c2)), c1 = .01^2
    assert measure("ssim", torch.zeros(1, 7, 7), torch.ones(1, 7, 7)) == pytest.approx(1e-4 / 1.0001)
    assert measure("ssim", torch.ones(1, 7, 7), torch.ones(1, 7, 7)) == pytest.approx(1)


def test_ssim_without_a_whole_window_is_not_counted():
    metric = StructuralSimilarity()
    metric.update(torch.zeros(1, 6, 20), torch.zeros(1, 6, 20).bool(), torch.ones(1, 6, 20).bool())
    assert metric.count == 0
    assert math.isnan(metric.compute())


def points(*where: tuple[int, int]) -> torch.Tensor:
    mask = torch.zeros(1, 6, 8)
    for y, x in where:
        mask[0, y, x] = 1
    return mask


def test_average_hausdorff_is_the_mean_of_two_directed_means_over_whole_sets():
    # row of 4 against its first pixel: (0 + 1 + 2 + 3)/4 = 1.5 one way, 0 the other: not the max 1.5
    assert measure("hausdorff", points((0, 0), (0, 1), (0, 2), (0, 3)), points((0, 0))) == pytest.approx(0.75)
    assert measure("hausdorff", points((0, 0)), points((3, 4))) == pytest.approx(5)
    # a full 3x3 square against its center: (4*1 + 4*sqrt 2 + 0)/9 over all pixels, not over the outline's 8
    square = points(*((y, x) for y in range(3) for x in range(3)))
    assert measure("hausdorff", square, points((1, 1))) == pytest.approx((4 + 4 * math.sqrt(2)) / 18)
    assert measure("hausdorff", points((1, 1)), square) == pytest.approx((4 + 4 * math.sqrt(2)) / 18)


def test_average_hausdorff_is_not_the_max_nor_pooled_over_both_sets():
    # directed means (2 + 1 + 0)/3 = 1 and (0 + 5)/2 = 2.5: 1.75, not 2.5, and not 8/5 over all pixels of both
    assert measure("hausdorff", points((0, 0), (0, 1), (0, 2)), points((0, 2), (0, 7))) == pytest.approx(1.75)


def test_empty_masks_cost_the_diagonal_and_are_counted():
    nothing, something = points(), points((0, 0))
    assert measure("hausdorff", nothing, something) == pytest.approx(10)  # sqrt(6^2 + 8^2)
    assert measure("hausdorff", something, nothing) == pytest.approx(10)
    assert measure("hausdorff", nothing, nothing) == 0
    probability, reference = torch.cat([nothing, something, nothing]), torch.cat([something, something, nothing])
    assert measure("hausdorff_empty", probability, reference) == 1
    assert measure("hausdorff", torch.zeros(1, 256, 256), torch.ones(1, 256, 256)) == pytest.approx(362.04, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), density=st.floats(0.02, 0.6))
def test_average_hausdorff_against_brute_force(seed, density):
    random = np.random.default_rng(seed)
    a, b = random.random((2, 9, 11)) < density
    a[2, 3] = b[5, 5] = True
    distances = np.linalg.norm(np.argwhere(a)[:, None] - np.argwhere(b)[None], axis=2)
    expected = (distances.min(axis=1).mean() + distances.min(axis=0).mean()) / 2
    assert measure("hausdorff", a[None], b[None]) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_jaccard_follows_from_dice_in_every_image(seed):
    random = np.random.default_rng(seed)
    probability, reference = random.random((1, 5, 5)), random.random((1, 5, 5)) < 0.5
    dice, jaccard = measure("dice", probability, reference), measure("jaccard", probability, reference)
    assert jaccard == pytest.approx(dice / (2 - dice))
    assert jaccard <= dice
