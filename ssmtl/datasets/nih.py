"""NIH ChestX-ray14: 112,120 frontal films with text-mined findings (Wang et al. 2017)."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import Field

from ssmtl.datasets.decode import Alpha
from ssmtl.datasets.file_table import Columns, FileTable, Holdout, Split, strings
from ssmtl.datasets.files import FileReader, csv_rows, files, listed
from ssmtl.datasets.holdout import sample_rows
from ssmtl.errors import DataError, nearest

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "No Finding", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
"""Every finding that the table may name."""

_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
_NAMES = ("NORMAL", "PNEUMONIA")
_FOLDERS = ("images", *(f"images_{number:03}/images" for number in range(1, 13)))
_LISTS = {"train": "train_val_list.txt", "val": "train_val_list.txt", "test": "test_list.txt"}


class NIHChestXray(FileReader):
    """Films of `Data_Entry_2017.csv` in `images/` or `images_001..012/images/`, labeled NORMAL or PNEUMONIA.

    NORMAL is "No Finding", PNEUMONIA every film whose findings contain Pneumonia; films with other findings only aren't
    annotated. `subset="study"` is the MultiMix test set: all pneumonia films (1,431) and `normals` of the normal ones,
    drawn with `seed` because the paper doesn't name them (MELBA Table 1). "test", and "train" with its `holdout` "val",
    follow the official lists. Some files have an alpha channel without content, so transparency is laid over black.
    """

    split: Split = "all"
    subset: Literal["study", "all"] = "study"
    normals: Annotated[int, Field(ge=1)] = 2754
    holdout: Holdout = 0.1
    alpha: Alpha = "over_black"

    def classes(self, kind: str) -> tuple[str, ...]:
        return _NAMES if kind == "label" else ()

    def open(self) -> FileTable:
        root = self.folder()
        columns = _entries(self._table(root))
        rows = self._study(columns) if self.subset == "study" else np.arange(len(columns.images))
        if self.split != "all":
            rows = rows[np.isin(rows, self._listed(root, columns))]
            if not len(rows):
                raise DataError(f"no film of subset='{self.subset}' is in split='{self.split}'; use split='all'.")
        columns = columns.take(rows)
        columns = _located(root, columns)
        if self.split in ("train", "val"):
            columns = self._held(columns)
        return self.table(root, columns)

    def _table(self, root: Path) -> Path:
        for name in _TABLES:
            if (root / name).is_file():
                return root / name
        raise DataError(
            f"NIHChestXray found no {' or '.join(_TABLES)} in {root}; set `root` to the folder that has it."
        )

    def _study(self, columns: Columns) -> Int64[np.ndarray, " rows"]:
        assert columns.labels is not None
        normal = np.flatnonzero(columns.labels == 0)
        if len(normal) < self.normals:
            raise DataError(
                f"subset='study' draws {self.normals} films without finding, but the table has {len(normal)}; restore "
                "the complete table, set a smaller `normals`, or subset='all'."
            )
        drawn = normal[sample_rows(len(normal), self.normals, "nih", self.seed)]
        return np.sort(np.concatenate([np.flatnonzero(columns.labels == 1), drawn]))

    def _listed(self, root: Path, columns: Columns) -> Int64[np.ndarray, " rows"]:
        path, places = root / _LISTS[self.split], {str(name): row for row, name in enumerate(columns.images)}
        if not path.is_file():
            raise DataError(f"{path} is missing, which split='{self.split}' needs; fetch it, or use split='all'.")
        rows = []
        for line, name in listed(path):
            if name not in places:
                raise DataError(
                    f"{path} line {line} names '{name}', which the table lacks; restore the original files."
                )
            rows.append(places[name])
        return np.array(rows, dtype=np.int64)

    def _held(self, columns: Columns) -> Columns:
        assert columns.labels is not None
        names = (*_NAMES, "other findings")
        strata = np.where(columns.labels < 0, 2, columns.labels).astype(np.int32)
        return columns.part(self.split, self.holdout, self.seed, strata=strata, names=names)


def _entries(path: Path) -> Columns:
    """Read the table: file names, labels (-1: neither normal nor pneumonia) and patients, sorted by file name."""
    images, labels, patients = [], [], []
    for line, row in csv_rows(path, ("Image Index", "Finding Labels", "Patient ID")):
        found = row["Finding Labels"].split("|")
        for finding in found:
            if finding not in FINDINGS:
                raise DataError(
                    f"{path} line {line} has the unknown finding '{finding}'; correct it, or restore the original table"
                    f"{nearest(finding, FINDINGS)}"
                )
        images.append(row["Image Index"])
        labels.append(1 if "Pneumonia" in found else 0 if found == ["No Finding"] else -1)
        patients.append(row["Patient ID"])
    names, first = np.unique(strings(images), return_index=True)
    if len(names) < len(images) or not images:
        raise DataError(f"{path} names no film, or one film twice; restore the original table.")
    return Columns(strings(images), labels=np.array(labels, dtype=np.int32), patients=strings(patients)).take(first)


def _located(root: Path, columns: Columns) -> Columns:
    """Replace file names by paths relative to the root; raises DataError for a film that is in no image folder."""
    place = {name: folder for folder in _FOLDERS if (root / folder).is_dir() for name in files(root, folder, (".png",))}
    missing = [str(name) for name in columns.images if name not in place]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(columns.images)} films are missing, such as {missing[0]}: searched images/ and "
            f"images_001/images/ to images_012/images/ of {root}; unpack the archives there."
        )
    paths = strings(f"{place[str(name)]}/{name}" for name in columns.images)
    return Columns(paths, labels=columns.labels, patients=columns.patients)
