import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ssmtl.component import resolve
from ssmtl.optimizers import AdamW


class Tiny(nn.Module):
    """A kernel, a bias, and a norm with running statistics."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.norm = nn.BatchNorm1d(1)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 2.0)


def stepped(optimizer, gradient):
    model = Tiny()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.build(model).step()
    return model


def test_it_is_found_under_its_name_with_the_defaults_of_mixmatch():
    assert resolve("optimizers", "AdamW") is AdamW
    assert AdamW() == AdamW(2e-3, weight_decay=0.02)


def test_a_step_of_kernels_is_that_of_hand():
    """First moment 0.05, second 0.00025, both corrected: 0.5 / (sqrt(0.25) + 1e-8), so the step is the rate."""
    model = stepped(AdamW(), 0.5)
    update = 0.002 * 0.5 / (0.5 + 1e-8)
    assert model.linear.weight.double().item() == pytest.approx(2.0 * (1 - 4e-5) - update, abs=3e-7)


def test_it_is_mixmatchs_decay_but_for_its_share_of_one_update():
    """MixMatch: Adam first, then the kernel times 1 - 4e-5."""
    model = stepped(AdamW(), 0.5)
    mixmatch = (2.0 - 0.002) * (1 - 4e-5)
    assert model.linear.weight.double().item() == pytest.approx(mixmatch, abs=4e-5 * 0.002 + 3e-7)


def test_the_gradient_does_not_enter_the_decay():
    """With L2 in the gradient Adam would divide the decay away: this is decoupled, whatever the gradient's size."""
    small, large = (stepped(AdamW(weight_decay=10.0), gradient).linear.weight.item() for gradient in (1e-3, 1e3))
    assert small == pytest.approx(large, abs=1e-6)
    assert large == pytest.approx(2.0 * (1 - 0.02) - 0.002, abs=1e-6)


def test_norms_biases_and_running_statistics_never_decay():
    model = stepped(AdamW(weight_decay=0.5), 0.0)
    assert model.linear.weight.item() == pytest.approx(2.0 * (1 - 0.001))
    for value in (model.linear.bias, model.norm.weight, model.norm.bias):
        assert value.item() == 2.0
    assert model.norm.running_mean.item() == 0.0
    assert model.norm.running_var.item() == 1.0


def test_a_rate_that_a_schedule_lowers_lowers_the_decay():
    model = Tiny()
    optimizer = AdamW().build(model)
    for group in optimizer.param_groups:
        group["lr"] = 1e-4
    model.linear.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert model.linear.weight.double().item() == pytest.approx(2.0 * (1 - 2e-6), abs=3e-7)


@pytest.mark.parametrize("fields", [{"lr": 0.0}, {"weight_decay": -0.1}, {"lr": math.nan}])
def test_refuses_values_out_of_range(fields):
    with pytest.raises(ValidationError):
        AdamW(**fields)
