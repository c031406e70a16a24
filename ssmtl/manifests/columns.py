"""What the columns of a manifest mean: told by their headers alone."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from ssmtl.errors import DataError, nearest
from ssmtl.manifests.problems import Problem

Form: TypeAlias = Literal["label", "labels", "mask", "boxes"]
"""How an annotation is written: one class, several classes, the path of a mask, boxes."""

IMAGE = "image"
SPLIT = "split"
SOURCE = "source"
GROUP = "group"
SHA256 = "sha256"
PHASH = "phash"
ABOUT = (IMAGE, SPLIT, SOURCE, GROUP, SHA256, PHASH)
"""Columns that say something about an image, but don't annotate it."""
FORMS: tuple[Form, ...] = get_args(Form)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WRITTEN = ("file", "output")
"""Columns of predictions.csv that say which image a row is about."""
_ALIASES = {
    "class": "label",
    "classes": "labels",
    "tags": "labels",
    "segmentation": "mask",
    "masks": "mask",
    "bbox": "boxes",
    "bboxes": "boxes",
    "file": IMAGE,
    "filename": IMAGE,
    "file_name": IMAGE,
    "path": IMAGE,
    "filepath": IMAGE,
    "img": IMAGE,
    "patient": GROUP,
    "patient_id": GROUP,
    "video": GROUP,
    "domain": SOURCE,
    "fold": SPLIT,
    "subset": SPLIT,
}
_ALIKE = 0.8


class Column(NamedTuple):
    """A column of a manifest that means something.

    `form` is how an annotation is written, "" for the columns in `ABOUT`. `name` is what stands behind the colon, "" if
    nothing does. `kind` is the annotation's kind in samples: the header, or "" for the columns in `ABOUT`.
    """

    header: str
    form: Form | Literal[""]
    name: str
    kind: str

    @property
    def task(self) -> str:
        """The name that a task of this column gets: that behind the colon, or the form."""
        return self.name or self.form


def parse_header(header: Sequence[str], file: str) -> tuple[tuple[Column, ...], list[Problem]]:
    """Return the columns that mean something, in their order, and what is wrong with the header of `file`.

    Problems are: a header that is empty or there twice, one that is nearly that of a column which means something, a
    name that can't be a task's, two annotations that claim one task, and no `image`. Other columns are ignored, with a
    warning for each.
    """
    columns: list[Column] = []
    problems: list[Problem] = []
    for place, text in enumerate(header):
        if not text.strip():
            problems.append(_problem(file, no_header(place), "name it, or take the column out"))
        elif text in header[:place]:
            problems.append(_problem(file, f"the column '{text}' is there twice", "take one of the two out"))
        elif (column := column_of(text)) is not None:
            columns.append(column)
        else:
            problems.append(_unknown(file, text))
    problems += _claimed_twice(file, columns)
    for column in columns:
        if column.name.casefold() in _WRITTEN:
            what = (
                f"the column '{column.header}' names the task '{column.name}', a word that predictions.csv needs itself"
            )
            problems.append(_problem(file, what, f"rename it, such as to '{column.header}2'"))
    if IMAGE not in (column.header for column in columns):
        problems.append(_problem(file, *_no_image(header)))
    return tuple(columns), problems


def no_header(place: int) -> str:
    """Return what is wrong with a column that has no header, the first being 0."""
    return f"column {place + 1} has no header"


def column_of(header: str) -> Column | None:
    """Return what a header means, None when it means nothing."""
    if header in ABOUT:
        return Column(header, "", "", "")
    form, colon, name = header.partition(":")
    for known in FORMS:
        if form == known and (not colon or _NAME.fullmatch(name)):
            return Column(header, known, name, header)
    return None


def annotations(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns that annotate images."""
    return tuple(column for column in columns if column.form)


def require_columns(header: Sequence[str], file: str) -> tuple[Column, ...]:
    """Return the columns of a header; raises DataError for the first problem that isn't only a warning."""
    columns, problems = parse_header(header, file)
    for problem in problems:
        if not problem.warning:
            raise DataError(f"{problem.file}: {problem.what}; {problem.fix}")
    return columns


def _problem(file: str, what: str, fix: str, *, warning: bool = False) -> Problem:
    return Problem(file, 0 if warning else 1, what, f"{fix}.", warning=warning)


def _unknown(file: str, text: str) -> Problem:
    """Return a problem for a header that was probably meant as another one, a warning for the rest."""
    form, colon, name = text.partition(":")
    if colon and form in FORMS:
        example = re.sub(r"\W+", "_", name.strip()).strip("_0123456789") or "NAME"
        return _problem(
            file,
            f"the column '{text}' names the task '{name}', but a letter was expected, then letters, digits and '_'",
            f"rename it, such as to '{form}:{example}'",
        )
    word = form.strip().casefold()
    known = FORMS if colon else (*FORMS, *ABOUT)
    close = difflib.get_close_matches(word, known, n=1, cutoff=_ALIKE)
    if close or (colon and _ALIASES.get(word) in FORMS):
        meant = (close[0] if close else _ALIASES[word]) + (f":{name.strip()}" if colon else "")
        return _problem(
            file,
            f"the column '{text}' is nearly '{meant}', but means nothing as it stands",
            f"rename it to '{meant}', or, if it is something else, to what is less alike",
        )
    meant = _ALIASES.get(word, "")
    fix = f"rename it to '{meant}' if that is what it holds" if meant else "nothing to do, unless it is an annotation"
    return _problem(file, f"the column '{text}' is ignored", fix, warning=True)


def _no_image(header: Sequence[str]) -> tuple[str, str]:
    alike = [text for text in header if _ALIASES.get(text.strip().casefold()) == IMAGE]
    hint = f"rename the column '{alike[0]}' to '{IMAGE}'" if alike else f"add it{nearest(IMAGE, header).rstrip('.?')}"
    return f"there is no column '{IMAGE}', which holds the path of every image", hint


def _claimed_twice(file: str, columns: Iterable[Column]) -> list[Problem]:
    """Return a problem for every annotation whose task an earlier one claims; case makes no difference."""
    owners: dict[str, Column] = {}
    problems = []
    for column in annotations(columns):
        owner = owners.setdefault(column.task.casefold(), column)
        if owner is not column:
            what = f"the columns '{owner.header}' and '{column.header}' both claim the task '{column.task}'"
            problems.append(_problem(file, what, f"rename one of them, such as to '{column.form}:{column.task}2'"))
    return problems
