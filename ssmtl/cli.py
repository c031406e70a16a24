"""The command `ssmtl`. Errors of users are one sentence and exit code 2; `--debug` shows where they came from."""

import os
import sys
from pathlib import Path
from typing import Literal

from cyclopts import App, CycloptsError
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from ssmtl.commands.recipes import shipped_recipes
from ssmtl.component import kinds
from ssmtl.errors import SsmtlError

USER_ERROR = 2
DEBUG = "--debug"
GROUPS = ("tasks", "strategies", "readers", "encoders", "heads", "losses", "schedules", "streams", "optimizers")

app = App(
    name="ssmtl",
    help="Train one vision model for several tasks when most images lack most labels.",
    help_epilogue="Start here: ssmtl run multimix_cxr --steps 100. Any command explains itself with --help; --debug "
    "shows the traceback of an error.",
    result_action="return_value",
    help_format="plaintext",
)


@app.command(name="run")
def run_help(recipe: str) -> int:
    """Train a recipe: `ssmtl run RECIPE [flags]`, then test it and write its report.

    RECIPE is a Python file with a function `recipe`, or the name of one that comes with ssmtl (see `ssmtl list`). Its
    arguments become flags: `ssmtl run multimix_cxr --help` shows them, beside those that every recipe has: --out,
    --steps, --eval-every, --checkpoint-every, --devices, --precision, --workers, --resume, --quiet.

    Args:
        recipe: A recipe's file or name.
    """
    return _run([recipe])


@app.command(name="eval")
def evaluate(
    run: Path,
    *,
    checkpoint: Literal["last", "best"] | None = None,
    weights: Literal["student", "teacher"] | None = None,
    data: Path | None = None,
) -> int:
    """Score a run's weights on its test splits; needs the run folder only, never a recipe file.

    Args:
        run: The run folder.
        checkpoint: Which checkpoint. [default: the one that the recipe selects]
        weights: Whose weights. [default: those that the recipe evaluates]
        data: Where the data is now, if it moved since training.
    """
    from ssmtl.commands.evaluation import evaluate_run

    return evaluate_run(run, checkpoint, weights, data)


@app.command
def predict(
    run: Path,
    *images: Path,
    out: Path | None = None,
    checkpoint: Literal["last", "best"] | None = None,
    weights: Literal["student", "teacher"] | None = None,
) -> int:
    """Apply a run's model to images: predictions.csv, and masks and overlays as PNG files.

    Args:
        run: The run folder.
        images: Image files, or folders that are searched for them.
        out: Where to write. [default: RUN/predictions]
        checkpoint: Which checkpoint. [default: the one that the recipe selects]
        weights: Whose weights. [default: those that the recipe evaluates]
    """
    from ssmtl.predict import predict_files

    return predict_files(run, images, out or run / "predictions", checkpoint, weights)


@app.command
def report(run: Path) -> int:
    """Write report.html of a run folder again, and print its table.

    Args:
        run: The run folder.
    """
    from ssmtl.report.page import write_report
    from ssmtl.report.tables import metric_table

    page = write_report(run)
    Console().print(metric_table(run))
    Console().print(f"report: {page}", highlight=False, soft_wrap=True)
    return 0


@app.command
def compare(*runs: Path) -> int:
    """Compare runs over seeds: mean and standard deviation per recipe name and test metric.

    Args:
        runs: Run folders; those with the same recipe name are taken as seeds of one variant.
    """
    from ssmtl.commands.evaluation import compare_runs

    return compare_runs(runs)


@app.command(name="list")
def list_() -> int:
    """List recipes and every installed component that recipes are made of."""
    table = Table(title="ssmtl", show_header=False)
    table.add_row("recipes", ", ".join(shipped_recipes()))
    for group in GROUPS:
        table.add_row(group, ", ".join(kinds(group)))
    Console().print(table)
    return 0


def _run(tokens: list[str]) -> int:
    from ssmtl.commands.run import run

    return run(tokens)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 for a user's mistake, 130 when Ctrl-C stopped a run."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG in tokens
    tokens = [token for token in tokens if token != DEBUG]
    try:
        starts_recipe = tokens[:1] == ["run"] and len(tokens) > 1 and not tokens[1].startswith("-")
        code = _run(tokens[1:]) if starts_recipe else app(tokens, exit_on_error=False, print_error=False)
    except (SsmtlError, CycloptsError, ValidationError) as error:
        if debug:
            raise
        _say(_sentence(error))
        code = USER_ERROR
    except KeyboardInterrupt:
        _say("interrupted.")
        code = 130
    sys.exit(code or 0)


def _say(sentence: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":
        Console(stderr=True).print(f"[bold red]error:[/] {sentence}", highlight=False, soft_wrap=True)


def _sentence(error: Exception) -> str:
    """Return an error's text for people; a validation error becomes a line per mistake, with its place."""
    if not isinstance(error, ValidationError):
        return str(error).replace("[", r"\[")
    lines = []
    for mistake in error.errors():
        place = ".".join(str(part) for part in mistake["loc"])
        text = mistake["msg"].removeprefix("Value error, ")
        lines.append(f"{error.title}{'.' if place else ''}{place}: {text}")
    return "\n".join(lines).replace("[", r"\[")


if __name__ == "__main__":
    main()
