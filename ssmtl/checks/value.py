"""A task is a value: it stores its arguments, and can be written down, sent elsewhere and compared."""

import pickle

from ssmtl.checks.bench import bench
from ssmtl.checks.suite import check, require
from ssmtl.component import Component, kinds, resolve
from ssmtl.task import Task


def _unregistered(task: Component) -> str:
    if task.kind in kinds(task.group):
        return ""
    return (
        f"no installed package names {task.kind} in the entry points 'ssmtl.{task.group}', which runs need to be read "
        "back from their folders"
    )


@check()
def check_pickles(task: Task) -> None:
    """Equal after pickling, as workers receive it."""
    copy = pickle.loads(pickle.dumps(task))  # noqa: S301  # made on the line itself
    require(copy == task, f"unpickled, it is {copy!r}; hold only plain values, tuples and components in fields.")


@check()
def check_survives_json(task: Task) -> None:
    """Equal after JSON, as run folders hold it."""
    copy = type(task).model_validate_json(task.model_dump_json())
    require(copy == task, f"read back from JSON, it is {copy!r}; hold only plain values, tuples and components.")


@check()
def check_hashes(task: Task) -> None:
    """Equal values have equal hashes."""
    try:
        same = hash(task) == hash(task.replace())
    except TypeError as error:
        require(False, f"it can't be hashed ({error}); make its fields tuples instead of lists, and frozen values.")
    require(same, "an equal copy has another hash; don't override __hash__.")


@check()
def check_repr_names_it(task: Task) -> None:
    """Its repr shows its class and its name."""
    shown = repr(task)
    require(task.kind in shown and task.name in shown, f"its repr is {shown!r}; leave __repr__ to Component.")


@check()
def check_stores_only_arguments(task: Task) -> None:
    """Using it changes nothing in it: what is live is built from it and belongs to others."""
    private = sorted(type(task).__private_attributes__)
    require(not private, f"it keeps private state ({', '.join(private)}); return what is built instead of keeping it.")
    before = task.model_dump_json()
    found = bench(task)
    task.supervised_loss(found.predict(), found.target)
    task.metrics()
    require(task.model_dump_json() == before, "its fields changed while it was used; a task is frozen.")


@check(unless=_unregistered)
def check_is_found_by_name(task: Task) -> None:
    """The entry point of its name leads to its class."""
    found = resolve(task.group, task.kind)
    require(
        found is type(task),
        f"the entry point '{task.kind}' leads to {found.__module__}; give the class a name of its own.",
    )
