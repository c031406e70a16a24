"""`ssmtl check`: a table for every example, exit codes, and names that lead nowhere."""

import sys

import pytest
from in_process import call

GOOD = '''
"""A module of a user's own."""

from ssmtl.checks.toy_task import ToyLabels
from ssmtl.task import Task


class Good(ToyLabels):
    """Predictions and targets are the toy's."""


class Bad(ToyLabels):
    """Says little."""

    strength: float = 1.0


class Unmade(ToyLabels):
    """Predictions and targets are the toy's; `width` has no default."""

    width: int


class Half(Task):
    """Lacks everything."""


GOOD = Good("a_value")
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the current folder."""
    (tmp_path / "their_tasks.py").write_text(GOOD)
    (tmp_path / "their_import.py").write_text("import not_there_at_all")
    (tmp_path / "their_mistake.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "160")
    yield "their_tasks"
    for name in ("their_tasks", "their_import", "their_mistake"):
        sys.modules.pop(name, None)


def test_a_good_class_of_the_current_folder_passes(module):
    outcome = call("check", f"{module}:Good")
    assert outcome.code == 0, outcome
    assert "Good.example" in outcome.out
    assert "higher_thresholds_keep_less" in outcome.out
    assert "this machine has no CUDA device" in outcome.out or "devices_agree" in outcome.out
    assert "0 failed" not in outcome.out


def test_a_bad_class_fails_with_what_to_do(module):
    outcome = call("check", f"{module}:Bad")
    assert outcome.code == 2
    assert "nothing explains the field(s) strength" in " ".join(outcome.out.split())
    assert "2 failed" in outcome.out


def test_a_strategy_is_checked_as_one(module):
    outcome = call("check", "Supervised")
    assert outcome.code == 0, outcome
    assert "Supervised" in outcome.out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("their_tasks:Goood", "the module 'their_tasks' has no 'Goood'; did you mean 'Good'?"),
        ("their_tusks:Good", "there is no module 'their_tusks' in"),
        ("their_import:Good", "imports 'not_there_at_all', which isn't installed"),
        ("their_mistake:Good", "can't be imported: ZeroDivisionError: division by zero"),
        ("their_tasks:GOOD", "'their_tasks:GOOD' is a value; name a class"),
        ("their_tasks:Unmade", "Unmade.width: Field required"),
        ("their_tasks:Half", "'their_tasks:Half' is abstract: it lacks build_head"),
        ("json:JSONEncoder", "is no task and no strategy"),
        ("Segmentatoin", "did you mean 'Segmentation'?"),
    ],
)
def test_names_that_lead_nowhere_are_refused(module, name, said):
    outcome = call("check", name)
    assert outcome.code == 2
    assert said in " ".join(outcome.err.split())
