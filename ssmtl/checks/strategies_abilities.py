"""What a strategy requires of a task is what it uses, and a recipe refuses tasks that lack it."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from pydantic import ValidationError

from ssmtl import task as contract
from ssmtl.checks.real_step import recipe_of
from ssmtl.checks.scene import checkable, several_scenes, tasks_for, tried, unless, usual
from ssmtl.checks.suite import check, require
from ssmtl.errors import RecipeError
from ssmtl.strategies.base import Strategy
from ssmtl.task import Task

CONTRACT = frozenset(name for name in vars(Task) if not name.startswith("_"))
"""What every task offers."""
ABILITIES = tuple(value for value in vars(contract).values() if isinstance(value, type) and checkable(value))


def _requires_nothing(strategy: Strategy) -> str:
    return "" if strategy.abilities() else "it requires no ability"


@check()
def check_some_task_fits(strategy: Strategy) -> None:
    """There is a task that has what it requires, and what it requires are runtime-checkable Protocols."""
    for ability in strategy.abilities():
        require(
            checkable(ability),
            f"it requires {ability.__name__}, which is no Protocol marked @runtime_checkable; mark it.",
        )
    names = ", ".join(ability.__name__ for ability in strategy.abilities())
    require(
        tasks_for(strategy),
        f"no installed task has the abilities {names} at once, so that it can't be tried; register the task that has "
        "them as an entry point, with examples().",
    )


@check(unless=unless())
def check_abilities_suffice(strategy: Strategy) -> None:
    """It gets by with the abilities that it requires: others may change what is logged, never a term."""
    for task in tasks_for(strategy):
        only, _ = restricted(task, strategy.abilities())
        for scene in several_scenes(task)[1:3]:
            try:
                terms = tried(strategy, scene, only).terms
            except (AttributeError, AssertionError, TypeError) as error:
                require(
                    False,
                    f"on a task with just the abilities it requires, it raised {_said(error)}; add to `requires`.",
                )
            usual = tried(strategy, scene).terms
            same = terms.keys() == usual.keys() and all(
                terms[name].total.shape == usual[name].total.shape
                and bool(torch.allclose(terms[name].total, usual[name].total, atol=1e-4))
                for name in usual
            )
            require(same, "its terms differ on a task with just the abilities it requires; add those it uses.")


@check(unless=unless(_requires_nothing))
def check_abilities_are_used(strategy: Strategy) -> None:
    """It uses every ability that it requires."""
    used: set[str] = set()
    for task in tasks_for(strategy):
        full, called = restricted(task, (*strategy.abilities(), *(a for a in ABILITIES if isinstance(task, a))))
        tried(strategy, usual(task), full)
        used |= called
    for ability in strategy.abilities():
        require(
            members(ability) & used,
            f"it requires {ability.__name__} and uses nothing of it; take it out, so that more tasks can be trained.",
        )


@check(unless=unless(_requires_nothing))
def check_recipe_refuses_other_tasks(strategy: Strategy) -> None:
    """A recipe refuses it, in one sentence, for a task without an ability that it requires."""
    for task in tasks_for(strategy)[:1]:
        for missing in strategy.abilities():
            rest = [ability for ability in strategy.abilities() if ability is not missing]
            only, _ = restricted(task, rest)
            try:
                recipe_of(strategy, only)
            except (RecipeError, ValidationError) as error:
                require(missing.__name__ in str(error), f"the refusal doesn't name {missing.__name__}: {error}")
            else:
                require(False, f"a recipe takes it for a task without {missing.__name__}; name that in `requires`.")


def members(ability: type[Any]) -> set[str]:
    """Return the names that a Protocol asks for."""
    bases = [cls for cls in ability.__mro__ if cls not in (object, Protocol) and cls.__module__ != "typing"]
    return {name for cls in bases for name in vars(cls) if not name.startswith("_")}


def restricted(task: Task, abilities: Iterable[type[Any]]) -> tuple[Task, set[str]]:
    """Return a task that offers nothing but the contract and some abilities of another, and the names it was asked."""
    called: set[str] = set()
    names = CONTRACT | {name for ability in abilities for name in members(ability)}
    body = {name: _delegate(task, name, called) for name in names - {"group", "name", "column", "model_config"}}
    fields = {name: getattr(task, name) for name in Task.model_fields}
    made: Any = type(Task)
    kind = made("OnlyRequired", (Task,), {"__module__": __name__, "__doc__": "A task of few abilities.", **body})
    return kind(**fields), called


def _delegate(task: Task, name: str, called: set[str]) -> Any:
    kind = getattr(type(task), name, None)
    if isinstance(kind, property):
        return property(lambda _: _noted(task, name, called))
    if not callable(kind):
        return getattr(task, name)

    def method(_self: Task, *args: Any, **kwargs: Any) -> Any:
        return _noted(task, name, called)(*args, **kwargs)

    return method


def _noted(task: Task, name: str, called: set[str]) -> Any:
    called.add(name)
    return getattr(task, name)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
