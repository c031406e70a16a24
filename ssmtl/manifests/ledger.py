"""Where a check writes down what it finds, as it finds it."""

from ssmtl.manifests.problems import Problem, Repair
from ssmtl.manifests.sheet import Sheet

WHOLE = -1
"""In place of a row: the whole file."""


class Ledger:
    """The problems and repairs of one manifest; rows are places in its sheet."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet
        self.problems: list[Problem] = list(sheet.problems)
        self.repairs: list[Repair] = []

    def add(
        self,
        row: int,
        what: str,
        fix: str,
        *,
        file: str | None = None,
        repair: Repair | None = None,
        warning: bool = False,
    ) -> None:
        """Write down a problem of a row or of the whole file, and what repairs it."""
        line = 0 if row == WHOLE else int(self.sheet.lines[row])
        name = repair.name if repair else None
        self.problems.append(Problem(file or self.sheet.path.name, line, what, fix, name, warning))
        if repair:
            self.repairs.append(repair)

    @property
    def refused(self) -> bool:
        """Tell whether anything keeps training from starting."""
        return any(not problem.warning for problem in self.problems)

    def sorted(self) -> tuple[Problem, ...]:
        """Return the problems in the order of lines, those of the whole file first, warnings behind the others."""
        return tuple(sorted(self.problems, key=lambda problem: (problem.warning, problem.row)))
