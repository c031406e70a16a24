"""What can go wrong for a user, as one small tree.

    SsmtlError              caught at the command line: one sentence, exit code 2
    ├── RecipeError         a recipe that can't be built or can't be found
    ├── DataError           a folder, file or label that isn't what a reader expects
    ├── CheckpointError     a run folder that can't be read or written
    └── NonFiniteLossError  a loss became NaN or infinite

Every message says what was given, what was expected and how to fix it.
"""

import difflib
from collections.abc import Iterable


class SsmtlError(Exception):
    """Base of every error that a user can cause and repair."""


class RecipeError(SsmtlError, ValueError):
    """A recipe that can't be built, found or understood."""


class DataError(SsmtlError, ValueError):
    """A folder, file or label that isn't what a reader expects."""


class CheckpointError(SsmtlError, RuntimeError):
    """A run folder or checkpoint that can't be read or written."""


class NonFiniteLossError(SsmtlError, ArithmeticError):
    """A loss term became NaN or infinite; training stopped before it reached a checkpoint."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name closest to `name`, else the list of known names.

    It ends a clause and carries its own punctuation.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names)}." if names else "."
