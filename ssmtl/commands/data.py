"""`ssmtl data`: what a recipe's sources hold, before anything is trained."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from ssmtl.commands.run import ask

if TYPE_CHECKING:
    from ssmtl.coverage_report import CoverageReport

EPILOGUE = (
    "A batch is that of a micro-step, over all processes. A task is starved when a batch carries less than one labeled "
    "row of it on average, when more than half of the batches carry none, or when it has less than a tenth of the "
    "labels of another task: draw with Explicit(labeled_if=TASK), or show more labels."
)


@Parameter(name="*", group="Flags of the matrix")
@dataclass(frozen=True)
class CoverageFlags:
    """Flags that every recipe has here."""

    out: Path | None = None
    """JSON file to write the same numbers to."""


def data_coverage(tokens: list[str]) -> int:
    """Print the matrix of `RECIPE [flags]`; returns the exit code."""
    asked = ask(tokens, "data coverage", CoverageFlags(), EPILOGUE)
    if asked is None:
        return 0
    from ssmtl.coverage_report import coverage_report
    from ssmtl.loader import open_sources

    report = coverage_report(open_sources(asked.recipe()))
    console = Console()
    console.print(_matrix(report), _batches(report))
    for sentence in report.warnings.values():
        console.print(f"[yellow]warning:[/] {sentence}", highlight=False, soft_wrap=True)
    out = asked.flags.out
    if out is not None:
        out.write_text(json.dumps({**asdict(report), "warnings": report.warnings}, indent=1))
        console.print(f"numbers: {out}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _matrix(report: "CoverageReport") -> Table:
    """Return images by source and label; a dash means that the source doesn't serve the task."""
    tasks = list(report.total.labeled)
    several = ["every task"] if len(tasks) > 1 else []
    table = Table(title="Images that show a label, of those that have one; the rest is hidden", title_justify="left")
    table.add_column("source")
    for title in ("images", *tasks, *several, "no label"):
        table.add_column(title, justify="right")
    for row in (*report.sources, report.total):
        if row is report.total:
            table.add_section()
        shown = [f"{row.labeled[t]:,}{_of(row.hidden[t], row.labeled[t])}" if t in row.labeled else "-" for t in tasks]
        every = [f"{row.every:,}"] if several else []
        table.add_row(row.source, f"{row.images:,}", *shown, *every, f"{row.none:,}")
    return table


def _of(hidden: int, shown: int) -> str:
    return f" of {hidden + shown:,}" if hidden else ""


def _batches(report: "CoverageReport") -> Table:
    """Return what the groups of a batch carry."""
    tasks = list(report.expected)
    table = Table(title="Labeled rows of a batch, on average", title_justify="left")
    table.add_column("stream")
    for title in ("draws", "of images", *tasks):
        table.add_column(title, justify="right")
    for share in report.shares:
        expected = [f"{share.expected[task]:.2f}" if share.use_labels else "unused" for task in tasks]
        table.add_row(share.group, f"{share.rows:,}", f"{share.pool:,}", *expected)
    table.add_section()
    rows = sum(share.rows for share in report.shares)
    table.add_row("the batch", f"{rows:,}", "", *(f"{report.expected[task]:.2f}" for task in tasks))
    table.add_row("batches without any", "", "", *(f"{report.empty[task]:.1%}" for task in tasks))
    return table
