"""What every reader of image files shares: a folder that no path may leave, and how it is listed."""

import csv
import os
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from ssmtl.datasets.base import Reader
from ssmtl.datasets.canvas import Fit
from ssmtl.datasets.decode import SUFFIXES, Alpha, decode_image, decode_mask
from ssmtl.datasets.file_table import Columns, FileTable, Seed, strings
from ssmtl.errors import DataError, nearest

_LITTER = ("__MACOSX", "Thumbs.db")


class FileReader(Reader, ABC):
    """Images in files below `root`, which no path may leave.

    `fit` says how images of another shape come to the canvas: "stretch" squashes, "pad" keeps the aspect ratio and
    leaves the right or lower part empty. `alpha` says what happens to transparency. `seed` decides every random choice.
    """

    root: Path = Field(kw_only=False)
    fit: Fit = "stretch"
    alpha: Alpha = "refuse"
    seed: Seed = 0

    @model_validator(mode="after")
    def _gray_or_rgb(self) -> Self:
        if self.channels not in (1, 3):
            raise ValueError(f"{self.kind} reads 1 channel (gray) or 3 (RGB), got channels={self.channels}")
        return self

    def folder(self) -> Path:
        """Return the real path of `root`; raises DataError when it is missing or empty."""
        root = self.root.expanduser().resolve()
        if not root.is_dir():
            raise DataError(f"{self.kind} found no folder {root}; set `root` to the folder that holds its files.")
        if next(entries(root, root), None) is None:
            raise DataError(f"{self.kind} found the folder {root} empty; unpack the data there, or set another `root`.")
        return root

    def find(self, root: Path, *candidates: str) -> str:
        """Return the first of some relative folders that exists; raises DataError naming all that were tried."""
        for candidate in candidates:
            if (root / candidate).is_dir():
                return candidate
        tried = " or ".join(f"'{candidate}'" for candidate in candidates)
        raise DataError(f"{self.kind} looked for {tried} in {root} and found none; set `root` to the folder above it.")

    def table(
        self,
        root: Path,
        columns: Columns,
        *,
        decode: Callable[[Path], Image.Image] | None = None,
        mask_threshold: int | None = None,
        coarse_masks: bool = False,
    ) -> FileTable:
        """Return the table of some columns, decoding as this reader says."""
        return FileTable(
            root=root,
            columns=columns,
            canvas=self.canvas,
            channels=self.channels,
            fit=self.fit,
            decode=decode or partial(decode_image, alpha=self.alpha),
            decode_mask=partial(decode_mask, threshold=mask_threshold),
            coarse_masks=coarse_masks,
        )


def entries(root: Path, folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder, unsorted, without the litter that file managers leave.

    Raises DataError when it can't be listed, or when it or a link in it leads out of `root`.
    """
    if not folder.resolve().is_relative_to(root):
        raise _escape(root, folder)
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith(".") or entry.name in _LITTER:
                    continue
                if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                    raise _escape(root, Path(entry.path))
                yield entry
    except OSError as error:
        raise DataError(f"{folder} can't be listed ({error.strerror}); check the path and its permissions.") from error


def _escape(root: Path, path: Path) -> DataError:
    return DataError(f"{path} is a link that leads out of {root}; copy the files in, or set `root` to where they are.")


def files(root: Path, folder: str, suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Return the names of the files with one of some endings (any case) in a folder, sorted; may be empty."""
    return sorted(
        entry.name
        for entry in entries(root, root / folder)
        if entry.name.lower().endswith(tuple(suffixes)) and entry.is_file()
    )


def images_in(root: Path, folder: str, suffixes: Sequence[str] = SUFFIXES) -> list[str]:
    """Return the names of the images in a folder, sorted; raises DataError when there are none."""
    found = files(root, folder, suffixes)
    if not found:
        raise DataError(
            f"{root / folder} has no image ({', '.join(suffixes)}); put its images there, or set another `root`."
        )
    return found


def by_stem(root: Path, folder: str, suffixes: Sequence[str] = SUFFIXES) -> dict[str, str]:
    """Return {name without ending: name} of a folder's images; raises DataError for two of one stem, or none at all."""
    found: dict[str, str] = {}
    for name in images_in(root, folder, suffixes):
        other = found.setdefault(Path(name).stem, name)
        if other != name:
            raise DataError(f"{root / folder} has both {other} and {name}; keep one of the two.")
    return found


def class_folders(root: Path, splits: Sequence[str], names: tuple[str, ...]) -> Columns:
    """Index `split/class/*` below `root`, split by split and class by class.

    Raises DataError for a class folder that is missing or empty, and for one that is not among `names`.
    """
    images, labels = [], []
    for split in splits:
        for entry in entries(root, root / split):
            if entry.is_dir() and entry.name not in names:
                raise DataError(
                    f"{entry.path} is no folder of a known class: rename it, take it out, or name it in the reader's "
                    f"`names`{nearest(entry.name, names)}"
                )
        for index, name in enumerate(names):
            folder = f"{split}/{name}"
            if not (root / folder).is_dir():
                raise DataError(f"{root / split} has no folder '{name}'; every class needs one, with its images.")
            found = images_in(root, folder)
            images.append(strings(f"{folder}/{file}" for file in found))
            labels.append(np.full(len(found), index, dtype=np.int32))
    return Columns(np.concatenate(images), labels=np.concatenate(labels))


def csv_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, row) of a CSV with a header; raises DataError when it is unreadable or lacks a column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for column in needed:
                if column not in (reader.fieldnames or ()):
                    raise DataError(
                        f"{path} has no column '{column}', which it needs: restore the original file"
                        f"{nearest(column, reader.fieldnames or ())}"
                    )
            for row in reader:
                if any(row[column] is None for column in needed):
                    raise DataError(f"{path} line {reader.line_num} is cut short; restore the original file.")
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} can't be read as CSV ({error}); restore the original file.") from error


def listed(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of the lines of a list that aren't blank; raises DataError when it is unreadable."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as text ({error}); save it as UTF-8, one name a line.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()
