"""The command `ssmtl`. Errors of users are one sentence and exit code 2; `--debug` shows where they came from."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ssmtl.cli_author import add_author_words
from ssmtl.cli_data import add_data_words, coverage
from ssmtl.commands.recipes import shipped_recipes, summary
from ssmtl.component import kinds, mistakes
from ssmtl.errors import SsmtlError

USER_ERROR = 2
DEBUG = "--debug"
GROUPS = (
    "tasks",
    "strategies",
    "readers",
    "streams",
    "policies",
    "transforms",
    "models",
    "encoders",
    "heads",
    "losses",
    "schedules",
    "optimizers",
)

Checkpoint = Literal["last", "best"]
Weights = Literal["student", "teacher"]

app = App(
    name="ssmtl",
    version=lambda: version("ssmtl"),
    help="Train one vision model for several tasks when most images lack most labels.",
    help_epilogue="""\
Start here, without any data:

    ssmtl run multimix_cxr --steps 100 --out runs/first

    ssmtl predict runs/first FILM.png

    ssmtl views multimix_cxr --out views.png

Every command explains itself with --help; --debug shows the traceback of an error.""",
    result_action="return_value",
    help_format="markdown",
)


@app.command(name="run", help_epilogue="Example: ssmtl run multimix_cxr --data DIR --lung-labels 10 --out runs/first")
def run_help(recipe: str, /) -> int:
    """Train a recipe, test it, and write its report.

    RECIPE is a Python file with a function `recipe`, or the name of one that comes with ssmtl: see `ssmtl list`. The
    function's arguments become flags; `ssmtl run multimix_cxr --help` shows them beside those that every recipe has:
    --out, --steps, --eval-every, --checkpoint-every, --devices, --precision, --workers, --resume and --quiet.

    Args:
        recipe: A recipe's file or name.
    """
    return _run([recipe])


@app.command(
    name="views", help_epilogue="Example: ssmtl views multimix_cxr --diagnosis-labels 50 --rows 8 --out sheet.png"
)
def views_help(recipe: str, /) -> int:
    """Draw a contact sheet of what a recipe's images become, to be looked at before training.

    A row shows an image with its annotations, its weak view, its strong view, the annotations moved from one to the
    other, and which pixels count. The recipe's arguments are flags, as for `ssmtl run`, beside --out, --rows and
    --step; `ssmtl views multimix_cxr --help` shows all.

    Args:
        recipe: A recipe's file or name.
    """
    return _views([recipe])


add_data_words(app)


@app.command(name="eval", help_epilogue="Example: ssmtl eval runs/first --checkpoint best")
def evaluate(
    run: Path,
    /,
    *,
    checkpoint: Checkpoint | None = None,
    weights: Weights | None = None,
    data: Path | None = None,
    tile: tuple[int, int] | None = None,
) -> int:
    """Score a run's weights on its test splits, and write evaluation.json.

    Needs the run folder and the data, never a recipe file.

    Args:
        run: The run folder.
        checkpoint: Which checkpoint. [default: the one that the recipe selects]
        weights: Whose weights. [default: those that the recipe evaluates]
        data: Where the data is now, if it moved since training: its folder, or the manifest in it.
        tile: Height and width in pixels to predict at a time, where memory is short; for maps of pixels only.
    """
    from ssmtl.commands.evaluation import evaluate_run

    return evaluate_run(run, checkpoint, weights, data, tile)


@app.command(help_epilogue="Example: ssmtl predict runs/first films/ extra.jpg --out predictions")
def predict(
    run: Path,
    /,
    *images: Path,
    out: Path | None = None,
    checkpoint: Checkpoint | None = None,
    weights: Weights | None = None,
    batch_size: Literal["auto"] | int = "auto",
) -> int:
    """Apply a run's model to images: predictions.csv, boxes.csv, COCO JSON, and masks and overlays as PNG files.

    Masks have the size of their image: 0 and 255, or class indices where a task has several classes. What was stopped
    goes on where it was when the same command is given again. Images that can't be read are listed in skipped.csv.

    Args:
        run: The run folder.
        images: Image files, or folders that are searched for them.
        out: Where to write. [default: RUN/predictions]
        checkpoint: Which checkpoint. [default: the one that the recipe selects]
        weights: Whose weights. [default: those that the recipe evaluates]
        batch_size: Images at a time; auto finds out how many a GPU has the memory for.
    """
    from ssmtl.predict import predict_files

    asked = None if batch_size == "auto" else batch_size
    return predict_files(run, images, out or run / "predictions", checkpoint, weights, asked)


@app.command
def report(run: Path, /) -> int:
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


@app.command(help_epilogue='Example: ssmtl compare runs/*/ --baseline "multimix_cxr umtl" --json comparison.json')
def compare(
    *runs: Path, baseline: str | None = None, json_file: Annotated[Path | None, Parameter(name="--json")] = None
) -> int:
    """Compare runs over seeds: mean and standard deviation per recipe name and test metric.

    Args:
        runs: Run folders; those with the same recipe name are taken as seeds of one variant.
        baseline: Recipe name whose runs the others are compared with, seed by seed.
        json_file: Write the same numbers there, every seed's among them.
    """
    from ssmtl.commands.evaluation import compare_runs

    return compare_runs(runs, baseline, json_file)


add_author_words(app)


@app.command(name="list")
def list_() -> int:
    """List recipes, and every installed component that recipes are made of."""
    recipes = Table("name", "what it does", title="recipes: ssmtl run NAME", title_justify="left")
    for name, path in shipped_recipes().items():
        recipes.add_row(name, summary(path))
    components = Table("group", "names", title="components of recipes, from every installed package")
    components.title_justify = "left"
    for group in GROUPS:
        components.add_row(group, ", ".join(kinds(group)))
    Console().print(recipes, components)
    return 0


def _run(tokens: list[str]) -> int:
    from ssmtl.commands.run import run

    return run(tokens)


def _views(tokens: list[str]) -> int:
    from ssmtl.commands.views import views

    return views(tokens)


OF_RECIPES = {("run",): _run, ("views",): _views, ("data", "coverage"): coverage}
"""Commands whose words are a recipe's to understand."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 2 for a user's mistake, 130 when Ctrl-C stopped a run."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = DEBUG in tokens
    tokens = [token for token in tokens if token != DEBUG]
    try:
        words = next((words for words in OF_RECIPES if tuple(tokens[: len(words)]) == words), ())
        rest = tokens[len(words) :]
        if words and rest and not rest[0].startswith("-"):
            code = OF_RECIPES[words](rest)
        else:
            code = app(tokens, exit_on_error=False, print_error=False)
    except (SsmtlError, CycloptsError, ValidationError, OSError) as error:
        if debug:
            raise
        _say(_sentence(error))
        code = USER_ERROR
    except KeyboardInterrupt:
        _say("interrupted.")
        code = 130
    sys.exit(code or 0)


def _say(sentence: str) -> None:
    rank = os.environ.get("LOCAL_RANK", "0")
    where = "" if rank == "0" else f" in process {rank}"
    Console(stderr=True).print(f"[bold red]error{where}:[/] {sentence}", highlight=False, soft_wrap=True)


def _sentence(error: Exception) -> str:
    """Return an error's text for people."""
    if isinstance(error, ValidationError):
        return escape(f"{mistakes(error)}.")
    if isinstance(error, OSError) and not isinstance(error, SsmtlError):
        place = f" {error.filename}" if error.filename else ""
        reason = error.strerror or str(error)
        return escape(f"the file system refused{place}: {reason}; free some space, or check path and permissions.")
    return escape(str(error))


if __name__ == "__main__":
    main()
