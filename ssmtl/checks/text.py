"""What a task says about itself to people who read no source."""

import ast
import doctest
import inspect
import textwrap
from io import StringIO
from itertools import pairwise

from ssmtl.checks.suite import check, require
from ssmtl.component import Component
from ssmtl.task import Task


def _no_examples(task: Component) -> str:
    return "" if _doctests(type(task)) else "its docstrings hold no `>>>` example"


@check()
def check_has_a_docstring(task: Task) -> None:
    """The class says what it is, and what its predictions and targets are."""
    text = (type(task).__dict__.get("__doc__") or "").casefold()
    require(text.strip(), "its class has no docstring; say in one sentence what the task is.")
    for word in ("prediction", "target"):
        require(word in text, f"its docstring doesn't say what a {word} is; name its type and shape, such as [n, k].")


@check()
def check_fields_are_documented(task: Task) -> None:
    """Every field that it adds is explained."""
    silent = undocumented(type(task), Task)
    require(
        not silent,
        f"nothing explains the field(s) {', '.join(silent)}; name them in the class's docstring in backticks, or put "
        "a docstring under each.",
    )


@check(unless=_no_examples)
def check_examples_are_true(task: Task) -> None:
    """Examples in docstrings print what they say."""
    shown = StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for one in _doctests(type(task)):
        runner.run(one, out=shown.write)
    require(not runner.failures, f"an example in its docstrings prints something else; correct it.\n{shown.getvalue()}")


def undocumented(kind: type[Component], base: type[Component]) -> list[str]:
    """Return the fields of a component that `base` hasn't and nothing explains.

    A field is explained by its name in backticks in the docstring of a class that has it, by a docstring below it, or
    by a description.
    """
    explained = set()
    for cls in kind.__mro__[: kind.__mro__.index(base)]:
        text = cls.__dict__.get("__doc__") or ""
        explained |= {name for name in kind.model_fields if f"`{name}`" in text} | _with_docstring(cls)
    return [
        name
        for name, field in kind.model_fields.items()
        if name not in base.model_fields and name not in explained and not field.description
    ]


def _with_docstring(cls: type) -> set[str]:
    """Return the names of a class's fields that a string follows; none where there is no source."""
    try:
        (found,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError):
        return set()
    body = found.body if isinstance(found, ast.ClassDef) else []
    return {
        one.target.id
        for one, after in pairwise(body)
        if isinstance(one, ast.AnnAssign)
        and isinstance(one.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


def _doctests(cls: type) -> list[doctest.DocTest]:
    module = inspect.getmodule(cls)
    found = doctest.DocTestFinder(exclude_empty=True).find(cls, module=module, globs=dict(vars(module or cls)))
    return [one for one in found if one.examples]
