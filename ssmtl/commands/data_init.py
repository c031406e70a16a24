"""`ssmtl data init`: a first manifest of a folder, and in words what was understood and what wasn't."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ssmtl.manifests.classes import classes_path
from ssmtl.manifests.init import FirstManifest, write_first_manifest
from ssmtl.manifests.layouts.folder_names import Meaning

_CLASSES_SHOWN = 6


def data_init(folder: Path, out: Path | None, folders: Meaning, force: bool) -> int:
    """Write the manifest, print the tables, and end with the next thing to type; returns the exit code."""
    console = Console()
    made = write_first_manifest(folder, out, folders=folders, force=force)
    console.print(_found(made, folder))
    if made.left_out:
        console.print(_left_out(made))
    _say(console, f"manifest: {made.path}")
    if made.classes:
        _say(console, f"classes: {classes_path(made.path)}; rename them there if they have better names")
    if not made.columns:
        _say(console, "No label was found: add a column to the manifest, such as 'label', and fill in some classes.")
    _say(console, f"next: ssmtl data check {made.path}")
    return 0


def _found(made: FirstManifest, folder: Path) -> Table:
    table = Table(title=Text(f"Found {made.images:,} images in {folder}"), title_justify="left")
    table.add_column("column", overflow="fold")
    table.add_column("images", justify="right")
    table.add_column("from", overflow="fold")
    table.add_column("classes", overflow="fold")
    for finding in made.findings:
        cells = (finding.header, f"{len(finding.cells):,}", finding.what, _shortened(finding.classes))
        table.add_row(*map(Text, cells))
    without = made.images - len(frozenset().union(*(f.cells for f in made.findings if f.classes)))
    table.add_section()
    table.add_row("", f"{without:,}", "without any label: empty cells, to learn from as unlabeled images", "")
    return table


def _shortened(classes: tuple[str, ...]) -> str:
    rest = len(classes) - _CLASSES_SHOWN
    return ", ".join(classes[:_CLASSES_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")


def _left_out(made: FirstManifest) -> Table:
    table = Table(title="Left out", title_justify="left")
    table.add_column("what", overflow="fold")
    table.add_column("why", overflow="fold")
    for thing in made.left_out:
        table.add_row(Text(thing.what), Text(thing.why))
    return table


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
