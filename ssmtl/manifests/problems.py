"""What is wrong with a manifest, as rows of a table that a person can work through."""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that a check has found in a manifest or in a file that it names.

    `file` is the path as the manifest or the caller writes it. `row` is the line of the
    manifest, counted from 1 with the header as line 1 (of a JSONL file: the line; of a
    Parquet file: as if it were a CSV file), and 0 where the whole file is meant. `what` says
    what was found and what was expected, `fix` what to do about it; both are sentences.
    `repair` names the repair of `ssmtl data check --fix` that can do it, None where only a
    person can. A `warning` does not stop training.
    """

    file: str
    row: int
    what: str
    fix: str
    repair: str | None = None
    warning: bool = False


class Repair(NamedTuple):
    """Something that can be put right without asking: a cell's new text, a row or a file.

    `name` is the word that `Problem.repair` has for it. `row` and `column` are places in the sheet, -1 for all. `text`
    is the new content of the cell, None where it is made when the repair is done.
    """

    name: str
    row: int
    column: int
    text: str | None = None


_SPECIAL = re.compile(r"'[^']*'|\S*/\S*|[\d.]+")


def grouped(problems: Iterable[Problem]) -> list[tuple[Problem, int]]:
    """Return the first problem of each sort, and how many there are of it; the order is kept.

    Problems are of one sort when they say the same but for names, paths and numbers, and have the same repair.
    """
    first: dict[tuple[bool, str | None, str, str], Problem] = {}
    counts: Counter[tuple[bool, str | None, str, str]] = Counter()
    for problem in problems:
        what, fix = (_SPECIAL.sub("", text) for text in (problem.what, problem.fix))
        sort = problem.warning, problem.repair, what, fix
        first.setdefault(sort, problem)
        counts[sort] += 1
    return [(problem, counts[sort]) for sort, problem in first.items()]


def write_problems(problems: Iterable[Problem], path: Path) -> None:
    """Writes all problems as a CSV file with the columns of `Problem`."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "row", "kind", "what", "fix", "repair"))
        for problem in problems:
            kind = "warning" if problem.warning else "refused"
            writer.writerow((problem.file, problem.row, kind, problem.what, problem.fix, problem.repair or ""))
