"""The contract suite of strategies: which checks there are, and how to run them, with pytest and without."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from ssmtl.checks import (
    strategies_abilities,
    strategies_rows,
    strategies_terms,
    strategies_training,
    strategies_value,
)
from ssmtl.checks.suite import Check, CheckResult, ExpectedFailures, checks_in, parametrize, run_checks
from ssmtl.strategies.base import Strategy

if TYPE_CHECKING:
    import pytest

CHECKS: tuple[Check[Strategy], ...] = checks_in(
    strategies_value, strategies_abilities, strategies_terms, strategies_rows, strategies_training
)


def strategy_checks_for(strategy: Strategy) -> tuple[Check[Strategy], ...]:
    """Return the checks that apply to what a strategy declares, on this machine."""
    return tuple(check for check in CHECKS if not check.why_not(strategy))


def check_strategy(
    strategy: Strategy, *, expected_failures: ExpectedFailures = None, on_fail: Literal["raise", "record"] = "raise"
) -> list[CheckResult]:
    """Run every check on a strategy and return one result per check, applicable or not.

    It is tried on small tasks of the suite that have the abilities it requires: a class per image, a class per pixel,
    or both. `expected_failures` maps names of checks to the reason why they fail; one that passes counts as a failure.
    Raises ContractError for the first failure, unless on_fail is "record", and RecipeError for an unknown name.
    """
    return run_checks(strategy, CHECKS, expected_failures=expected_failures, on_fail=on_fail)


def parametrize_strategies(
    strategies: Iterable[Strategy],
    *,
    expected_failures: ExpectedFailures | Callable[[Strategy], ExpectedFailures] = None,
) -> "pytest.MarkDecorator":
    """Return a pytest mark for a test of arguments `strategy` and `check`, whose whole body is `check(strategy)`.

    Raises RecipeError where there is no strategy, and for an expected failure that is no check.
    """
    return parametrize("strategy", strategies, CHECKS, expected_failures)
