"""`ssmtl data check --fix`: a new manifest in which everything is put right that needs no decision.

Neither the old manifest nor any file that it names is touched. What can't be repaired is copied as it is, so that it is
refused again.
"""

import csv
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from PIL import Image

from ssmtl.datasets.decode import load_image
from ssmtl.errors import DataError
from ssmtl.manifests.check import Report
from ssmtl.manifests.classes import classes_path
from ssmtl.manifests.columns import PHASH, SHA256
from ssmtl.manifests.ledger import WHOLE
from ssmtl.manifests.mask_files import REPAIR as MASK
from ssmtl.manifests.mask_files import class_numbers
from ssmtl.manifests.pictures import REPAIR as PICTURE
from ssmtl.manifests.pictures import repaired
from ssmtl.manifests.problems import Problem, Repair
from ssmtl.manifests.row_check import EMPTY_ROW, HEADER, SPARE_COLUMN
from ssmtl.manifests.verdicts import DUPLICATE

_BINARY_FOREGROUND = 255


class Change(NamedTuple):
    """One thing that a repair changed: lines in the old and the new manifest (0: all, or not there), and what."""

    line: int
    new_line: int
    column: str
    repair: str
    before: str
    after: str
    how: str = ""


def fix_manifest(report: Report, out: Path) -> tuple[Change, ...]:
    """Write a repaired copy of a manifest to the CSV file `out`, and return what was changed, in the order of rows.

    Beside it are its classes file, the folder `<stem>-files` with converted images and masks, and `<stem>.fixes.csv`
    with all changes. Raises DataError where `out` isn't a new CSV file in the manifest's folder, and where lines that
    can't be read would be lost.
    """
    _check_out(report, out)
    fixer = _Fixer(report, out.with_name(f"{out.stem}-files"))
    fresh = out.with_name(f".{out.name}.new")
    try:
        with fresh.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(fixer.header())
            writer.writerows(fixer.rows())
        os.replace(fresh, out)
    finally:
        fresh.unlink(missing_ok=True)
    if classes_path(report.path).exists():
        shutil.copyfile(classes_path(report.path), classes_path(out))
    with out.with_name(f"{out.stem}.fixes.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(Change._fields)
        writer.writerows(fixer.changes)
    return tuple(fixer.changes)


def _check_out(report: Report, out: Path) -> None:
    if out.suffix.lower() != ".csv":
        raise DataError(f"--fix {out} doesn't end in .csv; a repaired manifest is written as CSV: name it so.")
    if out.absolute().parent.resolve() != report.path.absolute().parent.resolve():
        raise DataError(
            f"--fix {out} is in another folder than {report.path}, whose paths are relative to its own; write it "
            f"beside it, such as to {report.path.with_name(out.name)}."
        )
    for path in (out, classes_path(out), out.with_name(f"{out.stem}-files")):
        if path.exists():
            raise DataError(f"--fix would write to {path}, which exists; name another file, or move that one away.")
    if report.sheet.broken:
        raise DataError(f"{report.path} has lines that can't be read, and would be lost; correct them by hand first.")


@dataclass
class _Fixer:
    """Makes the rows of the new manifest, one after the other."""

    report: Report
    folder: Path
    changes: list[Change] = field(default_factory=list)
    _made: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """(cell and how) of converted files, by kind and old cell."""

    def __post_init__(self) -> None:
        self._cells: dict[int, dict[int, Repair]] = {}
        self._dropped: dict[int, str] = {}
        self._spare: set[int] = set()
        self._inverted: set[int] = set()
        for repair in self.report.repairs:
            if repair.name in (DUPLICATE, EMPTY_ROW):
                self._dropped[repair.row] = repair.name
            elif repair.name == SPARE_COLUMN:
                self._spare.add(repair.column)
            elif repair.row != WHOLE:
                self._cells.setdefault(repair.row, {})[repair.column] = repair
            elif repair.name == MASK:
                self._inverted.add(repair.column)

    def header(self) -> list[str]:
        """Return the new header; what holds for the whole file is written down with it."""
        header = list(self.report.sheet.header)
        for problem in self.report.sheet.problems:
            if problem.repair:
                self.changes.append(_of_file(problem))
        for repair in self.report.repairs:
            if repair.name == HEADER:
                before, header[repair.column] = header[repair.column], repair.text or ""
                self.changes.append(Change(1, 1, before, HEADER, before, header[repair.column]))
        for place in sorted(self._spare):
            self.changes.append(Change(1, 1, f"column {place + 1}", SPARE_COLUMN, "", "", "left out"))
        return self._kept(header)

    def rows(self) -> Iterator[list[str]]:
        """Yield the new rows; ragged ones stay as they are."""
        sheet, line = self.report.sheet, 2
        for row, cells in sheet.rows():
            old = int(sheet.lines[row])
            if row in self._dropped:
                self.changes.append(Change(old, 0, "", self._dropped[row], "", "", "left out"))
                continue
            new = sheet.ragged.get(row) or self._kept(self._row(row, [cell or "" for cell in cells], old, line))
            line += 1 + sum(cell.count("\n") for cell in new)
            yield new

    def _row(self, row: int, cells: list[str], old: int, new: int) -> list[str]:
        repairs = self._cells.get(row, {})
        wanted = {place: Repair(MASK, row, place) for place in self._inverted if cells[place]}
        for place, repair in {**wanted, **repairs}.items():
            before, how = cells[place], ""
            if repair.name in (PICTURE, MASK):
                cells[place], how = self._converted(repair.name, before, invert=place in self._inverted)
            else:
                cells[place] = repair.text or ""
            header = self.report.sheet.header
            self.changes.append(Change(old, new, header[place], repair.name, before, cells[place], how))
            if repair.name == PICTURE:
                self._forget_hashes(cells, old, new)
        return cells

    def _kept(self, cells: list[str]) -> list[str]:
        return [cell for place, cell in enumerate(cells) if place not in self._spare]

    def _forget_hashes(self, cells: list[str], old: int, new: int) -> None:
        for place, header in enumerate(self.report.sheet.header):
            if header in (SHA256, PHASH) and cells[place]:
                why = "it was that of the old file; `ssmtl data split` writes it again"
                self.changes.append(Change(old, new, header, PICTURE, cells[place], "", why))
                cells[place] = ""

    def _converted(self, kind: str, text: str, *, invert: bool) -> tuple[str, str]:
        """Write a good copy of an image or mask, once, and return the cell that names it, and what was done."""
        if (kind, text) not in self._made:
            path = self.report.finder.find(text).path
            if path is None:
                raise DataError(f"{text} was there when it was checked, and is missing now; check again.")
            image, how = _mask(path, invert=invert) if kind == MASK else repaired(path)
            place = self.folder / _inside(text)
            place.parent.mkdir(parents=True, exist_ok=True)
            while place.exists():
                place = place.with_name(f"{place.stem}_.png")
            image.save(place, format="PNG")
            cell = place.relative_to(self.folder.parent).as_posix()
            self._made[kind, text] = cell, "; ".join(how)
        return self._made[kind, text]


def _of_file(problem: Problem) -> Change:
    return Change(
        problem.row, 0, "", problem.repair or "", problem.what, "plain UTF-8, commas, no blank cells at the end"
    )


def _mask(path: Path, *, invert: bool) -> tuple[Image.Image, list[str]]:
    image = load_image(path, deep=True)
    numbers = class_numbers(image)
    if numbers is None:
        raise DataError(f"{path} is no map of numbers any more; check again.")
    how = [] if image.mode in ("L", "P") else [f"{image.mode} to 8-bit gray, the same numbers"]
    if invert:
        how.append(f"{_BINARY_FOREGROUND} to 1")
        numbers = np.where(numbers == _BINARY_FOREGROUND, np.uint8(1), numbers)
    return Image.fromarray(numbers), how


def _inside(text: str) -> PurePath:
    """Return where the copy of a file goes: as the file lies in the manifest's folder, or by a hash of its address."""
    path = PurePath(text)
    if path.is_absolute() or ".." in path.parts or "://" in text:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = PurePath("outside", f"{digest}-{path.name}")
    return path if path.suffix == ".png" else path.with_name(f"{path.name}.png")
