"""The contract suite of tasks: which checks there are, and how to run them, with pytest and without."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from ssmtl.checks import (
    answers,
    consistency,
    distributions,
    independence,
    loss,
    masking,
    metrics,
    pseudo_labels,
    refusal,
    runtime,
    spec,
    terms,
    text,
    value,
)
from ssmtl.checks.suite import Check, CheckResult, ExpectedFailures, checks_in, parametrize, run_checks
from ssmtl.task import Task

if TYPE_CHECKING:
    import pytest

CHECKS: tuple[Check[Task], ...] = checks_in(
    value,
    spec,
    loss,
    masking,
    independence,
    pseudo_labels,
    distributions,
    terms,
    consistency,
    metrics,
    answers,
    runtime,
    refusal,
    text,
)


def checks_for(task: Task) -> tuple[Check[Task], ...]:
    """Return the checks that apply to what a task declares, on this machine."""
    return tuple(check for check in CHECKS if not check.why_not(task))


def check_task(
    task: Task, *, expected_failures: ExpectedFailures = None, on_fail: Literal["raise", "record"] = "raise"
) -> list[CheckResult]:
    """Run every check on a task and return one result per check, applicable or not.

    `expected_failures` maps names of checks to the reason why they fail; one that passes counts as a failure. Raises
    ContractError for the first failure, unless on_fail is "record", and RecipeError for an unknown name.
    """
    return run_checks(task, CHECKS, expected_failures=expected_failures, on_fail=on_fail)


def parametrize_tasks(
    tasks: Iterable[Task],
    *,
    expected_failures: ExpectedFailures | Callable[[Task], ExpectedFailures] = None,
) -> "pytest.MarkDecorator":
    """Return a pytest mark for a test of arguments `task` and `check`, whose whole body is `check(task)`.

    Raises RecipeError where there is no task, and for an expected failure that is no check.
    """
    return parametrize("task", tasks, CHECKS, expected_failures)
