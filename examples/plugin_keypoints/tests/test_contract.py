"""The contract of ssmtl's tasks, on everything that Keypoints can be: all that a plugin has to write for it."""

from ssmtl.checks import parametrize_tasks
from ssmtl_keypoints import Keypoints


@parametrize_tasks(Keypoints.examples())
def test_task_contract(task, check):
    check(task)
