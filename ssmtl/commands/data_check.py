"""`ssmtl data check`: what is wrong with a manifest, what it holds, and a repaired copy where that is asked for."""

from collections import Counter
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ssmtl.errors import DataError
from ssmtl.manifests.check import Report, check_manifest
from ssmtl.manifests.notations import Order
from ssmtl.manifests.problems import Problem, grouped, write_problems
from ssmtl.manifests.repairs import Change, fix_manifest
from ssmtl.manifests.tallies import NOTHING, UNUSED, Tallies

BoxNumbers = Literal["corners", "size"]

_SHOWN = 30
_CLASSES_SHOWN = 50


def data_check(
    file: Path,
    *,
    fix: Path | None = None,
    out: Path | None = None,
    allow_outside: bool = False,
    remote: bool = False,
    box_numbers: BoxNumbers | None = None,
) -> int:
    """Check the manifest `file`, print what was found, and return 0; raises DataError when it is refused.

    `fix` names a new manifest to write with all repairs, which is then checked instead; `out` a CSV file for all
    problems.
    """
    console = Console()
    report = _watched(console, file, allow_outside, remote, box_numbers)
    if fix is not None:
        changes = fix_manifest(report, fix)
        _say_changes(console, fix, changes)
        # What were corner and size are corners in the copy, and must not be turned twice.
        left = None if box_numbers == "size" else box_numbers
        report = _watched(console, fix, allow_outside, remote, left)
    show_report(console, report)
    if out is not None:
        write_problems(report.problems, out)
        _say(console, f"all {len(report.problems):,} problems: {out}")
    if report.refused:
        raise DataError(_last_sentence(report))
    _say(console, f"{report.path} passed its check: {len(report.sheet):,} images; training may start.")
    return 0


def show_report(console: Console, report: Report) -> None:
    """Print the problems, the classes of every column, and which annotations images carry."""
    if report.problems:
        console.print(_problems(report.problems))
    for column in report.columns:
        if report.tallies.classes.get(column.header):
            console.print(_classes(report.tallies, column.header))
    console.print(_coverage(report.tallies))


def _watched(console: Console, file: Path, allow_outside: bool, remote: bool, box_order: Order | None) -> Report:
    """Check with a progress bar, which leaves nothing behind."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        rows = bar.add_task(f"checking {file.name}", total=None)

        def watch(done: int, total: int) -> None:
            bar.update(rows, completed=done, total=total)

        return check_manifest(file, allow_outside=allow_outside, remote=remote, box_order=box_order, progress=watch)


def _problems(problems: tuple[Problem, ...]) -> Table:
    groups = grouped(problems)
    table = _titled("Problems")
    table.add_column("file", overflow="fold", ratio=3)
    table.add_column("line", justify="right")
    table.add_column("what", overflow="fold", ratio=6)
    table.add_column("what to do", overflow="fold", ratio=6)
    for problem, count in groups[:_SHOWN]:
        what = problem.what + (f" (and {count - 1:,} more like this)" if count > 1 else "")
        if problem.warning:
            what = f"warning: {what}"
        fix = problem.fix + (" [--fix can]" if problem.repair else "")
        line = f"{problem.row:,}" if problem.row else "all"
        table.add_row(
            *(Text(text) for text in (problem.file, line, what, fix)), style="yellow" if problem.warning else ""
        )
    hidden = sum(count for _, count in groups[_SHOWN:])
    if hidden:
        table.add_row(
            "...", "", f"{hidden:,} more of {len(groups) - _SHOWN:,} other sorts", "--out FILE.csv writes all."
        )
    return table


def _classes(tallies: Tallies, header: str) -> Table:
    """Return how many images show each class of a column, by split."""
    counts, boxes = tallies.classes[header], tallies.boxes.get(header)
    splits = tallies.splits
    table = _titled(f"Images by class in '{header}'")
    table.add_column("class")
    for title in ("images", *(["boxes"] if boxes is not None else []), *(splits if splits != (UNUSED,) else ())):
        table.add_column(title, justify="right")
    names = sorted(counts, key=lambda name: (name == NOTHING, -counts[name].total(), name))
    for name in names[:_CLASSES_SHOWN]:
        number = [f"{boxes[name]:,}"] if boxes is not None else []
        each = [f"{counts[name][split]:,}" for split in splits] if splits != (UNUSED,) else []
        table.add_row(Text(name), f"{counts[name].total():,}", *number, *each)
    if len(names) > _CLASSES_SHOWN:
        table.add_row(f"... and {len(names) - _CLASSES_SHOWN:,} classes with fewer")
    return table


def _coverage(tallies: Tallies) -> Table:
    """Return how many images carry which annotations together, by source and split."""
    splits, sources = tallies.splits, tallies.sources
    table = _titled("Images by the annotations that they carry")
    table.add_column("annotations")
    several = sources not in ((), ("",))
    for title in ["source"] if several else []:
        table.add_column(title)
    for title in (*splits, "all"):
        table.add_column(title, justify="right")
    totals: Counter[str] = Counter()
    for headers in sorted(tallies.carried, key=lambda headers: (-len(headers), headers)):
        for source in sources:
            each = {split: tallies.carried[headers][split, source] for split in splits}
            if any(each.values()):
                place = [Text(source or "(none)")] if several else []
                numbers = (f"{number:,}" for number in (*each.values(), sum(each.values())))
                table.add_row(Text(" + ".join(headers) or "(nothing)"), *place, *numbers)
                totals.update(each)
    table.add_section()
    place = [Text()] if several else []
    table.add_row("all", *place, *(f"{totals[split]:,}" for split in splits), f"{totals.total():,}")
    return table


def _say_changes(console: Console, fix: Path, changes: tuple[Change, ...]) -> None:
    table = _titled(f"Repaired in {fix.name}")
    table.add_column("repair")
    table.add_column("changes", justify="right")
    for name, count in sorted(Counter(change.repair for change in changes).items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    _say(console, f"every change: {fix.with_name(f'{fix.stem}.fixes.csv')}")


def _last_sentence(report: Report) -> str:
    rows = len({problem.row for problem in report.refused if problem.row})
    repairable = sum(problem.repair is not None for problem in report.refused)
    fixed = report.path.with_name(f"{report.path.stem}-fixed.csv")
    advice = f" `ssmtl data check {report.path} --fix {fixed}` repairs {repairable:,} of them in a copy."
    return (
        f"{report.path} is refused for {len(report.refused):,} problem{'s' * (len(report.refused) != 1)} in {rows:,} "
        f"row{'s' * (rows != 1)}, and training won't start on it; correct them, and check again."
        f"{advice if repairable else ''}"
    )


def _titled(title: str) -> Table:
    """Return an empty table that is at least as wide as its title."""
    return Table(title=Text(title, style="italic"), title_justify="left", min_width=len(title))


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
