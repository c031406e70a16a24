"""Recipe files: finding one by path or name, reading it, and turning its function's signature into a command line."""

import ast
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ssmtl.component import mistakes
from ssmtl.errors import RecipeError, SsmtlError, nearest

MUST_TAKE = {"data": "data: Path | None = None", "seed": "seed: int = 0"}
"""Arguments that every recipe has, as they are written."""
COMMAND_FLAGS = (
    "name",
    "out",
    "steps",
    "eval_every",
    "checkpoint_every",
    "devices",
    "precision",
    "workers",
    "resume",
    "quiet",
    "rows",
    "step",
)
"""Flags of `ssmtl run` and of `ssmtl views`."""


def shipped_recipes() -> dict[str, Path]:
    """Return the recipe files that come with ssmtl, by name."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "_recipes", here.parent / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.py"))}
    return {}


def find_recipe(name: str) -> Path:
    """Return the file of a recipe given as a path or as the name of a shipped one; raises RecipeError."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    raise RecipeError(
        f"there is no recipe file '{name}', and no shipped recipe of that name{nearest(Path(name).stem, shipped)}"
    )


def load_recipe(path: Path) -> Callable[..., Any]:
    """Run a recipe file and return its function `recipe`.

    Raises RecipeError when the file doesn't run, has no such function, or the function can't be a command line: it
    takes keyword arguments with defaults, among them `data` and `seed`, and none that `ssmtl run` or `ssmtl views` have
    themselves.
    """
    spec = importlib.util.spec_from_file_location(f"ssmtl_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"'{path}' is not a Python file; name a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    with recipe_code(path):
        spec.loader.exec_module(module)
    function = getattr(module, "recipe", None)
    if not callable(function):
        raise RecipeError(f"'{path}' has no function `recipe`; define one that returns a Recipe.")
    _check_signature(path, function)
    return function


@contextmanager
def recipe_code(path: Path) -> Iterator[None]:
    """Turn what a recipe file raises inside the block into a RecipeError that names the file and its line."""
    try:
        yield
    except SsmtlError:
        raise
    except ValidationError as error:
        raise RecipeError(f"{mistakes(error)} ({path}{_line(error, path)})") from error
    except Exception as error:
        raise RecipeError(f"the recipe {path} raised {type(error).__name__}{_line(error, path)}: {error}") from error


def summary(path: Path) -> str:
    """Return the first sentence of a recipe file's docstring, without running it; "" when it has none."""
    return (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]


def _check_signature(path: Path, function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    for name, parameter in parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise RecipeError(f"the argument '{name}' of {path} must be keyword-only and have a default.")
        if name in COMMAND_FLAGS:
            raise RecipeError(
                f"the argument '{name}' of {path} hides a flag of `ssmtl run` or `ssmtl views`; rename it."
            )
    for name, argument in MUST_TAKE.items():
        if name not in parameters:
            raise RecipeError(
                f"the function `recipe` of {path} must take the keyword '{name}'; add `{argument}` to its "
                "arguments, whether it uses it or not."
            )


def _line(error: Exception, path: Path) -> str:
    here = str(path.absolute())
    trace, line = error.__traceback__, error.lineno if isinstance(error, SyntaxError) else None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == here:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" at line {line}" if line else ""
