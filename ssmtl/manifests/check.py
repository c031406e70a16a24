"""`ssmtl data check`: every row of a manifest and every file that it names, and all that is wrong with them at once."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ssmtl.errors import DataError
from ssmtl.manifests.columns import Column
from ssmtl.manifests.fingerprints import Fingerprints, sha256_of
from ssmtl.manifests.ledger import WHOLE, Ledger
from ssmtl.manifests.notations import Order
from ssmtl.manifests.opened import open_manifest
from ssmtl.manifests.places import Finder
from ssmtl.manifests.problems import Problem, Repair
from ssmtl.manifests.row_check import Progress, RowCheck
from ssmtl.manifests.sheet import Sheet, read_sheet
from ssmtl.manifests.stamp import remove_stamp, write_stamp
from ssmtl.manifests.tallies import Tallies
from ssmtl.manifests.verdicts import judge


@dataclass(frozen=True, eq=False)
class Report:
    """What a check found: all problems in the order of lines, what can be repaired, counts, and hashes of all images.

    `prints` has zeros for images that can't be read or have a flaw.
    """

    path: Path
    sheet: Sheet
    columns: tuple[Column, ...]
    problems: tuple[Problem, ...]
    repairs: tuple[Repair, ...]
    tallies: Tallies
    finder: Finder
    prints: Fingerprints

    @property
    def refused(self) -> tuple[Problem, ...]:
        """Return the problems that keep training from starting."""
        return tuple(problem for problem in self.problems if not problem.warning)


def check_manifest(
    path: Path,
    *,
    allow_outside: bool = False,
    remote: bool = False,
    box_order: Order | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read every row of a manifest, decode every image and mask, and return everything that is wrong.

    Writes the stamp that training asks for when nothing is refused, and removes an older one otherwise.
    `allow_outside` and `remote` allow files outside of the manifest's folder, and behind protocols. `box_order` says
    what four bare numbers of a box are. Raises DataError where there is no table to check.
    """
    try:
        with warnings.catch_warnings():
            # What damaged files make Pillow warn of is in the report. Threads share filters, so that of bombs, which
            # each decoding sets for itself, must hold for all of them all the time.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _checked(path, allow_outside, remote, box_order, progress)
    except DataError:
        remove_stamp(path)
        raise


def _checked(
    path: Path, allow_outside: bool, remote: bool, box_order: Order | None, progress: Progress | None
) -> Report:
    sheet = read_sheet(path)
    before = sha256_of(path)
    ledger = Ledger(sheet)
    rows = RowCheck.of(sheet, ledger, allow_outside=allow_outside, remote=remote, box_order=box_order)
    rows.run(progress)
    judge(rows)
    if not ledger.refused:
        _confirm(path, ledger, before, remote=remote)
    report = Report(
        path=path,
        sheet=sheet,
        columns=rows.columns,
        problems=ledger.sorted(),
        repairs=tuple(ledger.repairs),
        tallies=rows.tallies,
        finder=rows.looker.finder,
        prints=rows.prints(),
    )
    if report.refused:
        remove_stamp(path)
    return report


def _confirm(path: Path, ledger: Ledger, before: str, *, remote: bool) -> None:
    """Open the manifest as training does, which has the last word, and stamp it."""
    try:
        open_manifest(path, remote=remote)
    except DataError as error:
        what, _, fix = str(error).partition("; ")
        ledger.add(WHOLE, what, fix or "correct the file.")
        return
    if write_stamp(path, len(ledger.sheet)).table != before:
        remove_stamp(path)
        ledger.add(WHOLE, "has changed while it was checked", "check it again.")
