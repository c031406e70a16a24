"""How a text table was saved: its encoding and its separator, which spreadsheet programs choose by country."""

import codecs
from pathlib import Path
from typing import TextIO

from ssmtl.manifests.problems import Problem

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_BLOCK = 2**20
_SEPARATORS = (",", ";", "\t", "|")
_SPELLED = {";": "semicolons", "\t": "tabs", "|": "bars"}
_SAVE_AS = "save it as UTF-8 (in a spreadsheet program: CSV UTF-8, comma separated)"


def guess_encoding(path: Path) -> tuple[str, Problem | None]:
    """Return the encoding that a text file was most likely written in, and what is wrong with it.

    Only plain UTF-8 is right. UTF-16 is known by its mark or its zero bytes; what is neither is taken for Windows-1252,
    the usual one of western spreadsheets, or Latin-1 where it can't be that.
    """
    with path.open("rb") as stream:
        start = stream.read(4096)
    for mark, encoding, name in _MARKS:
        if start.startswith(mark):
            return encoding, _problem(path, 0, f"is saved as {name}")
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0::2])):
        if zeros.count(0) > len(zeros) / 2:
            return encoding, _problem(path, 0, "is saved as UTF-16 without a byte order mark")
    line = _first_bad_line(path, "utf-8")
    if line is None:
        return "utf-8", None
    encoding, name = ("cp1252", "Windows-1252") if _first_bad_line(path, "cp1252") is None else ("latin-1", "Latin-1")
    return encoding, _problem(path, line, f"holds bytes that are no UTF-8; read as {name}")


def guess_separator(stream: TextIO, name: str) -> tuple[str, int, Problem | None]:
    """Return the separator of a CSV file, how many lines come before its header, and what is wrong with it.

    The stream is left at the header. Only commas are right. Excel's line `sep=;` is believed; otherwise the separator
    is what the header has most of.
    """
    first = stream.readline()
    named = first.strip().strip('"').lower()
    if named.startswith("sep="):
        # Strip nothing but the line's end: the separator may be a tab.
        separator = first.strip("\r\n").strip('"')[4:5] or ","
        return separator, 1, _separated(name, f"begins with Excel's line {first.strip()!r}")
    stream.seek(0)
    separator = max(_SEPARATORS, key=first.count)
    if separator == ",":
        return separator, 0, None
    return separator, 0, _separated(name, f"separates its cells by {_SPELLED[separator]}")


def _separated(name: str, found: str) -> Problem:
    return Problem(name, 1, f"{found}, but a header and commas were expected", f"{_SAVE_AS}.", "separator")


def _problem(path: Path, line: int, found: str) -> Problem:
    return Problem(path.name, line, f"{found}, but plain UTF-8 was expected", f"{_SAVE_AS}.", "encoding")


def _first_bad_line(path: Path, encoding: str) -> int | None:
    """Return the line with the first bytes that are not of an encoding, None when there are none."""
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 1
    with path.open("rb") as stream:
        while True:
            block = stream.read(_BLOCK)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                return lines + error.object[: error.start].count(b"\n")
            if not block:
                return None
            lines += block.count(b"\n")
