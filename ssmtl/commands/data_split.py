"""`ssmtl data split`: the table of tasks and splits, what is missing where, and what to type next."""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ssmtl.manifests.divided import Divided, HowToSplit, split_manifest
from ssmtl.manifests.split import SPLITS

_TRAITS_SHOWN = 60
_FEW = 5


def data_split(file: Path, out: Path, how: HowToSplit) -> int:
    """Divide the manifest, print what went where, and return the exit code."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not console.is_terminal) as bar:
        rows = bar.add_task(f"checking {file.name}", total=None)
        done = split_manifest(file, out, how, lambda seen, total: bar.update(rows, completed=seen, total=total))
    console.print(_table(done))
    for gap in done.gaps:
        console.print(
            f"[yellow]warning:[/] {gap.split} has no label of '{gap.task}': {_why(gap.groups)}",
            highlight=False,
            soft_wrap=True,
        )
    few = _few(done)
    if few:
        console.print(f"[yellow]warning:[/] {few}", highlight=False, soft_wrap=True)
    if done.copies:
        _say(console, f"{done.copies:,} image(s) show the same picture as another one; they stay together.")
    if done.kept:
        _say(console, f"{done.kept:,} row(s) kept the split that they had; --again divides all anew.")
    backup = f", as it was: {done.backup}" if done.backup else ""
    _say(console, f"manifest: {out}{backup}")
    _say(console, f"next: ssmtl run custom --data {out}")
    return 0


def _table(done: Divided) -> Table:
    """Return how many images of every task and class went where."""
    groups = len(np.unique(done.groups))
    grouped = f", {groups:,} groups" if groups < len(done.groups) else ""
    table = Table(title=Text(f"{len(done.split):,} images{grouped}"), title_justify="left")
    table.add_column("labeled for")
    for title in (*SPLITS, "all"):
        table.add_column(title, justify="right")
    table.add_row("(images)", *_counts(done.split))
    traits = done.traits
    for place, task in enumerate(traits.names[: traits.tasks]):
        table.add_section()
        table.add_row(Text(task), *_counts(done.split[_rows(done, place)]))
        inside = [k for k in range(traits.tasks, len(traits.names)) if traits.names[k].startswith(f"{task} = ")]
        for k in inside[:_TRAITS_SHOWN]:
            table.add_row(Text(f"  {traits.names[k].removeprefix(f'{task} = ')}"), *_counts(done.split[_rows(done, k)]))
        if len(inside) > _TRAITS_SHOWN:
            table.add_row(f"  ... and {len(inside) - _TRAITS_SHOWN:,} classes more")
    return table


def _few(done: Divided) -> str:
    """Return one line on all tasks that have some labels to score on, but too few; nothing where there are none."""
    found = []
    for place, task in enumerate(done.traits.names[: done.traits.tasks]):
        counts = np.bincount(done.split[_rows(done, place)], minlength=len(SPLITS)).tolist()
        few = [f"{count} in {name}" for name, count in zip(SPLITS[1:], counts[1:], strict=True) if 0 < count < _FEW]
        found += [f"{task} has {' and '.join(few)}"] if few else []
    if not found:
        return ""
    return f"scores on fewer than {_FEW} labeled images say little: {', '.join(found)}; label more images."


def _rows(done: Divided, trait: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return done.traits.carried[:, [trait]].nonzero()[0].astype(np.int64)


def _counts(split: np.ndarray[tuple[int], np.dtype[np.int8]]) -> list[str]:
    each = np.bincount(split, minlength=len(SPLITS))
    return [f"{count:,}" for count in (*each.tolist(), len(split))]


def _why(groups: int) -> str:
    if not groups:
        return "no image has one."
    return (
        f"the labeled images form only {groups:,} group(s), and train comes first; label some images more, or keep in "
        "mind that nothing is measured there."
    )


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
