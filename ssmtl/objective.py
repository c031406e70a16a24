"""Objective: one term t of L = sum_t gamma_t (L_s,t + lambda_t L_u,t)."""

from typing import Annotated

from pydantic import Field

from ssmtl.component import Component
from ssmtl.schedules import Constant, Schedule
from ssmtl.strategies.base import Strategy
from ssmtl.task import Task


class Objective(Component):
    """A task, the strategy that trains it, and its weights.

    `gamma` scales all of the task's terms; `lam` times `ramp` scales those that the strategy leaves to it: all but the
    one named "supervised", and VAT's entropy.
    """

    task: Task = Field(kw_only=False)
    strategy: Strategy = Field(kw_only=False)
    gamma: Annotated[float, Field(ge=0)] = 1.0
    lam: Annotated[float, Field(ge=0)] = 1.0
    ramp: Schedule = Constant()

    def coefficient(self, term: str, step: int, steps: int) -> float:
        """Return what multiplies the term at a step: gamma, or gamma * lambda(t)."""
        unscaled = term in self.strategy.unscaled
        return self.gamma if unscaled else self.gamma * self.lam * self.ramp.at(step, steps)
