"""Plain folders: one folder per class, or images beside masks."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ssmtl.datasets.file_table import Columns, FileTable, Holdout, Split, strings
from ssmtl.datasets.files import FileReader, by_stem, class_folders, csv_rows, listed
from ssmtl.errors import DataError, nearest

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_CSV = "labels.csv"


class ClassFolders(FileReader):
    """Images in `{train,val,test}/<class>/`, for the classes in `names`.

    Without a folder `val`, `holdout` of "train" is "val", by class, and "train" is the rest. A `labels.csv` beside the
    splits (columns path, label, patient_id; only path is needed) is compared with the folders, and names the patients
    that a split must not tear apart.
    """

    split: Split = "train"
    names: Annotated[tuple[str, ...], Field(min_length=2)] = ("NORMAL", "PNEUMONIA")
    holdout: Holdout = 0.1

    def classes(self, kind: str) -> tuple[str, ...]:
        return self.names if kind == "label" else ()

    def open(self) -> FileTable:
        root = self.folder()
        present = [split for split in _SPLITS if (root / split).is_dir()]
        held = self.split in ("train", "val") and "val" not in present
        wanted = present if self.split == "all" else ["train" if held else self.split]
        for split in wanted or ["train"]:
            if split not in present:
                raise DataError(
                    f"{root} has no folder '{split}', which split='{self.split}' needs (found: "
                    f"{', '.join(present) or 'none of train, val, test'}); add it, or set another `split` or `root`."
                )
        columns = class_folders(root, wanted, self.names)
        if (root / _CSV).is_file():
            columns = self._described(root / _CSV, columns)
        if held:
            columns = columns.part(self.split, self.holdout, self.seed, names=self.names)
        return self.table(root, columns)

    def _described(self, path: Path, columns: Columns) -> Columns:
        """Compare the folders with the CSV and take over its patients; raises DataError where the two disagree."""
        patients: dict[str, str | None] = {}
        for line, row in csv_rows(path, ("path",)):
            label = row.get("label", Path(row["path"]).parent.name)
            if label not in self.names:
                raise DataError(
                    f"{path} line {line} has the unknown label '{label}'; correct it, or name it in the reader's "
                    f"`names`{nearest(str(label), self.names)}"
                )
            if label != Path(row["path"]).parent.name:
                raise DataError(f"{path} line {line} says {label}, but the file is {row['path']}; correct one of them.")
            patients[row["path"]] = row.get("patient_id")
        images = [str(image) for image in columns.images]
        unlisted = next((image for image in images if image not in patients), None)
        if unlisted is not None:
            raise DataError(f"{path} has no line for {unlisted}; add it, or remove {path.name} to do without patients.")
        splits = {image.partition("/")[0] for image in images}
        known = set(images)
        gone = next((name for name in patients if name.partition("/")[0] in splits and name not in known), None)
        if gone is not None:
            raise DataError(
                f"{path} lists {gone}, which is not in {path.parent}; restore the image, or take out its line."
            )
        named = [patients[image] for image in images]
        return replace(columns, patients=strings(name or "" for name in named)) if all(named) else columns


class MaskFolder(FileReader):
    """Images in `images/` with masks of the same stem in `masks/`, of `mask_class` against the background.

    `train.txt`, `val.txt` and `test.txt` list stems, one a line. Without `val.txt`, `holdout` of "train" is "val" and
    "train" the rest; without any list "train" starts from all. Masks hold 0 and one other value; `mask_threshold` takes
    soft or lossy ones, gray levels from there up being `mask_class`.
    """

    split: Split = "train"
    mask_class: Annotated[str, Field(min_length=1)] = "lung"
    mask_threshold: Annotated[int, Field(ge=1, le=255)] | None = None
    holdout: Holdout = 0.1

    def classes(self, kind: str) -> tuple[str, ...]:
        return ("background", self.mask_class) if kind == "mask" else ()

    def open(self) -> FileTable:
        root = self.folder()
        images = by_stem(root, self.find(root, "images"))
        masks = by_stem(root, self.find(root, "masks"))
        lists = {split: self._list(root, split, images) for split in _SPLITS if (root / f"{split}.txt").is_file()}
        _refuse_overlap(root, lists)
        held = self.split in ("train", "val") and "val" not in lists
        stems = list(images) if self.split == "all" or (held and not lists) else self._wanted(root, lists, held)
        for stem in stems:
            if stem not in masks:
                raise DataError(
                    f"the image {images[stem]} has no mask {stem}.* in {root / 'masks'}; restore it, or take the image "
                    "out."
                )
        columns = Columns(
            strings(f"images/{images[stem]}" for stem in stems), (strings(f"masks/{masks[stem]}" for stem in stems),)
        )
        if held:
            columns = columns.part(self.split, self.holdout, self.seed, names=(self.mask_class,))
        return self.table(root, columns, mask_threshold=self.mask_threshold)

    def _wanted(self, root: Path, lists: dict[Split, list[str]], held: bool) -> list[str]:
        split: Split = "train" if held else self.split
        if split not in lists:
            raise DataError(
                f"{root} has no {split}.txt, which split='{self.split}' needs; add it (one stem a line), or set "
                "another `split`."
            )
        return lists[split]

    def _list(self, root: Path, split: Split, images: dict[str, str]) -> list[str]:
        """Return the stems of a split's list; raises DataError for an entry that is a path, unknown or double."""
        path, stems = root / f"{split}.txt", []
        for line, stem in listed(path):
            if "/" in stem or "\\" in stem:
                raise DataError(
                    f"{path} line {line} names a path, '{stem}'; give the stem of a file in images/ instead."
                )
            if stem not in images:
                raise DataError(
                    f"{path} line {line} names '{stem}', but {root / 'images'} has no image of that stem; restore it, "
                    "or take out the line (names stand without ending)."
                )
            stems.append(stem)
        if not stems or len(set(stems)) < len(stems):
            raise DataError(f"{path} is empty or names an image twice; give every image of the split once.")
        return stems


def _refuse_overlap(root: Path, lists: dict[Split, list[str]]) -> None:
    owner: dict[str, str] = {}
    for split, stems in lists.items():
        for stem in stems:
            if owner.setdefault(stem, split) != split:
                raise DataError(
                    f"'{stem}' stands in both {owner[stem]}.txt and {split}.txt of {root}; keep it in one of them."
                )
