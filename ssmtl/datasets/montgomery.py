"""Montgomery County: 138 chest films with lung masks, 58 of them with tuberculosis (Jaeger et al. 2014)."""

import re
from pathlib import Path
from typing import Literal

import numpy as np

from ssmtl.datasets.file_table import Columns, FileTable, strings
from ssmtl.datasets.files import FileReader, by_stem
from ssmtl.datasets.holdout import sample_rows
from ssmtl.errors import DataError

_BASES = (".", "MontgomerySet", "NLM-MontgomeryCXRSet/MontgomerySet")
_SIDES = ("leftMask", "rightMask")
_NAME = re.compile(r"MCUCXR_\d+_([01])")
_TEST = 35


class Montgomery(FileReader):
    """`MontgomerySet/CXR_png/MCUCXR_0001_0.png` with `ManualMask/{leftMask,rightMask}` of the same names.

    Lung is the union of both masks; the last digit of the name is 0 for NORMAL and 1 for TB. The MultiMix paper lists
    35 test films without naming them: `split="test35"` draws that many with `seed`, "all" takes the 138.
    """

    split: Literal["all", "test35"] = "all"

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"label": ("NORMAL", "TB"), "mask": ("background", "lung")}.get(kind, ())

    def open(self) -> FileTable:
        root = self.folder()
        folder = self.find(root, *(f"{base}/CXR_png".removeprefix("./") for base in _BASES))
        base = folder.removesuffix("CXR_png")
        films = by_stem(root, folder, (".png",))
        labels = np.empty(len(films), dtype=np.int32)
        for row, stem in enumerate(films):
            match = _NAME.fullmatch(stem)
            if not match:
                raise DataError(
                    f"{root / folder / films[stem]} is not named like MCUCXR_0001_0.png, whose last digit is the label "
                    "(0 normal, 1 TB); restore its name, or take it out."
                )
            labels[row] = int(match[1])
        columns = Columns(
            images=strings(folder + "/" + name for name in films.values()),
            masks=tuple(strings(self._masks(root, f"{base}ManualMask/{side}", films)) for side in _SIDES),
            labels=labels,
            patients=strings(films),
        )
        if self.split == "test35":
            if len(films) < _TEST:
                raise DataError(
                    f"split='test35' needs {_TEST} films, {root / folder} has {len(films)}; use split='all'."
                )
            columns = columns.take(sample_rows(len(films), _TEST, "montgomery", self.seed))
        return self.table(root, columns)

    def _masks(self, root: Path, folder: str, films: dict[str, str]) -> list[str]:
        self.find(root, folder)
        masks = by_stem(root, folder, (".png",))
        for stem, name in films.items():
            if stem not in masks:
                raise DataError(f"the film {name} has no mask in {root / folder}; restore it, or take the film out.")
        return [f"{folder}/{masks[stem]}" for stem in films]
