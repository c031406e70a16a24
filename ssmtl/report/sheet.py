"""The contact sheet: what training would see in a step, with what was drawn for it and where its targets go."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ssmtl.blocks import FAINT, HEADING, PAPER, TITLE, Key, Picture, beside, legend, stack, text
from ssmtl.errors import RecipeError
from ssmtl.loader import open_sources
from ssmtl.palette import PLACED, Colors
from ssmtl.pictures import recipe_colors
from ssmtl.recipe import Recipe, Source
from ssmtl.report.marks import CUT, FATES, VOIDED, counted, marked, plain
from ssmtl.report.seen import Seen, look
from ssmtl.report.view_words import policy_words
from ssmtl.views.geometry import STRONG, WEAK

GAP, MARGIN = 12, 20
NARROWEST, SHEET = 150, 800
"""Smallest width of a column, and of a sheet, in pixels."""
MOST = 100
"""Largest number of rows: a JPEG picture can't be higher than 65535 pixels."""
NONE = "none: no strategy reads it for this image, so labels are shown in the weak view"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}

COLUMNS = (
    ("source", "with its annotations"),
    ("weak", "pseudo-labels are found here"),
    ("strong", "and learned here"),
    ("labels, moved weak to strong", "what a perfect teacher hands on"),
    ("counts", "where moved labels count"),
)
WITHOUT_STRONG = (
    ("source", "with its annotations"),
    ("weak", "what the model sees"),
    ("labels, moved into weak", "what it learns there"),
    ("counts", "where labels count"),
)


def draw_sheet(recipe: Recipe, *, step: int = 0, rows: int = 6) -> Picture:
    """Draw a sheet of up to `rows` images of a step's (first micro-)batch, exactly as training would see them.

    Columns are the image with its annotations, its weak view, its strong view, the annotations moved into the weak view
    and from there into the strong one, and where targets count. Images that have no strong view in this step show
    their annotations in the weak view; where a recipe has none at all, that column is left out.

    Raises RecipeError for a negative step and for less than one row or too many, and what opening the sources raises.
    """
    if step < 0:
        raise RecipeError(f"there is no step {step}; the first is --step 0.")
    if not 1 <= rows <= MOST:
        raise RecipeError(f"a sheet can't have {rows} rows; ask for --rows 1 to {MOST}.")
    found, batch = look(open_sources(recipe), step, rows)
    with_strong = STRONG.policy in recipe.used_views()
    colors = recipe_colors(recipe)
    body = [_cells(seen, colors, with_strong=with_strong) for seen in found]
    widths = [max(NARROWEST, *(cell.width for cell in column)) for column in zip(*body, strict=True)]
    width = max(SHEET, sum(widths) + GAP * (len(widths) - 1))
    blocks = [_header(recipe, step, f"{len(found)} of the {batch} images", width)]
    keys = _keys(found, colors)
    if keys:
        blocks.append(legend(keys, width))
    columns = COLUMNS if with_strong else WITHOUT_STRONG
    blocks.append(beside([(_heading(*words, w), w) for words, w in zip(columns, widths, strict=True)], GAP))
    for seen, cells in zip(found, body, strict=True):
        blocks.append(stack([beside(list(zip(cells, widths, strict=True)), GAP), *_captions(seen, width)], 3))
    sheet = stack(blocks, GAP)
    framed = Image.new("RGB", (sheet.width + 2 * MARGIN, sheet.height + 2 * MARGIN), PAPER)
    framed.paste(sheet, (MARGIN, MARGIN))
    return framed


def check_place(path: Path) -> None:
    """Make the folder of a sheet; raises RecipeError where no picture can be written, and OSError as `mkdir` does."""
    if path.suffix.lower() not in FORMATS:
        raise RecipeError(f"--out {path} must end in .png or .jpg, which says how the picture is written.")
    if path.is_dir():
        raise RecipeError(f"--out {path} is a folder; name a file in it, such as {path / 'views.png'}.")
    path.parent.mkdir(parents=True, exist_ok=True)


def save_sheet(sheet: Picture, path: Path) -> None:
    """Write a sheet as its name's ending says, over what is there."""
    sheet.save(path, FORMATS[path.suffix.lower()], optimize=True, quality=92)


def _cells(seen: Seen, colors: Colors, *, with_strong: bool) -> list[Picture]:
    """Return a row's pictures, with a note in the place of one that makes no sense.

    A class that is hidden from training is drawn over the source only: nothing is learned from it, and no teacher hands
    it on.
    """
    reader, last = seen.source.reader, seen.weak if seen.strong is None else seen.strong
    moved = seen.moved if seen.labeled else replace(seen.moved, label=None)
    strong = _note(NONE) if seen.strong is None else plain(seen.strong)
    return [
        marked(torch.from_numpy(seen.sample.image), seen.given, reader, colors),
        plain(seen.weak),
        *((strong,) if with_strong else ()),
        marked(last, moved, reader, colors),
        counted(last, seen.fate) if seen.dense else _note("no pixels to count: a label is the whole image's"),
    ]


def _note(words: str) -> Picture:
    return text(words, NARROWEST, color=FAINT)


def _heading(words: str, more: str, width: int) -> Picture:
    return stack([text(words, width, size=HEADING, bold=True), text(more, width, color=FAINT)], 0)


def _header(recipe: Recipe, step: int, images: str, width: int) -> Picture:
    """Return the title, and what every view may do, said once where sources agree."""
    late = f" (training ends after {recipe.steps})" if step >= recipe.steps else ""
    lines = [f"{images} of step {step}{late}, seed {recipe.seed}, drawn as training draws them."]
    if STRONG.policy not in recipe.used_views():
        lines.append("No strategy of this recipe reads a strong view, so there is none.")
    lines += [f"{view}: {words}." for view, words in _policies(recipe)]
    return stack([text(recipe.name, width, size=TITLE, bold=True), *(text(line, width) for line in lines)], 4)


def _policies(recipe: Recipe) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for view in (WEAK.policy, STRONG.policy):
        for source in recipe.sources:
            if view == WEAK.policy or _reads_strong(recipe, source):
                found.setdefault((view, policy_words(recipe.policy(source, view))), []).append(source.name)
    everywhere = len(recipe.sources)
    return [
        (f"{view} views" if len(names) == everywhere else f"{view} views of {' and '.join(names)}", words)
        for (view, words), names in found.items()
    ]


def _reads_strong(recipe: Recipe, source: Source) -> bool:
    strategies = (o.strategy for o in recipe.objectives if o.task.name in source.serves)
    return any(need.view.policy == STRONG.policy for strategy in strategies for need in strategy.needs())


def _keys(found: Sequence[Seen], colors: Colors) -> list[Key]:
    """Return the legend of what can be seen on a sheet."""
    kinds = dict.fromkeys((s.source.reader, kind) for s in found for kind in (*PLACED, *s.given.kinds.values()))
    placed = [(reader, kind) for reader, kind in kinds if kind.partition(":")[0] in PLACED]
    names = [name for reader, kind in placed for name in reader.classes(kind) if name in colors]
    keys = [Key(name, colors[name]) for name in dict.fromkeys(names)]
    if any(reader.classes(kind) for reader, kind in placed if kind.startswith("mask")):
        keys.append(VOIDED)
    if any(seen.moved.cut is not None and len(seen.moved.cut) for seen in found):
        keys.append(CUT)
    fates = {fate for seen in found if seen.dense for fate in np.unique(seen.fate).tolist()}
    return list(dict.fromkeys([*keys, *(FATES[fate] for fate in sorted(fates))]))


def _captions(seen: Seen, width: int) -> list[Picture]:
    status = "labels visible in training" if seen.labeled else "no label visible in training"
    if not seen.labeled and seen.given.label is not None:
        status += ", so its class stands over the source only"
    lines = [text(f"{seen.source.name}: {seen.sample.name}, {status}", width, color=FAINT)]
    lines += [text(f"{view}: {words}", width) for view, words in seen.drawn.items()]
    return lines
