"""Code blocks of Markdown pages, and what a test may do with each.

A fenced block of Python runs, and so does a fenced block of commands. An HTML comment in the line above says otherwise:

    <!-- test: with --steps 2 -->                 every command gets these flags, so that it is short
    <!-- test: parsed only, because REASON -->    it needs what a test hasn't: its commands and flags must exist

Indented blocks are parsed only: what they show takes hours, or data that isn't there.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("ssmtl", "scripts/", "python ", "pip ", "cd ", "pytest", "mypy", "source ")
_FENCE = re.compile(r"(?:<!-- test: (?P<mark>[^>]+) -->\n+)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL)
_INDENTED = re.compile(r"(?:^|\n)\n((?:    .+(?:\n|$))+)")
_COMMENT = re.compile(r"(?:^|\s)#(?![^'\"]*['\"]$).*$")


@dataclass(frozen=True)
class Block:
    """A block of code: its language ("indented" where it has none), and what its marker says."""

    kind: str
    text: str
    flags: tuple[str, ...] = ()
    reason: str = ""

    @property
    def runs(self):
        return self.kind in ("python", "bash") and not self.reason

    @property
    def commands(self):
        """The command lines, without comments, continued lines in one."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        return [line for raw in lines if (line := _COMMENT.sub("", raw).strip())]


def blocks(page):
    """Return every block of a page, in order; raises AssertionError for a marker that says nothing known."""
    found = []
    for match in _FENCE.finditer(page):
        mark, flags, reason = match["mark"] or "", (), ""
        if mark.startswith("with "):
            flags = tuple(shlex.split(mark.removeprefix("with ")))
        elif mark:
            reason = mark.removeprefix("parsed only, because ")
            assert mark != reason, f"a marker is `with FLAGS` or `parsed only, because REASON`, got: {mark}"
            assert len(reason) > 10, mark
        found.append((match.start(), Block(match["kind"], match["text"], flags, reason)))
    plain = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), page)
    for match in _INDENTED.finditer(plain):
        text = re.sub(r"^    ", "", match[1], flags=re.MULTILINE)
        if any(line.startswith(PROGRAMS) for line in text.splitlines()):
            found.append((match.start(), Block("indented", text, reason="indented")))
    return [block for _, block in sorted(found, key=lambda pair: pair[0])]


class Page(NamedTuple):
    name: str
    text: str

    @property
    def blocks(self):
        return blocks(self.text)


def pages():
    """Every page for people: those of the site, and the READMEs."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    paths += sorted((ROOT / "examples").glob("*/README.md"))
    return [Page(path.relative_to(ROOT).as_posix(), Path(path).read_text(encoding="utf-8")) for path in paths]
