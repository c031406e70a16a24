"""A first manifest: what lies in a folder, read into the columns of a table by everything that knows its layout."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from ssmtl.datasets.decode import FOREIGN
from ssmtl.errors import DataError
from ssmtl.manifests.classes import classes_path, write_classes
from ssmtl.manifests.layouts.boxes import read_coco_files, read_voc_files, read_yolo_files
from ssmtl.manifests.layouts.folder_names import Meaning, read_folder_names
from ssmtl.manifests.layouts.inventory import CONVERTED, Finding, Inventory, LeftOut, Reading
from ssmtl.manifests.layouts.mask_files import read_masks
from ssmtl.manifests.layouts.spreadsheets import read_spreadsheets
from ssmtl.manifests.stamp import stamp_path
from ssmtl.manifests.table import SUFFIXES, write_table

_ABOUT = ("split", "source", "group")
_NOT_READ = {
    **dict.fromkeys((".tif", ".tiff", ".webp"), FOREIGN[".ppm"]),
    **FOREIGN,
    ".gz": FOREIGN[".nii.gz"],
    **dict.fromkeys((".npy", ".npz", ".mat", ".h5", ".hdf5"), "arrays; save every image as PNG"),
    **dict.fromkeys((".zip", ".tar", ".rar", ".7z"), "an archive; unpack it"),
}


@dataclass(frozen=True)
class FirstManifest:
    """What `write_first_manifest` wrote and understood: `columns` are {header: how many images have it}."""

    path: Path
    images: int
    findings: tuple[Finding, ...]
    columns: dict[str, int]
    classes: dict[str, tuple[str, ...]]
    left_out: tuple[LeftOut, ...]


def write_first_manifest(
    folder: Path, out: Path | None = None, *, folders: Meaning = "auto", force: bool = False
) -> FirstManifest:
    """Write a manifest of a folder, and its classes file beside it; returns what was understood.

    `out` lies in the folder or above it [default: manifest.csv in it]; `folders` says what subfolders mean. Raises
    DataError for a folder without images, for an `out` elsewhere, and, without `force`, where it would overwrite a
    manifest, a classes file or converted masks.
    """
    path = (out or folder / "manifest.csv").expanduser()
    root = path.parent.resolve()
    _check_place(folder, path, root, force=force)
    inventory = Inventory.of(folder, (path,))
    masks = read_masks(inventory)
    readings = [
        read_spreadsheets(inventory),
        read_folder_names(inventory, folders),
        masks,
        read_coco_files(inventory),
        read_yolo_files(inventory),
        read_voc_files(inventory),
    ]
    findings, conflicts = _columns([finding for reading in readings for finding in reading.findings])
    prefix = inventory.root.relative_to(root).as_posix()
    write_table(_table(inventory.images, findings, "" if prefix == "." else f"{prefix}/"), path)
    classes = {finding.header: finding.classes for finding in findings if finding.classes}
    if classes:
        write_classes(path, classes)
    left_out = [*inventory.left_out, *(thing for reading in readings for thing in reading.left_out), *conflicts]
    left_out += _unread(inventory, readings)
    counts = {finding.header: len(finding.cells) for finding in findings}
    return FirstManifest(path, len(inventory.images), tuple(findings), counts, classes, tuple(left_out))


def _check_place(folder: Path, path: Path, root: Path, *, force: bool) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"a manifest ends in {', '.join(SUFFIXES)}, got {path}; correct --out.")
    if not folder.resolve().is_relative_to(root):
        raise DataError(
            f"{path} lies elsewhere than the images in {folder}, but a manifest's paths are relative to its folder; "
            "give an --out in the folder of the images, or above it."
        )
    for made in (path, classes_path(path), folder / CONVERTED):
        if made.exists() and not force:
            raise DataError(f"{made} is already there; give another --out, or --force to write it again.")
    stamp_path(path).unlink(missing_ok=True)


def _columns(findings: Iterable[Finding]) -> tuple[list[Finding], list[LeftOut]]:
    """Return one finding a column, under its final header, and what had to be left out of them.

    Findings of one kind that speak of different images, such as a COCO file a split, are one column. Ones that speak of
    the same images are columns of their own, named after where they come from.
    """
    columns: dict[str, Finding] = {}
    conflicts: list[LeftOut] = []
    for finding in findings:
        header = finding.header
        if header not in _ABOUT and finding.name and _own_name(finding):
            header = f"{finding.header}:{finding.name}"
        before = columns.get(header)
        if before is not None and header in _ABOUT:
            conflicts.append(LeftOut(finding.what, f"the manifest has its {header}s from '{before.what}'"))
            continue
        if before is not None and not before.cells.keys() & finding.cells.keys():
            columns[header] = _joined(before, finding)
            continue
        if header not in _ABOUT and _task(header) in map(_task, columns):
            header = _free(f"{finding.header}:{finding.name or 'second'}", columns)
        columns[header] = finding._replace(header=header)
    return list(columns.values()), conflicts


def _own_name(finding: Finding) -> bool:
    """Tell whether a column is called by its name from the start: labels of a spreadsheet, masks of a subfolder."""
    return finding.header in ("label", "labels", "mask") and finding.name != "folder"


def _task(header: str) -> str:
    """Return the task that a column claims, whatever its case; no two columns may claim one."""
    return header.rpartition(":")[2].casefold()


def _free(header: str, taken: Iterable[str]) -> str:
    claimed = set(map(_task, taken))
    names = (header, *(f"{header}{place}" for place in range(2, len(claimed) + 3)))
    return next(name for name in names if _task(name) not in claimed)


def _joined(one: Finding, other: Finding) -> Finding:
    classes = tuple(dict.fromkeys((*one.classes, *other.classes)))
    return one._replace(what=f"{one.what}; {other.what}", cells={**one.cells, **other.cells}, classes=classes)


def _table(images: tuple[str, ...], findings: list[Finding], prefix: str) -> pa.Table:
    """Return the table, every path relative to the manifest's folder."""
    columns: dict[str, list[str | None]] = {"image": [prefix + image for image in images]}
    ordered = [f for f in findings if f.header not in _ABOUT] + [f for f in findings if f.header in _ABOUT]
    for finding in ordered:
        found = [finding.cells.get(image) for image in images]
        if finding.header.partition(":")[0] in ("mask", "boxes"):
            found = [prefix + cell if cell and not cell.startswith("[") else cell for cell in found]
        columns[finding.header] = found
    return pa.table({header: pa.array(cells, pa.string()) for header, cells in columns.items()})


def _unread(inventory: Inventory, readings: Iterable[Reading]) -> list[LeftOut]:
    """Return the files that nobody has read, by ending."""
    mentioned = {thing.what for reading in readings for thing in reading.left_out}
    read = frozenset().union(*(reading.read for reading in readings)) | mentioned
    endings = Counter(PurePosixPath(name).suffix.lower() for name in inventory.others if name not in read)
    return [
        LeftOut(
            f"{count:,} file(s) {ending or 'without an ending'}", _NOT_READ.get(ending, "nothing that was understood")
        )
        for ending, count in endings.most_common()
    ]
