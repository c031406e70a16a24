"""Every task that the project ships keeps the contract, in all that its class can be."""

import pytest

from ssmtl.checks import parametrize_tasks
from ssmtl.component import kinds, resolve
from ssmtl.task import Task

EXAMPLES = [example for kind in kinds("tasks") for example in resolve("tasks", kind).examples()]


@parametrize_tasks(EXAMPLES)
def test_task_contract(task, check):
    check(task)


@pytest.mark.parametrize("kind", kinds("tasks"))
def test_none_is_missed(kind):
    assert issubclass(resolve("tasks", kind), Task)
    assert kind in {example.kind for example in EXAMPLES}


def test_examples_differ():
    assert len(EXAMPLES) == len(set(EXAMPLES)) >= len(kinds("tasks")) > 0
