"""What suites share: strict expected failures, results beside exceptions, and pytest parameters that hide nothing."""

import pytest
from broken_tasks import AlwaysInColor, IgnoresTheSeed

from ssmtl.checks import ContractError, check_task, checks_for, parametrize_tasks
from ssmtl.checks.suite import Check, run_checks
from ssmtl.checks.tasks import CHECKS
from ssmtl.checks.toy_task import ToyLabels, ToyMap
from ssmtl.errors import RecipeError

FAKE = "check_fake_batch_is_deterministic"
FEW = [one for one in CHECKS if one.name in (FAKE, "check_pickles", "check_crop_of_everything_changes_nothing")]
REASON = "seeds come later, see issue 12"
GOOD, BAD = ToyLabels("toy"), IgnoresTheSeed("toy")


def outcomes(task, **options):
    return {result.check: result for result in run_checks(task, FEW, on_fail="record", **options)}


def test_an_expected_failure_is_recorded_with_its_reason():
    result = outcomes(BAD, expected_failures={FAKE: REASON})[FAKE]
    assert (result.outcome, result.message, result.ok) == ("failed as expected", REASON, True)


def test_an_unexpected_pass_fails():
    result = outcomes(GOOD, expected_failures={FAKE: REASON})[FAKE]
    assert not result.ok
    assert result.message == f"it passed, but was expected to fail ({REASON}). Remove the expected failure."
    with pytest.raises(ContractError, match="it passed, but was expected to fail"):
        run_checks(GOOD, FEW, expected_failures={FAKE: REASON})


def test_an_expected_failure_that_does_not_apply_fails():
    result = outcomes(GOOD, expected_failures={"check_crop_of_everything_changes_nothing": REASON})
    assert "doesn't apply: it declares no ability Croppable" in result[FEW[-1].name].message
    assert not result["check_crop_of_everything_changes_nothing"].ok


def test_an_unknown_check_or_a_missing_reason_is_an_error():
    with pytest.raises(RecipeError, match="'check_pickle', which is no check; did you mean 'check_pickles'"):
        check_task(GOOD, expected_failures={"check_pickle": REASON})
    with pytest.raises(RecipeError, match="gives no reason for 'check_pickles'"):
        check_task(GOOD, expected_failures={"check_pickles": " "})


def test_the_first_failure_is_raised_with_task_check_and_what_to_do():
    with pytest.raises(ContractError) as caught:
        run_checks(BAD, FEW)
    error = caught.value
    assert (error.subject, error.check) == (BAD, FAKE)
    assert str(error) == f"IgnoresTheSeed.toy fails {FAKE}: fake_batch makes the same images for every seed."


def test_an_exception_inside_of_a_task_is_a_failure_with_its_cause():
    class Crashes(ToyLabels):
        def fake_batch(self, n, seed, *, channels=3, size=(32, 32)):
            raise KeyError("oops")

    result = outcomes(Crashes("toy"))[FAKE]
    assert result.outcome == "failed"
    assert result.message.startswith("it raised KeyError: 'oops'.")


def test_checks_that_do_not_apply_say_why():
    assert outcomes(GOOD)[FEW[-1].name] == (FEW[-1].name, "not applicable", "it declares no ability Croppable")
    assert outcomes(ToyMap("toy"))[FEW[-1].name].outcome == "passed"
    names = [one.name for one in checks_for(GOOD)]
    assert FEW[-1].name not in names
    assert FAKE in names


def test_machines_that_cannot_check_say_why():
    asked = Check("check_nothing", lambda task: None, lambda task: "", lambda: "no GPU")
    assert run_checks(GOOD, [asked])[0].message == "no GPU"
    assert run_checks(GOOD, [asked], expected_failures={"check_nothing": REASON})[0].outcome == "not applicable"


def cases(mark):
    return {case.id: case for case in mark.args[1]}


def test_pytest_gets_every_pair_and_says_what_it_skips():
    found = cases(parametrize_tasks([GOOD, ToyMap("toy")]))
    assert len(found) == 2 * len(CHECKS)
    (mark,) = found["ToyLabels.toy-check_crop_of_everything_changes_nothing"].marks
    assert (mark.name, mark.kwargs["reason"]) == ("skip", "not applicable: it declares no ability Croppable")
    assert not found["ToyMap.toy-check_crop_of_everything_changes_nothing"].marks


def test_pytest_expects_failures_strictly_and_per_value():
    def expected(task):
        return {FAKE: REASON} if isinstance(task, IgnoresTheSeed) else None

    found = cases(parametrize_tasks([GOOD, BAD], expected_failures=expected))
    (mark,) = found[f"IgnoresTheSeed.toy-{FAKE}"].marks
    assert mark.kwargs == {"reason": REASON, "raises": ContractError, "strict": True}
    assert not found[f"ToyLabels.toy-{FAKE}"].marks


def test_a_suite_of_nothing_is_refused():
    with pytest.raises(RecipeError, match="given no task, so it would test nothing"):
        parametrize_tasks([])


@parametrize_tasks(
    [AlwaysInColor("toy")],
    expected_failures={"check_fake_batch_is_what_was_asked_for": "gray images are made by nobody here"},
)
def test_three_lines_are_all_that_a_plugin_writes(task, check):
    check(task)
