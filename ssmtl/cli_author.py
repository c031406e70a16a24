"""Words of the command line for whoever makes something out of ssmtl, or takes its models elsewhere."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

new = App(
    name="new",
    help="Write the files of a task, a strategy or a recipe of your own, which work and wait to be changed.",
    help_epilogue="Example: ssmtl new task MonoDepth",
    help_format="markdown",
)


def add_author_words(app: App) -> None:
    """Register the commands of this file with the command line."""
    app.command(new)
    app.command(check, help_epilogue="Example: ssmtl check my_package.depth:Depth")
    app.command(export, help_epilogue="Example: ssmtl export runs/first --format onnx --out model.onnx")


def check(name: str, /) -> int:
    """Check a task or strategy of your own against its contract, and print a table of what holds and what doesn't.

    NAME is MODULE:CLASS, where the module is installed or lies in the current folder, or the name of an installed class
    as `ssmtl list` shows it. The checks run on what the class returns from `examples()`, and follow from what it
    declares; those that don't apply are listed with the reason. The exit code is 2 where one fails.

    Args:
        name: A class, as MODULE:CLASS, or by its name if it is installed.
    """
    from ssmtl.commands.check import check_class

    return check_class(name)


def export(
    run: Path,
    /,
    *,
    form: Annotated[Literal["onnx", "torch"], Parameter(name="--format")] = "onnx",
    size: tuple[int, int] | None = None,
    dynamic: bool = False,
    out: Path | None = None,
    checkpoint: Literal["last", "best"] | None = None,
    weights: Literal["student", "teacher"] | None = None,
) -> int:
    """Write a run's model as one file that runs without ssmtl, with a model card beside it.

    The file takes any number of images with values in [0, 1] and returns what every task says: probabilities of
    classes, of pixels, and boxes with scores. It is compared with the model on random images before it is kept.

    Args:
        run: The run folder.
        form: An ONNX file, for which the extra ssmtl[export] is needed, or a program for torch.export.load.
        size: Height and width in pixels that the file takes. [default: those it was trained with]
        dynamic: Take any height and width that are multiples of the network's stride.
        out: The file. [default: RUN/model.onnx or RUN/model.pt2]
        checkpoint: Which checkpoint. [default: the one that the recipe selects]
        weights: Whose weights. [default: those that the recipe evaluates]
    """
    from ssmtl.commands.export import export_run

    return export_run(run, form, size, dynamic, out, checkpoint, weights)


@new.command(name="task", help_epilogue="Example: ssmtl new task MonoDepth --out plugins/depth")
def new_task(name: str, /, *, out: Path | None = None) -> int:
    """Write a package with a task of your own: it learns ordered classes, and passes the contract suite as it is.

    The folder holds the task, the contract test, an entry point by which ssmtl finds it once it is installed, and a
    README that says what to change. Nothing is overwritten.

    Args:
        name: Name of the class, such as MonoDepth.
        out: The folder. [default: ssmtl-NAME]
    """
    from ssmtl.commands.new import new_plugin

    return new_plugin("task", name, out)


@new.command(name="strategy", help_epilogue="Example: ssmtl new strategy UniMatch")
def new_strategy(name: str, /, *, out: Path | None = None) -> int:
    """Write a package with a strategy of your own: confident predictions on weak views teach strong ones.

    The folder holds the strategy, the contract test, an entry point by which ssmtl finds it once it is installed, and a
    README that says what to change. Nothing is overwritten.

    Args:
        name: Name of the class, such as UniMatch.
        out: The folder. [default: ssmtl-NAME]
    """
    from ssmtl.commands.new import new_plugin

    return new_plugin("strategy", name, out)


@new.command(name="recipe", help_epilogue="Example: ssmtl new recipe lungs --like multimix_cxr")
def new_recipe(name: str | None = None, /, *, like: str = "custom", out: Path | None = None) -> int:
    """Copy a recipe that comes with ssmtl into a file of your own, to be edited and run by `ssmtl run FILE`.

    Args:
        name: Name of the recipe; the file is called NAME.py. [default: that of the one it is copied from]
        like: The recipe to copy, a name that `ssmtl list` shows.
        out: The file, instead of NAME.py.
    """
    from ssmtl.commands.new import new_recipe as copy_recipe

    return copy_recipe(name, like, out)
