"""Contract suites: what must hold for every task and every strategy, also for those of plugins."""

from ssmtl.checks.strategies import check_strategy, parametrize_strategies, strategy_checks_for
from ssmtl.checks.suite import CheckResult, ContractError
from ssmtl.checks.tasks import check_task, checks_for, parametrize_tasks

__all__ = [
    "CheckResult",
    "ContractError",
    "check_strategy",
    "check_task",
    "checks_for",
    "parametrize_strategies",
    "parametrize_tasks",
    "strategy_checks_for",
]
