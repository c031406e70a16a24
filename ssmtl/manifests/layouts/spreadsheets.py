"""A folder of images and a spreadsheet: a column of file names, and columns that say something of these images."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from ssmtl.errors import DataError
from ssmtl.manifests.layouts.inventory import Finding, Inventory, LeftOut, Reading, some, split_of, task_name
from ssmtl.manifests.sheet import Sheet, read_sheet
from ssmtl.manifests.spelling import NO_VALUES

_TABLES = (".csv", ".tsv")
_SPREADSHEETS = (".xlsx", ".xls", ".ods")
_NO_VALUE = NO_VALUES | frozenset(("-", "--", "Na", "na", "Nan", "NAN", "Null", "N/a"))
"""Words of spreadsheets that say nothing. "none" is not among them: it may well be a finding."""
_GROUPS = frozenset((
    "patient", "patient_id", "patientid", "subject", "subject_id", "subjectid", "case", "case_id", "video", "group",
    "study",
))  # fmt: skip
_SOURCES = frozenset(("source", "site", "hospital", "center", "centre", "domain", "scanner", "dataset"))
_SPLITS = frozenset(("split", "set", "subset", "partition", "fold"))
_MOST_CLASSES = 50
_MOST_NUMBERS = 10
_ROWS_PER_CLASS = 2


def read_spreadsheets(inventory: Inventory) -> Reading:
    """Read every CSV whose cells name images, by path, by name or by stem.

    Columns called patient, case or video are groups, site or source are sources, split is a split. Any other column
    with few different texts is a label, one with `|` between texts several labels.
    """
    findings: list[Finding] = []
    left_out: list[LeftOut] = []
    read: set[str] = set()
    for path in inventory.with_suffix(*_TABLES):
        try:
            sheet = read_sheet(inventory.root / path)
        except DataError as error:
            left_out.append(LeftOut(path, str(error).replace(f"{inventory.root / path} ", "", 1)))
            continue
        owners = _owners(inventory, path, sheet)
        if owners is None:
            left_out.append(LeftOut(path, "none of its columns names images of this folder"))
            continue
        read.add(path)
        place, images = owners
        lost = [sheet.cell(row, place) or "" for row, image in enumerate(images) if image is None]
        if lost:
            left_out.append(
                LeftOut(f"{len(lost):,} row(s) of {path}: {some(lost)}", "they name no image of this folder")
            )
        said = [_column(path, h, sheet, c, images) for c, h in enumerate(sheet.header) if c != place]
        findings += [found for found in said if isinstance(found, Finding)]
        left_out += [found for found in said if isinstance(found, LeftOut)]
    books = inventory.with_suffix(*_SPREADSHEETS)
    left_out += [LeftOut(path, "spreadsheets aren't read; save it as CSV (UTF-8), and start again") for path in books]
    return Reading(tuple(findings), tuple(left_out), frozenset(read) | frozenset(books))


def _owners(inventory: Inventory, path: str, sheet: Sheet) -> tuple[int, list[str | None]] | None:
    """Return the column that names most images, and the image of every row; None where no column names any."""
    base = PurePosixPath(path).parent.as_posix()
    best: tuple[int, int, list[str | None]] | None = None
    for place in range(len(sheet.header)):
        texts = sheet.columns[place].to_pylist()
        images = inventory.all_named(texts, base)
        # A file is described once: a column of classes may be called like images, but repeats them.
        matched = len({image for image in images if image})
        if matched and (best is None or matched > best[0]):
            best = matched, place, images
    return None if best is None else best[1:]


def _column(path: str, header: str, sheet: Sheet, column: int, images: Sequence[str | None]) -> Finding | LeftOut:
    """Return what a column says of images, or why it is left out."""
    where = f"the column '{header}' of {path}"
    cells: dict[str, str] = {}
    nothing = Counter[str]()
    for text, image in zip(sheet.columns[column].to_pylist(), images, strict=True):
        value = (text or "").strip()
        if image is None or not value:
            continue
        if value in _NO_VALUE:
            nothing[value] += 1
        elif cells.setdefault(image, value) != value:
            return LeftOut(where, f"it says both '{cells[image]}' and '{value}' of {image}")
    if not cells:
        return LeftOut(where, "it is empty for every image")
    found = _meant(where, header.strip().casefold().replace(" ", "_"), cells)
    if isinstance(found, LeftOut) or not nothing:
        return found
    shown = some(f"'{word}' ({count:,})" for word, count in nothing.most_common())
    return found._replace(what=f"{found.what}; taken for empty cells: {shown}")


def _meant(where: str, word: str, cells: dict[str, str]) -> Finding | LeftOut:
    """Return what cells mean whose column is called `word`."""
    if word in _SPLITS and all(split_of(value) for value in cells.values()):
        return Finding(f"splits in {where}", "split", {image: split_of(value) or "" for image, value in cells.items()})
    if word in _GROUPS or word in _SOURCES:
        kind = "group" if word in _GROUPS else "source"
        return Finding(f"{len(set(cells.values())):,} {kind}s in {where}", kind, cells)
    if any("|" in value for value in cells.values()):
        return _several(where, word, cells)
    each = Counter(cells.values())
    reason = _no_class(each, len(cells))
    if reason:
        return LeftOut(where, reason)
    shown = some(f"{name} ({count:,})" for name, count in sorted(each.items()))
    return Finding(f"classes in {where}: {shown}", "label", cells, tuple(sorted(each)), task_name(word))


def _several(where: str, word: str, cells: dict[str, str]) -> Finding:
    lists = {image: [part.strip() for part in value.split("|") if part.strip()] for image, value in cells.items()}
    names = tuple(sorted({name for found in lists.values() for name in found}))
    joined = {image: "|".join(dict.fromkeys(found)) or "[]" for image, found in lists.items()}
    what = f"several classes an image in {where}: {some(names)}"
    return Finding(what, "labels", joined, names, task_name(word))


def _no_class(each: Counter[str], rows: int) -> str | None:
    """Return why the values of a column are no classes, None where they may be."""
    if len(each) == 1:
        return f"it says '{next(iter(each))}' of every image"
    numbers = all(re.fullmatch(r"[-+]?\d+([.,]\d+)?", value) for value in each)
    if numbers and (len(each) > _MOST_NUMBERS or any(not value.isdecimal() for value in each)):
        return f"it holds numbers, such as {some(sorted(each))}"
    if len(each) > _MOST_CLASSES or (len(each) > 2 and len(each) * _ROWS_PER_CLASS > rows):
        return f"{len(each):,} different texts in {rows:,} rows are no classes"
    return None
