"""Schedules: numbers that change over a run, as functions of the step alone (so that resume needs no state)."""

import math
from abc import abstractmethod
from typing import Annotated

from pydantic import Field

from ssmtl.component import Component

Fraction = Annotated[float, Field(ge=0, le=1)]


class Schedule(Component):
    """A factor as a function of `step` (0-based) and the run's total number of `steps`."""

    group = "schedules"

    @abstractmethod
    def at(self, step: int, steps: int) -> float:
        """Return the factor for optimizer step `step` of `steps`."""


class Constant(Schedule):
    """The same factor at every step."""

    value: float = Field(default=1.0, kw_only=False)

    def at(self, step: int, steps: int) -> float:
        return self.value


class LinearRamp(Schedule):
    """clip(t / T_w, 0, 1) with T_w = `warmup` of the run, or `over` steps where that is less."""

    warmup: Fraction = Field(default=0.1, kw_only=False)
    over: Annotated[int, Field(ge=1)] | None = None

    def at(self, step: int, steps: int) -> float:
        fraction = self.warmup * steps
        return _progress(step, fraction if self.over is None else min(self.over, fraction))


class SigmoidRamp(Schedule):
    """exp(-5 (1 - t / T_w)^2) up to T_w = `warmup` of the run, then 1; starts at 0.0067, not 0 (Mean Teacher form)."""

    warmup: Fraction = Field(default=0.1, kw_only=False)

    def at(self, step: int, steps: int) -> float:
        return math.exp(-5.0 * (1.0 - _progress(step, self.warmup * steps)) ** 2)


class Poly(Schedule):
    """(1 - t / T)^power: DeepLab's learning rate. It falls once every `every` steps, such as those of an epoch."""

    power: float = Field(default=0.9, kw_only=False, gt=0)
    every: int = Field(default=1, ge=1)

    def at(self, step: int, steps: int) -> float:
        return float((1.0 - _progress(step - step % self.every, steps)) ** self.power)


class StepDecay(Schedule):
    """Multiply by `factor` every `every` steps, never below `floor` (a factor of the base rate)."""

    every: int = Field(kw_only=False, ge=1)
    factor: float = Field(default=0.1, kw_only=False, gt=0, le=1)
    floor: Fraction = 0.0

    def at(self, step: int, steps: int) -> float:
        return max(self.floor, float(self.factor ** (step // self.every)))


class Milestones(Schedule):
    """Multiply by `factor` at each of the fractions `at_fractions` of the run, never below `floor`."""

    at_fractions: tuple[Fraction, ...] = Field(kw_only=False)
    factor: float = Field(default=0.1, kw_only=False, gt=0, le=1)
    floor: Fraction = 0.0

    def at(self, step: int, steps: int) -> float:
        passed = sum(step >= fraction * steps for fraction in self.at_fractions)
        return max(self.floor, float(self.factor**passed))


class Cosine(Schedule):
    """cos annealing from 1 to `floor`: floor + (1 - floor) (1 + cos(pi t / T)) / 2."""

    floor: Fraction = Field(default=0.0, kw_only=False)

    def at(self, step: int, steps: int) -> float:
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * _progress(step, steps)))


class FixMatchCosine(Schedule):
    """cos(7 pi t / (16 T)): FixMatch's learning rate; ends at 0.195, never 0."""

    def at(self, step: int, steps: int) -> float:
        return math.cos(7.0 * math.pi * _progress(step, steps) / 16.0)


def _progress(step: int, over: float) -> float:
    return min(1.0, max(0.0, step / over)) if over > 0 else 1.0
