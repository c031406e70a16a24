"""Noise: the hash behind it, its distribution, and that it is the same whatever is asked for."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from ssmtl import keyed
from ssmtl.views.pixels import GaussianNoise, splitmix64, standard_normal


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9))
def test_hash_is_keyeds(words):
    unsigned = np.array(words, dtype=np.uint64)
    mixed = splitmix64(torch.from_numpy(unsigned.view(np.int64)))
    assert np.array_equal(mixed.numpy().view(np.uint64), keyed.splitmix64(unsigned))


def test_hash_has_known_answers():
    """The first two outputs of the published generator from state 0."""
    golden = 0x9E3779B97F4A7C15 - (1 << 64)
    mixed = splitmix64(torch.tensor([0, golden])).numpy().view(np.uint64)
    assert [hex(word) for word in mixed.tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_noise_is_normal_and_independent():
    """Mean, spread, tails and distribution; neighbors, rows below, channels and other seeds tell nothing."""
    seeds = torch.tensor([1, 2, 1 << 52])
    numbers = standard_normal(seeds, 3 * 128 * 128).numpy().astype(float)
    assert np.abs(numbers.mean(1)).max() < 4 / np.sqrt(numbers.shape[1])
    assert np.abs(numbers.std(1) - 1).max() < 0.012
    assert kstest(numbers.ravel(), "norm").pvalue > 0.001
    assert 3.7 < np.abs(numbers).max() < 4.4
    for lag in (1, 2, 3, 4, 128, 128 * 128):
        assert np.abs((numbers[:, lag:] * numbers[:, :-lag]).mean(1)).max() < 0.03
    assert np.abs(np.corrcoef(numbers) - np.eye(3)).max() < 0.02


def test_noise_is_the_same_whatever_is_asked_for():
    many = standard_normal(torch.tensor([7, 8, 9]), 1000)
    assert torch.equal(standard_normal(torch.tensor([7, 8, 9]), 333), many[:, :333])
    assert torch.equal(standard_normal(torch.tensor([8]), 1000), many[1:2])


@pytest.mark.parametrize("value", [0.01, 0.05, 0.3])
def test_noise_is_measured_in_the_range_of_levels(value):
    image = torch.full((1, 1, 200, 200), 128, dtype=torch.uint8)
    numbers = torch.tensor([[value, 0.1]], dtype=torch.float64)
    noise = GaussianNoise(0, 1).apply(image, numbers, None).double().numpy() - 128
    clipped = np.clip(np.random.default_rng(0).normal(0, 255 * value, 10**6), -128, 127)
    assert abs(noise.std() / np.hypot(clipped.std(), np.sqrt(1 / 12)) - 1) < 0.02
    assert abs(noise.mean() - clipped.mean()) < 5 * 255 * value / 200


def test_noise_draws_a_seed_beside_the_spread():
    uniform = np.array([[0.5, 0.9, 0.25], [1.0, 0.1, 0.75]])
    drawn = GaussianNoise(0.1, 0.3).draw(uniform, (4, 4), np.full((2, 2), 4))
    assert np.allclose(drawn, [[0.2, 0.25], [0.3, 0.75]])
    images = torch.full((2, 3, 37, 51), 100, dtype=torch.uint8)
    seeds = torch.tensor([[0.1, 0.25], [0.1, 0.25 + 2**-53]], dtype=torch.float64)
    one, other = GaussianNoise().apply(images, seeds, None)
    assert (one != other).float().mean() > 0.9
