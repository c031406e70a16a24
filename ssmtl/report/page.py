"""The report of a run: one HTML file that needs no network, no script and no other file."""

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ssmtl.errors import CheckpointError
from ssmtl.report.curves import (
    CHECKPOINTS,
    checkpoint_figures,
    coverage_figures,
    loss_figures,
    mask_figures,
    metric_figures,
)
from ssmtl.report.drawing import Figure
from ssmtl.report.pictures import read_galleries
from ssmtl.report.records import Run, RunInfo, read_run
from ssmtl.report.tables import split_tables

STATUS = {
    "running": "This run had not ended when the page was written.",
    "stopped": "This run was stopped before its last step; go on with --resume.",
    "failed": "This run failed; its numbers are those of its last good step.",
}


class Chart(NamedTuple):
    """A section of curves: its heading, the figures, and the sentence that stands there when there are none."""

    heading: str
    figures: list[Figure]
    absent: str


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder and return its path; what the folder lacks, the page says.

    Raises CheckpointError for a folder that isn't a run, for damaged JSON, and when the page can't be written; an
    earlier report is untouched then.
    """
    page = render(read_run(run))
    path = run / "report.html"
    fresh = path.with_name(".report.html.new")
    try:
        fresh.write_text(page, encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise CheckpointError(f"{path} can't be written ({error}); free some space or fix the permissions.") from error
    return path


def render(run: Run) -> str:
    """Return the page of a run as text."""
    galleries, problems = read_galleries(run.folder / "pictures")
    environment = Environment(loader=PackageLoader("ssmtl", "report"), autoescape=True, undefined=StrictUndefined)
    environment.filters["drawing"] = _drawing
    return environment.get_template("template.html.j2").render(
        run=run,
        info=run.info,
        status=STATUS.get(run.info.status, ""),
        started=_moment(run.info.started),
        lasted=_duration(run.info),
        tables=split_tables(run),
        charts=_charts(run),
        pictures=[gallery for gallery in galleries if not gallery.saliency],
        saliency=[gallery for gallery in galleries if gallery.saliency],
        deviations=_texts(run.recipe.get("deviations")),
        missing=[*run.missing, *problems],
    )


def _charts(run: Run) -> list[Chart]:
    train = run.phase("train")
    guessed = [*coverage_figures(train), *mask_figures(train)]
    checkpoints = checkpoint_figures(run.phase(CHECKPOINTS))
    return [
        Chart("Validation metrics", metric_figures(run.phase("validation")), "There was no validation so far."),
        *([Chart("Tests of single checkpoints", checkpoints, "")] if checkpoints else []),
        Chart("Losses", loss_figures(train), "No training step was logged."),
        Chart("Pseudo-labels and masks", guessed, "Nothing was logged of pseudo-labels."),
    ]


def _drawing(figure: Figure) -> Markup:
    """Mark the SVG as safe: it is drawn by matplotlib from numbers alone."""
    return Markup(figure.svg)  # noqa: S704


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _moment(text: str | None) -> str:
    """Return an ISO 8601 time without its fractions of a second; anything else as it is."""
    try:
        return f"{datetime.fromisoformat(text or ''):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return text or ""


def _duration(info: RunInfo) -> str:
    """Return how long the run took, "" when its times are missing or not ISO 8601."""
    try:
        seconds = (
            datetime.fromisoformat(info.finished or "") - datetime.fromisoformat(info.started or "")
        ).total_seconds()
    except (ValueError, TypeError):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
