"""The checker is checked: every check has a broken toy task, which fails exactly the checks that it should."""

import broken_moves  # noqa: F401  # it adds to BROKEN
import pytest
import torch
from broken_answers import FalseExample
from broken_tasks import BROKEN

from ssmtl.checks import check_task
from ssmtl.checks.suite import run_checks
from ssmtl.checks.tasks import CHECKS
from ssmtl.checks.toy_task import ToyLabels, ToyMap

SLOW = {"check_survives_compilation"}
"""Taken out where a task isn't made for it."""


def failures(task, *, made_for=""):
    checks = [one for one in CHECKS if one.name not in SLOW or one.name == made_for]
    results = run_checks(task, checks, on_fail="record")
    return {result.check: result.message for result in results if result.outcome == "failed"}


@pytest.mark.parametrize("toy", [ToyLabels("toy"), ToyMap("toy")], ids=["labels", "map"])
def test_good_tasks_pass(toy):
    results = check_task(toy)
    assert [result.check for result in results] == [one.name for one in CHECKS]
    assert {result.outcome for result in results} == {"passed", "not applicable"}
    assert all(result.message for result in results if result.outcome == "not applicable")


@pytest.mark.parametrize(("broken", "expected", "made_for"), BROKEN, ids=[cls.__name__ for cls, *_ in BROKEN])
def test_a_broken_task_fails_what_it_breaks_and_nothing_else(broken, expected, made_for):
    if made_for == "check_devices_agree" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    found = failures(broken("toy"), made_for=made_for)
    assert set(found) == expected, found
    assert found[made_for].strip()


def test_every_check_has_a_broken_task():
    assert {made_for for *_, made_for in BROKEN} == {one.name for one in CHECKS}
    assert len(CHECKS) > 70


def test_messages_say_what_to_do():
    message = failures(FalseExample("toy"))["check_examples_are_true"]
    assert "correct it" in message
    assert "Expected:\n    3\nGot:\n    2" in message
