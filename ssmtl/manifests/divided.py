"""`ssmtl data split`: a checked manifest, divided, with the hashes of its images written down."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int8, Int64

from ssmtl.errors import DataError
from ssmtl.manifests.check import Report, check_manifest
from ssmtl.manifests.classes import classes_path
from ssmtl.manifests.columns import GROUP, PHASH, SHA256, SPLIT
from ssmtl.manifests.fingerprints import SAME_PICTURE, Fingerprints, Words, joined, same_pictures
from ssmtl.manifests.opened import ManifestFile, open_manifest
from ssmtl.manifests.split import FREE, SPLITS, Gap, Traits, divide, gaps
from ssmtl.manifests.stamp import write_stamp
from ssmtl.manifests.table import write_more_jsonl, write_table
from ssmtl.manifests.traits import traits_of
from ssmtl.manifests.verdicts import DIVIDE_AGAIN

_DIGITS = 64
_UNKNOWN = "0" * _DIGITS


@dataclass(frozen=True)
class HowToSplit:
    """The share of images with labels that go to val and test, and how.

    Pictures whose hashes are at most `near` bits apart belong together. Without `again`, rows keep a split that they
    have. `allow_outside` and `remote` are for the check, see `check_manifest`.
    """

    val: float = 0.15
    test: float = 0.15
    seed: int = 0
    near: int = SAME_PICTURE
    again: bool = False
    allow_outside: bool = False
    remote: bool = False

    @property
    def shares(self) -> tuple[float, float, float]:
        """Return the shares of train, val and test."""
        return 1 - self.val - self.test, self.val, self.test


@dataclass(frozen=True, eq=False)
class Divided:
    """A manifest that was divided: what its rows carry, the group and the split of each, and what is missing where.

    `copies` counts images that show the same picture as another one, `kept` the rows whose split was already there.
    `backup` is the table as it was, None where it stands untouched.
    """

    path: Path
    traits: Traits
    groups: Int64[np.ndarray, " n"]
    split: Int8[np.ndarray, " n"]
    gaps: tuple[Gap, ...]
    copies: int
    kept: int
    backup: Path | None


def split_manifest(
    path: Path, out: Path, how: HowToSplit, progress: Callable[[int, int], None] | None = None
) -> Divided:
    """Check a manifest, divide its rows, and write it to `out` with the columns split, sha256 and phash, and its stamp.

    Where `out` is `path`, the table that was there is kept as `<path>.bak`, or `.bak2` and so on where that is taken.
    JSONL and Parquet keep lists, numbers and other fields as they are. Raises DataError for shares that leave
    nothing to train on, for an `out` in another folder, for a manifest with problems that dividing doesn't solve, and
    for rows of one group whose splits differ already.
    """
    _check_arguments(path, out, how)
    report = check_manifest(path, allow_outside=how.allow_outside, remote=how.remote, progress=progress)
    _require_sound(path, report, how)
    manifest = open_manifest(path, remote=how.remote)
    traits = traits_of(manifest)
    pictures = same_pictures(report.prints, how.near)
    groups = _groups(manifest, pictures)
    fixed = np.full(len(groups), FREE, dtype=np.int8) if how.again else _given(manifest)
    _require_agreement(manifest, groups, fixed)
    split = _share_out(traits, groups, fixed, how)
    backup = _write(manifest, report.prints, split, out)
    missing = tuple(gaps(traits, groups, split, how.shares))
    copies = len(pictures) - len(np.unique(pictures))
    return Divided(out, traits, groups, split, missing, copies, int((fixed != FREE).sum()), backup)


def _share_out(
    traits: Traits, groups: Int64[np.ndarray, " n"], fixed: Int8[np.ndarray, " n"], how: HowToSplit
) -> Int8[np.ndarray, " n"]:
    """Divide the groups that have labels; the others can only be learned from, and are all for training."""
    labeled = traits.carried[:, : traits.tasks].sum(axis=1) > 0
    scored = np.isin(groups, groups[labeled | (fixed != FREE)])
    split = np.full(len(groups), SPLITS.index("train"), dtype=np.int8)
    some = traits._replace(carried=traits.carried[scored])
    split[scored] = divide(some, groups[scored], fixed[scored], how.shares, how.seed)
    return split


def _check_arguments(path: Path, out: Path, how: HowToSplit) -> None:
    if min(how.val, how.test) < 0 or how.val + how.test >= 1:
        raise DataError(
            f"val={how.val:g} and test={how.test:g} leave no image to train on, or are below 0; give shares such as "
            "0.15 and 0.15."
        )
    if how.near < SAME_PICTURE:
        raise DataError(
            f"near={how.near} would tear apart copies of a picture, which are up to {SAME_PICTURE} bits apart, and "
            f"training would refuse them; give {SAME_PICTURE} or more."
        )
    if out.suffix != path.suffix or out.resolve().parent != path.resolve().parent:
        raise DataError(
            f"{out} must lie beside {path} and end like it, since its paths are relative to that folder; correct --out."
        )
    if out.exists() and out.resolve() != path.resolve():
        raise DataError(f"{out} is already there; name another file, or remove it.")


def _require_sound(path: Path, report: Report, how: HowToSplit) -> None:
    """Refuse a manifest with problems, but for torn groups and leaks where rows are divided anew."""
    problems = [p for p in report.refused if not (how.again and DIVIDE_AGAIN in p.fix)]
    if problems:
        first = problems[0]
        where = f"{first.file} line {first.row}" if first.row else first.file
        raise DataError(
            f"{path} has {len(problems):,} problem(s), the first: {where} {first.what}; see all of them with "
            f"`ssmtl data check {path}`, and divide it when they are solved."
        )


def _groups(manifest: ManifestFile, pictures: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Return a number per row that rows share which show one picture, are of one group, or are linked by others."""
    if GROUP not in manifest.table.column_names:
        return pictures
    first: dict[str, int] = {}
    names = manifest.table.column(GROUP).to_pylist()
    links = [(first.setdefault(name, row), row) for row, name in enumerate(names) if name is not None]
    order = np.argsort(pictures, kind="stable")
    same = pictures[order[1:]] == pictures[order[:-1]]
    copies = np.stack([order[:-1][same], order[1:][same]], axis=1)
    return joined(len(names), [np.array(links, dtype=np.int64).reshape(-1, 2), copies])


def _given(manifest: ManifestFile) -> Int8[np.ndarray, " n"]:
    if SPLIT not in manifest.table.column_names:
        return np.full(len(manifest.table), FREE, dtype=np.int8)
    return np.array(
        [FREE if name is None else SPLITS.index(name) for name in manifest.table.column(SPLIT).to_pylist()],
        dtype=np.int8,
    )


def _require_agreement(manifest: ManifestFile, groups: Int64[np.ndarray, " n"], fixed: Int8[np.ndarray, " n"]) -> None:
    """Refuse rows that belong together, but stand in different splits already."""
    rows = np.flatnonzero(fixed != FREE)
    rows = rows[np.lexsort((fixed[rows], groups[rows]))]
    torn = np.flatnonzero((groups[rows[1:]] == groups[rows[:-1]]) & (fixed[rows[1:]] != fixed[rows[:-1]]))
    if len(torn):
        one, other = rows[torn[0]], rows[torn[0] + 1]
        raise DataError(
            f"{manifest.path} has line {manifest.line(one)} in {SPLITS[fixed[one]]} and line {manifest.line(other)} in "
            f"{SPLITS[fixed[other]]}, which belong together (one group, or one picture); correct one of them, or "
            "divide everything anew with --again."
        )


def _write(manifest: ManifestFile, prints: Fingerprints, split: Int8[np.ndarray, " n"], out: Path) -> Path | None:
    """Write the table with its three columns, the classes file and the stamp; return the backup, if one was needed."""
    backup = None
    if out.resolve() == manifest.path.resolve():
        backup = _free_backup(manifest.path)
        shutil.copy2(manifest.path, backup)
    elif classes_path(manifest.path).exists():
        shutil.copy2(classes_path(manifest.path), classes_path(out))
    columns = {
        SPLIT: pa.array([SPLITS[place] for place in split.tolist()], pa.string()),
        SHA256: _hexadecimal(prints.sha256),
        PHASH: _hexadecimal(prints.phash),
    }
    if out.suffix.lower() == ".jsonl":
        write_more_jsonl(manifest.path, pa.table(columns), out)
    else:
        write_table(_with_columns(manifest, columns), out)
    write_stamp(out, len(manifest.table))
    return backup


def _with_columns(manifest: ManifestFile, columns: Mapping[str, pa.Array]) -> pa.Table:
    # Parquet keeps the types that its columns have for other programs; to check them they were read as text.
    table = manifest.table if manifest.path.suffix.lower() != ".parquet" else pq.ParquetFile(manifest.path).read()
    for header, cells in columns.items():
        if header in table.column_names:
            table = table.set_column(table.column_names.index(header), header, cells)
        else:
            table = table.append_column(header, cells)
    return table


def _free_backup(path: Path) -> Path:
    """Return a name for the table as it is: an older backup holds what its owner may have nowhere else."""
    names = (path.with_name(f"{path.name}.bak{number}") for number in chain(("",), count(2)))
    return next(name for name in names if not name.exists())


def _hexadecimal(hashes: Words) -> pa.Array:
    """Return words as a column of text, null where there is no hash."""
    text = hashes.tobytes().hex()
    cells = [text[start : start + _DIGITS] for start in range(0, len(text), _DIGITS)]
    return pa.array([None if cell == _UNKNOWN else cell for cell in cells], pa.string())
