"""JSRT: 247 chest films with the lung masks of the SCR database."""

from functools import partial
from pathlib import Path

import numpy as np

from ssmtl.datasets.decode import decode_raw
from ssmtl.datasets.file_table import Columns, FileTable, Holdout, Split, strings
from ssmtl.datasets.files import FileReader, by_stem, files
from ssmtl.errors import DataError

_FILMS = (".", "All247images", "images", "JSRT")
_FOLDS = ("scratch", ".", "SCR", "scr")
_SIDES = ("left lung", "right lung")
_SHAPE, _BITS = (2048, 2048), 12
_KINDS = ("nodule", "no nodule")


class JSRT(FileReader):
    """Raw films `JPCLN001.IMG` (with a nodule), `JPCNN001.IMG` (without), and `fold{1,2}/masks/*lung/*.gif`.

    A film is 2048x2048 big-endian 12-bit without a header, stored inverted. Lung is the union of both lungs. SCR's
    fold 1 (odd numbers) is for training, of which `holdout`, by kind of film, is "val"; fold 2 is "test": with the
    full set 111, 13 and 123 films (MELBA Table 1). Sources: Shiraishi et al. 2000; van Ginneken et al. 2006.
    """

    split: Split = "train"
    holdout: Holdout = 0.1

    def classes(self, kind: str) -> tuple[str, ...]:
        return ("background", "lung") if kind == "mask" else ()

    def open(self) -> FileTable:
        root = self.folder()
        films = self._films(root)
        base = Path(self.find(root, *(f"{folder}/fold1/masks" for folder in _FOLDS))).parent.parent
        lungs = {number: self._lungs(root, f"{base}/fold{number}/masks") for number in (1, 2)}
        for stem in films:
            if not any(stem in masks for masks in lungs.values()):
                raise DataError(
                    f"the film {stem} has no mask of both lungs in fold1 or fold2 of {root / base}; unpack the SCR "
                    "masks there, or take the film out."
                )
        wanted = {"test": (2,), "all": (1, 2)}.get(self.split, (1,))
        rows = [(films[stem], *lungs[fold][stem]) for stem in films for fold in wanted if stem in lungs[fold]]
        if not rows:
            raise DataError(
                f"{root} has no film of fold {wanted[0]}, which split='{self.split}' needs; bring the other films, or "
                "set another `split`."
            )
        images, left, right = (strings(column) for column in zip(*rows, strict=True))
        stems = [Path(image).stem for image in images]
        columns = Columns(images, masks=(left, right), patients=strings(stems))
        if self.split in ("train", "val"):
            strata = np.array([int(stem.startswith("JPCNN")) for stem in stems], dtype=np.int32)
            columns = columns.part(self.split, self.holdout, self.seed, strata=strata, names=_KINDS)
        return self.table(root, columns, decode=partial(decode_raw, shape=_SHAPE, bits=_BITS), coarse_masks=True)

    def _films(self, root: Path) -> dict[str, str]:
        """Return {stem: path} of the films, from the first place that has any."""
        for folder in _FILMS:
            if (root / folder).is_dir() and files(root, folder, (".img",)):
                return {stem: str(Path(folder, name)) for stem, name in by_stem(root, folder, (".img",)).items()}
        tried = ", ".join(f"'{folder}'" for folder in _FILMS)
        raise DataError(f"JSRT looked for .IMG films in {tried} of {root} and found none; set `root` to their folder.")

    def _lungs(self, root: Path, folder: str) -> dict[str, tuple[str, str]]:
        """Return {stem: paths of the left and the right lung's mask} for the films of a fold that have both."""
        left, right = (by_stem(root, f"{folder}/{side}", (".gif",)) for side in _SIDES)
        return {
            stem: (f"{folder}/{_SIDES[0]}/{left[stem]}", f"{folder}/{_SIDES[1]}/{right[stem]}")
            for stem in left
            if stem in right
        }
