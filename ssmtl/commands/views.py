"""`ssmtl views`: a contact sheet of what a recipe would show to its model."""

from dataclasses import dataclass
from pathlib import Path

from cyclopts import Parameter

from ssmtl.commands.run import ask

EPILOGUE = (
    "The sheet shows images as training would see them: source, weak view, strong view, labels moved from one to the "
    "other, and where they count. Look at it before training."
)


@Parameter(name="*", group="Flags of the sheet")
@dataclass(frozen=True)
class SheetFlags:
    """Flags that every recipe has here."""

    out: Path = Path("views.png")
    """Picture to write, .png or .jpg; one that is there is replaced."""
    rows: int = 6
    """Images to show, in turn from every source."""
    step: int = 0
    """Step of training whose images and draws are shown, counting from 0."""


def views(tokens: list[str]) -> int:
    """Draw the sheet of `RECIPE [flags]`; returns the exit code."""
    asked = ask(tokens, "views", SheetFlags(), EPILOGUE)
    if asked is None:
        return 0
    from rich.console import Console

    from ssmtl.report.sheet import check_place, draw_sheet, save_sheet

    flags = asked.flags
    check_place(flags.out)
    sheet = draw_sheet(asked.recipe(), step=flags.step, rows=flags.rows)
    replaced = " (replaced)" if flags.out.exists() else ""
    save_sheet(sheet, flags.out)
    Console().print(f"views: {flags.out}{replaced}", highlight=False, markup=False, soft_wrap=True)
    return 0
