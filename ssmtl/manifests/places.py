"""Where the files of a manifest lie: what a cell names, and why it can't be used."""

import errno
import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ssmtl.datasets.remote import fetch, is_uri
from ssmtl.errors import DataError


class Place(NamedTuple):
    """The file that a cell names, what is wrong or (with a path) odd about it, and a cell that would be right."""

    path: Path | None
    what: str = ""
    fix: str = ""
    instead: str | None = None


@dataclass(frozen=True)
class Finder:
    """Looks for local files relative to `root`, the real path of the manifest's folder.

    Nothing outside of `root` counts, unless `allow_outside`; links count as what they lead to. Files behind protocols
    are fetched only when `remote`.
    """

    root: Path
    allow_outside: bool = False
    remote: bool = False
    _listed: dict[Path, dict[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)

    def find(self, text: str) -> Place:
        """Return the file that a cell names."""
        if is_uri(text):
            return self._fetched(text)
        given = Path(text)
        lexical = Path(os.path.normpath(self.root / given))
        if not self.allow_outside and not lexical.is_relative_to(self.root):
            return _outside(given, lexical)
        try:
            real = Path(os.path.realpath(self.root / given, strict=True))
        except (OSError, ValueError) as error:
            return self._unreachable(text, error)
        if not self.allow_outside and not real.is_relative_to(self.root):
            return _outside(given, real)
        if not self.allow_outside and given.is_absolute():
            relative = real.relative_to(self.root).as_posix()
            fix = f"write it relative to the manifest's folder: {relative}."
            return Place(real, "is an absolute path, which breaks when the folder moves", fix, relative)
        if not real.is_file():
            return Place(None, "is no file", "name a file, or take the row out.")
        return Place(real)

    def _fetched(self, text: str) -> Place:
        if not self.remote:
            fix = "copy it here, or allow it: --remote, and Manifest(remote=True)."
            return Place(None, "lies behind a protocol, and nothing is fetched unasked", fix)
        try:
            return Place(fetch(text))
        except DataError as error:
            what, _, fix = str(error).partition("; ")
            return Place(None, what, fix)

    def _unreachable(self, text: str, error: OSError | ValueError) -> Place:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ELOOP:
            return Place(None, "is a link that leads back to itself", "replace it by the file that it should lead to.")
        if number in (errno.ENOENT, errno.ENOTDIR):
            instead = self._almost(text)
            if instead:
                return Place(None, "is missing", f"the folder has {instead}: correct the cell.", instead)
            instead = self._without_folder(text)
            if instead:
                own = Path(text).parts[0] == self.root.name
                fix = f"the folder has {instead}, as paths are relative to the manifest: correct the cell."
                return Place(None, "is missing", fix, instead if own else None)
            return Place(None, "is missing", "restore the file, correct the path, or take the row out.")
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return Place(None, f"can't be reached ({reason})", "correct the path, or its permissions.")

    def _almost(self, text: str) -> str | None:
        """Return the one file that a cell means but for blanks around it, backslashes, case, or its accents' code."""
        given = Path(text.strip().replace("\\", "/"))
        if given.is_absolute() or ".." in given.parts:
            return None
        at = Path()
        for part in given.parts:
            alike = self._names(self.root / at).get(_plain(part), ())
            if part not in alike and len(alike) != 1:
                return None
            at /= part if part in alike else alike[0]
        return at.as_posix() if at.as_posix() != text and (self.root / at).is_file() else None

    def _without_folder(self, text: str) -> str | None:
        """Return the file that a cell names but for its first folder, as paths written from elsewhere do."""
        given = Path(text.strip().replace("\\", "/"))
        if given.is_absolute() or ".." in given.parts or len(given.parts) < 2:
            return None
        rest = Path(*given.parts[1:])
        if (self.root / given.parts[0]).exists() or not (self.root / rest).is_file():
            return None
        return rest.as_posix()

    def _names(self, folder: Path) -> dict[str, tuple[str, ...]]:
        """Return {plain name: names} of what is in a folder."""
        if folder not in self._listed:
            found: dict[str, tuple[str, ...]] = {}
            try:
                for name in os.listdir(folder):
                    found[_plain(name)] = (*found.get(_plain(name), ()), name)
            except OSError:
                found = {}
            self._listed[folder] = found
        return self._listed[folder]


def _plain(name: str) -> str:
    """Return a name in small letters, its accents coded one way: macOS writes them as characters of their own."""
    return unicodedata.normalize("NFC", name.casefold())


def _outside(given: Path, real: Path) -> Place:
    if given.is_absolute():
        what = "is an absolute path outside of the manifest's folder"
    elif ".." in given.parts:
        what = "leads out of the manifest's folder by '..'"
    else:
        what = f"is a link that leads out of the manifest's folder, to {real}"
    return Place(None, what, "move the file in, or allow it: --allow-outside, and Manifest(allow_outside=True).")
