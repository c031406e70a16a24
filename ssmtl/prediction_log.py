"""`predictions.jsonl`: what is predicted already, a line an image, so that an interrupted prediction can go on.

The first line says what predicts: other weights would mix their answers with these, and are refused. Lines are flushed
as they are written, after the pictures that they name. Of each only its place is kept in memory.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from ssmtl.answers import Answers
from ssmtl.errors import DataError

FORMAT = 1


class Entry(NamedTuple):
    """An image to predict: its file, and what its pictures are called."""

    path: Path
    stem: str

    @property
    def state(self) -> list[Any]:
        """What must be as it was for an earlier answer to stand: names, and size and time of the file."""
        stat = self.path.stat()
        return [str(self.path), self.stem, stat.st_size, stat.st_mtime_ns]


class PredictionLog:
    """The file of one folder of predictions; `origin` says what predicts, in words and hashes.

    Raises DataError for a folder that holds predictions of another origin.
    """

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        self.folder, self.path = folder, folder / "predictions.jsonl"
        self.origin = {"format": FORMAT, **origin}
        self._places: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        end = self._index() if self.path.exists() else 0
        self._stream: BinaryIO = self.path.open("r+b" if end else "wb")
        self._stream.seek(end)
        self._stream.truncate()
        self._reader: BinaryIO = self.path.open("rb")
        if not end:
            self._write(self.origin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._reader.close()

    def has(self, entry: Entry) -> bool:
        """Tell whether an image's answer stands: the image didn't change, and its pictures are there.

        Another image of that name, predicted into the folder since, has taken the place of its pictures.
        """
        if str(entry.path) not in self._places or self._owners[entry.stem] != str(entry.path):
            return False
        row = self.read(entry)
        try:
            return row["state"] == entry.state and all((self.folder / place).is_file() for place in row["pictures"])
        except OSError:
            return False

    def read(self, entry: Entry) -> dict[str, Any]:
        """Return the line of an image that has one: "state", "size", "columns", "objects" and "pictures"."""
        self._reader.seek(self._places[str(entry.path)])
        return dict(json.loads(self._reader.readline()))

    def append(self, entry: Entry, size: tuple[int, int], answers: Answers) -> None:
        """Write the answers to an image of (height, width), so that they are on their way to the disk."""
        self._note(str(entry.path), entry.stem, self._stream.tell())
        self._write({"state": entry.state, "size": size, **vars(answers)})

    def _note(self, path: str, stem: str, place: int) -> None:
        self._places[path], self._owners[stem] = place, path

    def _write(self, value: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(value).encode() + b"\n")
        self._stream.flush()

    def _index(self) -> int:
        """Find every whole line; return where the file goes on: a killed process leaves half a line."""
        end = 0
        with self.path.open("rb") as stream:
            for line in stream:
                row = _parsed(line)
                if not end and line.endswith(b"\n"):
                    self._refuse_other(row or {})
                if row is None:
                    break
                if end:
                    path, stem = row["state"][:2]
                    self._note(path, stem, end)
                end += len(line)
        return end

    def _refuse_other(self, found: dict[str, Any]) -> None:
        if found == self.origin:
            return
        if "format" not in found:
            raise DataError(f"{self.path} was not written by `ssmtl predict`; name another --out, or move it away.")
        was, now = (f"'{of.get('run')}', {of.get('weights')}, step {of.get('step')}" for of in (found, self.origin))
        other = f"of {was}, not of {now}" if was != now else "of the same run with other weights, settings or version"
        raise DataError(
            f"{self.folder} holds predictions {other}; name another --out, or remove the folder to predict again."
        )


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and ("state" in row or "format" in row) else None
