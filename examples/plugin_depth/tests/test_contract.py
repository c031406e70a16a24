"""The contract of every task: one test for each property that applies to what `Depth` declares."""

from ssmtl.checks import parametrize_tasks

from ssmtl_depth import Depth


@parametrize_tasks(Depth.examples())
def test_task_contract(task, check):
    check(task)
