"""Small images in a zip archive, one folder per class: read once, decoded row by row, without unpacking anything."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Int32, Int64
from PIL import Image

from ssmtl.batch import Sample
from ssmtl.datasets.canvas import place_image
from ssmtl.datasets.decode import SUFFIXES
from ssmtl.datasets.file_table import Strings, strings
from ssmtl.errors import DataError, nearest

_FORMATS = ("JPEG", "PNG")
_MOST_BYTES = 64 * 1024  # thousands of pixels in any format have less
_MOST_IN_ALL = 2**30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others can't be unpacked up to a number of bytes
_ENCRYPTED = 0x1


@dataclass(frozen=True, eq=False)
class ZippedTable:
    """A table over image files that lie end to end in `content`, row i up to `ends[i]`.

    Each must be an RGB or gray image of `side` by `side` pixels; decoding one that isn't raises DataError. Being plain
    columns, the table is shared by forked workers and survives pickling to others.
    """

    archive: Path
    names: Strings
    content: bytes
    ends: Int64[np.ndarray, " n"]
    column: Int32[np.ndarray, " n"]
    side: int
    canvas: tuple[int, int]
    channels: int

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> Sample:
        image = _decode(f"{self.name(row)} in {self.archive}", self._file(row), self.side)
        pixels = place_image(image, self.canvas, self.channels, self.canvas)
        return Sample(self.name(row), pixels, self.canvas, (self.side, self.side), {"label": int(self.column[row])})

    def name(self, row: int) -> str:
        return str(self.names[row])

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return np.full(len(self), kind == "label")

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        return self.column if kind == "label" else None

    def made_of(self, row: int, kind: str) -> tuple[bytes, ...]:
        """Return the image's file and its label, so that it counts the same wherever the archive lies."""
        return self._file(row), str(self.column[row]).encode()

    def patients(self) -> None:
        """Return None: nothing says which images belong together."""

    def _file(self, row: int) -> bytes:
        index = range(len(self))[row]
        return self.content[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])]


def open_zip(
    path: Path, split: str, classes: tuple[str, ...], side: int, canvas: tuple[int, int], channels: int
) -> ZippedTable:
    """Return the images in `split/<class>/` of an archive, class by class and by name.

    Raises DataError for an archive that is damaged or encrypted, has no image of a class or one of an unknown class,
    names a file outside of its folder, or unpacks to more than images of that size can be.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = sorted(_listed(path, archive, split, classes), key=lambda item: (item[0], item[1].filename))
            _refuse_gaps(path, split, classes, {label for label, _ in found})
            files = [_unpacked(path, archive, entry) for _, entry in found]
    except DataError:
        raise
    except (OSError, EOFError, NotImplementedError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} can't be read as a zip archive ({error}); fetch it again.") from error
    return ZippedTable(
        archive=path,
        names=strings(entry.filename for _, entry in found),
        content=b"".join(files),
        ends=np.cumsum([len(file) for file in files]),
        column=np.array([label for label, _ in found], dtype=np.int32),
        side=side,
        canvas=canvas,
        channels=channels,
    )


def _listed(
    path: Path, archive: zipfile.ZipFile, split: str, classes: tuple[str, ...]
) -> Iterator[tuple[int, zipfile.ZipInfo]]:
    """Yield (class, entry) of the images of a split, and refuse what is no such archive; nothing is unpacked yet."""
    seen: set[str] = set()
    total = 0
    for entry in archive.infolist():
        where = PurePosixPath(entry.filename)
        if where.is_absolute() or ".." in where.parts or "\\" in entry.filename:
            raise DataError(f"{path} names '{entry.filename}', which leads out of its folder; fetch it again.")
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in where.parts)
        if entry.is_dir() or hidden or where.parts[:1] != (split,) or where.suffix.lower() not in SUFFIXES:
            continue
        if len(where.parts) != 3 or where.parts[1] not in classes:
            raise DataError(
                f"{path} has '{entry.filename}', but {split}/<class>/<name> was expected; take it out"
                f"{nearest(where.parts[1], classes)}"
            )
        total += entry.file_size
        if max(entry.file_size, entry.compress_size) > _MOST_BYTES or total > _MOST_IN_ALL:
            raise DataError(
                f"{path} unpacks to more than its images can have ({entry.filename}: {entry.file_size} bytes, at most "
                f"{_MOST_BYTES} each and {_MOST_IN_ALL} in all were expected); fetch it again."
            )
        if entry.filename in seen:
            raise DataError(f"{path} has '{entry.filename}' twice; make the archive again.")
        seen.add(entry.filename)
        yield classes.index(where.parts[1]), entry


def _refuse_gaps(path: Path, split: str, classes: tuple[str, ...], found: set[int]) -> None:
    for index, name in enumerate(classes):
        if index not in found:
            raise DataError(
                f"{path} has no image {split}/{name}/*, but every class needs some ({', '.join(classes)}); the archive "
                "must hold the folders 'train' and 'test' at its top."
            )


def _unpacked(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return an entry's bytes, never more than it claims to have."""
    if entry.flag_bits & _ENCRYPTED or entry.compress_type not in _METHODS:
        raise DataError(f"{path} has '{entry.filename}' encrypted or packed by a rare method; make the archive again.")
    try:
        with archive.open(entry) as file:
            content = file.read(entry.file_size)
    except Exception as error:  # each packing has errors of its own for damage
        raise DataError(f"{path} is damaged at '{entry.filename}' ({error}); fetch it again.") from error
    if len(content) != entry.file_size:
        raise DataError(f"{path} is cut short at '{entry.filename}'; fetch it again.")
    return content


def _decode(where: str, content: bytes, side: int) -> Image.Image:
    """Return an image; its size is known from its first bytes, before anything is unpacked."""
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.size != (side, side) or image.mode not in ("RGB", "L"):
                raise DataError(
                    f"{where} has {image.width}x{image.height} pixels of mode {image.mode}, but {side}x{side} in RGB "
                    "or gray were expected; bring such images to one size, and read them with ClassFolders."
                )
            image.load()
            return image
    except DataError:
        raise
    except Exception as error:  # Pillow has errors of nearly every type for damage
        raise DataError(f"{where} is no JPEG or PNG, or damaged ({error}); fetch the archive again.") from error
