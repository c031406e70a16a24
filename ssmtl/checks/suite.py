"""What the contract suites of tasks and of strategies share: a check, its result, and how many are run.

A check is a function that takes one value and looks at one property of it. It says by itself whom it applies to, from
what the value declares and never from its name, and what to change where it fails.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import torch

from ssmtl.component import Component
from ssmtl.errors import RecipeError, SsmtlError, nearest

if TYPE_CHECKING:
    import pytest

T = TypeVar("T", bound=Component)
Outcome = Literal["passed", "failed", "failed as expected", "not applicable"]
ExpectedFailures: TypeAlias = Mapping[str, str] | None
"""Names of checks that are known to fail, each with the reason and where it is tracked."""


def label(subject: Component) -> str:
    """Return what a value is called in test names and messages: its kind, and its own name if it has one."""
    return f"{subject.kind}.{getattr(subject, 'name', '')}".rstrip(".")


class ContractError(SsmtlError):
    """A value breaks the contract of its kind in one property; the message says which, and what to change."""

    def __init__(self, subject: Component, check: str, message: str) -> None:
        super().__init__(f"{label(subject)} fails {check}: {message}")
        self.subject, self.check, self.message = subject, check, message


class Broken(Exception):  # noqa: N818  # it never leaves a check, which names it
    """Raised inside of a check: what is wrong and what to change, as one sentence."""


def require(condition: object, message: str) -> None:
    """Raise Broken with `message` unless `condition` is true."""
    if not condition:
        raise Broken(message)


class CheckResult(NamedTuple):
    """What became of one check: `message` says why it failed, why that was expected, or why it doesn't apply."""

    check: str
    outcome: Outcome
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether the contract holds here, as far as is asked."""
        return self.outcome != "failed"


def always(_subject: Component) -> str:
    """Return "": the check applies to whatever there is."""
    return ""


def anywhere() -> str:
    """Return "": the check needs nothing of the machine."""
    return ""


@dataclass(frozen=True)
class Check(Generic[T]):
    """One property that a value must have; called with the value, it raises ContractError where it hasn't.

    `unless` returns why a value has nothing to check here, `machine` why this machine can't check it, both "" if
    neither is so.
    """

    name: str
    run: Callable[[T], None]
    unless: Callable[[T], str]
    machine: Callable[[], str]

    def __call__(self, subject: T) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                self.run(subject)
            except Broken as error:
                raise ContractError(subject, self.name, str(error)) from None
            except Exception as error:
                text = f"it raised {type(error).__name__}: {error}. Make it work on what the check gives it."
                raise ContractError(subject, self.name, text) from error

    def why_not(self, subject: T) -> str:
        """Return why the check doesn't apply, or ""."""
        return self.unless(subject) or self.machine()


def check(
    *, unless: Callable[[Any], str] = always, machine: Callable[[], str] = anywhere
) -> Callable[[Callable[[T], None]], Check[T]]:
    """Make a check of a function named `check_<property>`, whose docstring says the property in one sentence."""

    def made(run: Callable[[T], None]) -> Check[T]:
        return Check(run.__name__, run, unless, machine)

    return made


def lacks(*abilities: type, because: str = "it declares no ability {}") -> Callable[[Component], str]:
    """Return an `unless` for checks of abilities: Protocols that the value must offer, all of them."""

    def unless(subject: Component) -> str:
        missing = [ability.__name__ for ability in abilities if not isinstance(subject, ability)]
        return because.format(" and ".join(missing)) if missing else ""

    return unless


def checks_in(*modules: ModuleType) -> tuple[Check[Any], ...]:
    """Return every check that these modules define, in their order."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Check))


def run_checks(
    subject: T,
    checks: Sequence[Check[T]],
    *,
    expected_failures: ExpectedFailures = None,
    on_fail: Literal["raise", "record"] = "raise",
) -> list[CheckResult]:
    """Run checks on a value and return one result per check, applicable or not.

    `expected_failures` is strict: a check that passes, or doesn't apply to this value, counts as failed. With
    on_fail="raise" the first failure is raised as ContractError. Raises RecipeError for expected failures of checks
    that don't exist, or without a reason.
    """
    expected = known_failures(expected_failures, checks)
    results = []
    for one in checks:
        result = _result(subject, one, expected.get(one.name, ""))
        if not result.ok and on_fail == "raise":
            raise ContractError(subject, one.name, result.message)
        results.append(result)
    return results


def _result(subject: T, one: Check[T], expected: str) -> CheckResult:
    reason = one.unless(subject)
    if reason and expected:
        stale = f"it was expected to fail ({expected}), but doesn't apply: {reason}. Remove the expected failure."
        return CheckResult(one.name, "failed", stale)
    if reason or (reason := one.machine()):
        return CheckResult(one.name, "not applicable", reason)
    try:
        one(subject)
    except ContractError as error:
        if expected:
            return CheckResult(one.name, "failed as expected", expected)
        return CheckResult(one.name, "failed", error.message)
    if expected:
        stale = f"it passed, but was expected to fail ({expected}). Remove the expected failure."
        return CheckResult(one.name, "failed", stale)
    return CheckResult(one.name, "passed")


def known_failures(expected: ExpectedFailures, checks: Iterable[Check[Any]]) -> Mapping[str, str]:
    """Return expected failures; raises RecipeError for an unknown check, and for one without a reason."""
    names = {one.name for one in checks}
    for name, reason in (expected or {}).items():
        if name not in names:
            raise RecipeError(f"expected_failures names '{name}', which is no check{nearest(name, names)}")
        if not reason.strip():
            raise RecipeError(f"expected_failures gives no reason for '{name}'; say why it fails and where to read on.")
    return expected or {}


def parametrize(
    argument: str,
    subjects: Iterable[T],
    checks: Sequence[Check[T]],
    expected_failures: ExpectedFailures | Callable[[T], ExpectedFailures] = None,
) -> "pytest.MarkDecorator":
    """Return a pytest mark that runs a test with every (value, check): its arguments are `argument` and "check".

    Checks that don't apply are shown as skipped, with the reason. Expected failures, which may depend on the value, are
    strict. Raises RecipeError where there is no value at all, and as `run_checks` does.
    """
    import pytest

    cases = []
    for subject in subjects:
        given = expected_failures(subject) if callable(expected_failures) else expected_failures
        expected = known_failures(given, checks)
        for one in checks:
            marks = []
            if one.name in expected and not one.machine():
                marks = [pytest.mark.xfail(reason=expected[one.name], raises=ContractError, strict=True)]
            elif reason := one.why_not(subject):
                marks = [pytest.mark.skip(reason=f"not applicable: {reason}")]
            cases.append(pytest.param(subject, one, marks=marks, id=f"{label(subject)}-{one.name}"))
    if not cases:
        raise RecipeError(f"the contract suite was given no {argument}, so it would test nothing; give at least one.")
    return pytest.mark.parametrize((argument, "check"), cases)
