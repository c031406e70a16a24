"""`ssmtl check`: the contract suite of one class as a table, for people without pytest."""

import importlib
import inspect
import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ssmtl.checks.strategies import check_strategy
from ssmtl.checks.suite import CheckResult, Outcome, label
from ssmtl.checks.tasks import check_task
from ssmtl.component import Component, kinds, mistakes, resolve
from ssmtl.errors import RecipeError, nearest
from ssmtl.strategies.base import Strategy
from ssmtl.task import Task

FAILED = 2
STYLES: dict[Outcome, str] = {
    "passed": "green",
    "failed": "bold red",
    "failed as expected": "yellow",
    "not applicable": "dim",
}


def check_class(name: str) -> int:
    """Check every example of a class, print a table for each, and return 0, or 2 where a check failed.

    Raises RecipeError for a name that leads to no task and no strategy, and for examples that can't be made.
    """
    cls = _find(name)
    failed = 0
    for example in _examples(cls):
        results = _run(example)
        Console().print(_table(example, results))
        failed += sum(not result.ok for result in results)
        Console().print(_summary(results), highlight=False)
    return FAILED if failed else 0


def _run(example: Component) -> list[CheckResult]:
    if isinstance(example, Task):
        return check_task(example, on_fail="record")
    assert isinstance(example, Strategy)
    return check_strategy(example, on_fail="record")


def _table(example: Component, results: Sequence[CheckResult]) -> Table:
    table = Table(title=escape(label(example)), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("message")
    for result in results:
        style = STYLES[result.outcome]
        table.add_row(result.check.removeprefix("check_"), f"[{style}]{result.outcome}[/]", escape(result.message))
    return table


def _summary(results: Sequence[CheckResult]) -> str:
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in STYLES if counts[outcome])


def _find(name: str) -> type[Component]:
    """Return the class behind MODULE:CLASS or an installed name."""
    module, colon, attribute = name.partition(":")
    found: Any = _attribute(_module(module), attribute) if colon else _installed(name)
    if not (inspect.isclass(found) and issubclass(found, Task | Strategy)):
        given = "is a value" if isinstance(found, Task | Strategy) else "is no task and no strategy"
        raise RecipeError(f"'{name}' {given}; name a class that extends ssmtl.task.Task or Strategy.")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise RecipeError(f"'{name}' is abstract: it lacks {missing}; write them, or name a class that has them.")
    return found


def _installed(name: str) -> type[Component]:
    for group in ("tasks", "strategies"):
        if name in kinds(group):
            return resolve(group, name)
    known = (*kinds("tasks"), *kinds("strategies"))
    raise RecipeError(
        f"'{name}' is no installed task or strategy; write MODULE:CLASS for one of yours{nearest(name, known)}"
    )


def _module(name: str) -> Any:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            text = f"there is no module '{error.name}' in {here} and none is installed; correct the name, or go there."
        else:
            text = f"the module '{name}' imports '{error.name}', which isn't installed; install it."
        raise RecipeError(text) from None
    except Exception as error:
        text = f"the module '{name}' can't be imported: {type(error).__name__}: {error}. Correct it and try again."
        raise RecipeError(text) from error


def _attribute(module: Any, name: str) -> Any:
    classes = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Component)]
    if not hasattr(module, name):
        raise RecipeError(f"the module '{module.__name__}' has no '{name}'{nearest(name, classes)}")
    return getattr(module, name)


def _examples(cls: type[Component]) -> tuple[Component, ...]:
    try:
        found = tuple(cls.examples())
    except ValidationError as error:
        raise RecipeError(
            f"{cls.__name__}.examples() makes a value that isn't valid ({mistakes(error)}); let the classmethod "
            "`examples` return values with all that they need."
        ) from None
    if not found:
        raise RecipeError(f"{cls.__name__}.examples() returns nothing to check; let it return at least one value.")
    return found
