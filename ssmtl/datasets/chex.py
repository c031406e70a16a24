"""CheX: pediatric chest X-rays with and without pneumonia (Kermany et al. 2018), in both published forms."""

import re
from dataclasses import replace
from typing import Literal

from ssmtl.datasets.file_table import FileTable, Holdout, Split, strings
from ssmtl.datasets.files import FileReader, class_folders
from ssmtl.errors import DataError

_NAMES = ("NORMAL", "PNEUMONIA")
_BASES = (".", "chest_xray", "chest_xray/chest_xray")
_PATIENT = (
    re.compile(r"(person\d+)_"),  # Kaggle: person7_bacteria_24.jpeg
    re.compile(r"((?:NORMAL2-)?IM-\d+)-"),  # Kaggle: IM-0115-0001.jpeg, NORMAL2-IM-0381-0001.jpeg
    re.compile(r"(?:BACTERIA|VIRUS|NORMAL)-(\d+)-"),  # Mendeley: disease, patient, image of the patient
)


class CheX(FileReader):
    """Films labeled NORMAL or PNEUMONIA: `chest_xray/{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg`.

    The Kaggle form has 5,216 / 16 / 624 films, the Mendeley form no `val`. Sixteen films validate nothing, so "train"
    and "val" share the training folder, `holdout` of it being "val", by class and without tearing a patient apart;
    `val="official"` takes the folders as they are. Patients come from the names. Source: doi 10.17632/rscbjbr9sj.
    """

    split: Split = "train"
    val: Literal["holdout", "official"] = "holdout"
    holdout: Holdout = 0.1

    def classes(self, kind: str) -> tuple[str, ...]:
        return _NAMES if kind == "label" else ()

    def open(self) -> FileTable:
        root = self.folder()
        train = self.find(root, *(f"{base}/train".removeprefix("./") for base in _BASES))
        base = train.removesuffix("train")
        held = self.val == "holdout" and self.split in ("train", "val")
        wanted: tuple[str, ...] = ("train",) if held else (self.split,)
        if self.split == "all":
            wanted = tuple(part for part in ("train", "val", "test") if (root / base / part).is_dir())
        for part in wanted:
            if not (root / base / part).is_dir():
                raise DataError(
                    f"{root / base} has no folder '{part}', which split='{self.split}' needs; unpack it there, or for "
                    "'val' hold out a part of 'train' with val='holdout'."
                )
        columns = class_folders(root, [base + part for part in wanted], _NAMES)
        columns = replace(columns, patients=strings(patient(str(path)) for path in columns.images))
        if held:
            columns = columns.part(self.split, self.holdout, self.seed, names=_NAMES)
        return self.table(root, columns)


def patient(path: str) -> str:
    """Return the patient in a film's file name, or its stem when the name follows no published pattern.

    The same number under another disease counts as the same patient, which can only make a split stricter.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0]
    for pattern in _PATIENT:
        if found := pattern.match(stem):
            return found[1]
    return stem
