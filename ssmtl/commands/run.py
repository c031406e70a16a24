"""`ssmtl run`: the recipe's own arguments and the flags of every run, in one command line."""

import inspect
import os
import shlex
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from cyclopts import App, Parameter

from ssmtl.commands.recipes import find_recipe, load_recipe, recipe_code
from ssmtl.errors import RecipeError

INTERRUPTED = 130
RUN_PLACE = "SSMTL_RUN_FOLDER"
EPILOGUE = (
    "The run folder holds recipe.json, labels.json, metrics.jsonl, report.html and checkpoints/; ssmtl eval, predict, "
    "report and compare work on it."
)
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@Parameter(name="*", group="Flags of every recipe")
@dataclass(frozen=True)
class RunFlags:
    """Flags that every recipe has."""

    out: Path | None = None
    """Folder of the run. [default: runs/RECIPE/TIME]"""
    steps: int | None = None
    """Optimizer steps, instead of the recipe's."""
    eval_every: int | None = None
    """Steps between evaluations on validation data, instead of the recipe's."""
    checkpoint_every: int | None = None
    """Steps between checkpoints, instead of the recipe's; Ctrl-C writes one too."""
    name: str | None = None
    """Name of this variant in reports and comparisons, instead of the recipe's."""
    devices: int | None = None
    """Training processes, each with a GPU of its own, or all on the CPU when there is none. [default: 1]"""
    precision: Precision | None = None
    """Arithmetic of the networks; views, the saliency pass and losses stay in 32 bits. [default: 32-true]"""
    workers: int | None = None
    """Processes that decode images; 0 decodes in the training process. [default: 1]"""
    resume: Path | None = None
    """Go on with this run folder: the recipe, its arguments and how it runs come from there."""
    quiet: Annotated[bool, Parameter(negative=())] = False
    """No progress bar."""


Flags = TypeVar("Flags")


@dataclass(frozen=True)
class Asked(Generic[Flags]):
    """A recipe's function with the arguments that it was given on the command line, and the command's own flags."""

    path: Path
    function: Any
    arguments: dict[str, Any]
    flags: Flags

    def recipe(self) -> Any:
        """Return the Recipe; raises RecipeError with the place where making it failed."""
        from ssmtl.recipe import Recipe

        arguments = dict(self.arguments)
        if arguments.get("data") is not None:
            arguments["data"] = arguments["data"].expanduser().absolute()  # the run outlives this working directory
        with recipe_code(self.path):
            recipe = self.function(**arguments)
        if not isinstance(recipe, Recipe):
            raise RecipeError(f"`recipe` of {self.path} must return a Recipe, got {type(recipe).__name__}.")
        return recipe


def run(tokens: list[str]) -> int:
    """Run `RECIPE [flags]`; returns the exit code."""
    asked = ask(tokens, "run", RunFlags(), EPILOGUE)
    if asked is None:
        return 0
    return _execute(asked, shlex.join(["ssmtl", "run", *tokens]))


def ask(tokens: list[str], verb: str, flags: Flags, epilogue: str) -> "Asked[Flags] | None":
    """Understand `RECIPE [flags]` of a command, or show its help and return None; `flags` are the defaults."""
    path = find_recipe(tokens[0])
    function = load_recipe(path)
    app = recipe_app(path, function, verb, flags, epilogue)
    command, bound, _ = app.parse_args(tokens[1:], exit_on_error=False, print_error=False)
    if command is not _command:
        command(*bound.args, **bound.kwargs)  # --help
        return None
    arguments = dict(bound.arguments)
    return Asked(path, function, arguments, arguments.pop("flags", None) or flags)


def _command(**arguments: Any) -> dict[str, Any]:
    """Stand for the recipe in the command line's grammar."""
    return arguments


def recipe_app(path: Path, function: Any, verb: str, flags: Any, epilogue: str) -> App:
    """Return a command line for a recipe: its signature, its docstring, and the flags of the command."""
    own = list(inspect.signature(function).parameters.values())
    shared = inspect.Parameter("flags", inspect.Parameter.KEYWORD_ONLY, annotation=type(flags), default=flags)
    _command.__signature__ = inspect.Signature([*own, shared])  # type: ignore[attr-defined]
    _command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, shared)}
    _command.__doc__ = function.__doc__
    app = App(
        name=f"ssmtl {verb} {path.stem}",
        version_flags=[],
        help_format="markdown",
        help_epilogue=epilogue,
        result_action="return_value",
        default_parameter=Parameter(allow_repeating=True),  # the last one counts, so that scripts can be overridden
    )
    app.default(_command)
    return app


def _execute(request: Asked[RunFlags], command: str) -> int:
    from ssmtl.engine import Options, train
    from ssmtl.runs import RunFolder

    arguments, flags = request.arguments, request.flags
    asked = {name: getattr(flags, name) for name in ("name", "steps", "eval_every", "checkpoint_every")}
    changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if flags.resume is not None:
        if arguments:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in arguments)
            raise RecipeError(f"--resume takes the recipe from the run folder; leave out {names}.")
        if flags.out is not None:
            raise RecipeError(f"--resume writes into {flags.resume}; leave out --out.")
        folder = RunFolder(flags.resume)
        recipe = folder.recipe().replace(**changes)
        kept = folder.note().get("options", {})
    else:
        recipe = request.recipe().replace(**changes)
        folder, kept = _folder(recipe, flags.out, command), {}
    options = Options(**{**kept, **_given(flags, kept)}, quiet=flags.quiet)
    return finish(recipe, folder, options, train, resume=flags.resume is not None)


def _given(flags: RunFlags, kept: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that were given of those that say how to run; a run keeps its precision."""
    found = {name: getattr(flags, name) for name in ("devices", "precision", "workers")}
    found = {name: value for name, value in found.items() if value is not None}
    if found.get("precision") not in (None, kept.get("precision", found.get("precision"))):
        raise RecipeError(f"the run uses precision {kept['precision']} to its end; leave out --precision.")
    return found


def _folder(recipe: Any, out: Path | None, command: str) -> Any:
    """Create the run folder in the first process; the others, started by it, find its place in the environment."""
    from ssmtl.runs import RunFolder

    if os.environ.get("LOCAL_RANK", "0") != "0":
        place = os.environ.get(RUN_PLACE) or out
        if place is None:
            raise RecipeError("several processes started from outside need one run folder; name it with --out.")
        return RunFolder(Path(place))
    place = out or Path("runs") / recipe.name / datetime.now().strftime("%Y%m%d-%H%M%S")
    os.environ[RUN_PLACE] = str(place)
    return RunFolder.create(place, recipe, command)


def finish(recipe: Any, folder: Any, options: Any, train: Any, *, resume: bool) -> int:
    """Train, write the report, and print the table."""
    from rich.console import Console

    from ssmtl.report.page import write_report
    from ssmtl.report.tables import metric_table

    try:
        status = "finished" if train(recipe, folder, options, resume=resume) else "stopped"
    except BaseException:
        with suppress(OSError):  # a full disk must not hide the error
            folder.close("failed")
        raise
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return 0
    folder.close(status)
    page = write_report(folder.path)
    console = Console()
    if status == "stopped":
        console.print(f"stopped; everything is saved. Go on with: --resume {folder.path}", highlight=False)
        return INTERRUPTED
    console.print(metric_table(folder.path))
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
    return 0
