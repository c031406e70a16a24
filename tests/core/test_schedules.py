"""Schedules against the numbers of their equations."""

import math

import pytest
from pydantic import ValidationError

from ssmtl.schedules import Constant, Cosine, FixMatchCosine, LinearRamp, Milestones, Poly, SigmoidRamp, StepDecay

CASES = [
    (Constant(0.3), 5, 10, 0.3),
    (LinearRamp(0.4), 0, 100, 0.0),
    (LinearRamp(0.4), 10, 100, 0.25),
    (LinearRamp(0.4), 40, 100, 1.0),
    (LinearRamp(0.0), 0, 100, 1.0),
    (LinearRamp(0.16, over=16_384), 8_192, 500_000, 0.5),  # 16,384 is less than 80,000
    (LinearRamp(0.16, over=16_384), 16_384, 1_048_576, 1.0),  # not 1 / 64, which a ramp over the whole run has here
    (LinearRamp(0.16, over=16_384), 80, 1000, 0.5),  # 160 is less than 16,384
    (LinearRamp(1.0, over=10), 5, 1000, 0.5),
    (LinearRamp(1.0, over=10), 5, 8, 0.625),
    (SigmoidRamp(0.1), 0, 100, 0.006737946999085467),  # exp(-5), not 0
    (SigmoidRamp(0.1), 5, 100, 0.2865047968601901),  # exp(-5/4)
    (SigmoidRamp(0.1), 10, 100, 1.0),
    (Poly(0.9), 50, 100, 0.5358867312681466),  # 0.5 ** 0.9
    (Poly(0.9, every=40), 79, 100, 0.6314458674893553),  # 0.6 ** 0.9
    (StepDecay(8), 7, 100, 1.0),
    (StepDecay(8), 8, 100, 0.1),
    (StepDecay(8, floor=0.01), 80, 100, 0.01),
    (Milestones((1 / 3, 2 / 3)), 33, 100, 1.0),
    (Milestones((1 / 3, 2 / 3)), 34, 100, 0.1),
    (Milestones((1 / 3, 2 / 3), floor=0.05), 67, 100, 0.05),
    (Cosine(), 50, 100, 0.5),
    (Cosine(0.2), 100, 100, 0.2),
    (FixMatchCosine(), 0, 100, 1.0),
    (FixMatchCosine(), 100, 100, 0.19509032201612833),  # cos(7 pi / 16), never 0
]


@pytest.mark.parametrize(("schedule", "step", "steps", "expected"), CASES)
def test_known_values(schedule, step, steps, expected):
    assert math.isclose(schedule.at(step, steps), expected, rel_tol=1e-9, abs_tol=1e-12)


def test_a_ramp_over_no_step_is_refused():
    with pytest.raises(ValidationError, match=r"over\n.*greater than or equal to 1"):
        LinearRamp(0.16, over=0)
