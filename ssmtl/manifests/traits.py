"""What the rows of a manifest carry, as columns of zeros and ones: what a split is to share out fairly."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.sparse import csr_array, hstack

from ssmtl.datasets.coco_json import read_coco
from ssmtl.datasets.decode import load_image
from ssmtl.datasets.index_maps import numbers_in
from ssmtl.datasets.remote import fetch, is_uri
from ssmtl.manifests.cells import is_coco, parse_boxes, parse_labels
from ssmtl.manifests.columns import SOURCE, Column, annotations
from ssmtl.manifests.opened import ManifestFile
from ssmtl.manifests.split import Traits

Shown = Callable[[str], Iterable[str]]
"""Which classes a cell shows."""


def traits_of(manifest: ManifestFile) -> Traits:
    """Return the traits of a checked manifest: labeled for each task, showing each of its classes, from each source.

    Masks are decoded for their classes; of masks behind a URI only is known that they are there. Raises DataError for
    a file that can't be read.
    """
    columns = annotations(manifest.columns)
    names = [column.kind for column in columns]
    labeled = [np.asarray(manifest.table.column(column.header).is_valid()) for column in columns]
    blocks = [csr_array(np.stack(labeled, axis=1).astype(np.int64))] if labeled else []
    for column in columns:
        classes = manifest.classes[column.kind]
        names += [f"{column.kind} = {name}" for name in classes]
        blocks.append(_block(_keys(manifest, column), _reading(manifest, column), classes))
    if SOURCE in manifest.table.column_names:
        cells = manifest.table.column(SOURCE).to_pylist()
        sources = tuple(sorted({cell for cell in cells if cell is not None}))
        names += [f"{SOURCE} = {name}" for name in sources]
        blocks.append(_block(cells, lambda cell: (cell,), sources))
    carried = hstack(blocks, format="csr") if blocks else csr_array((len(manifest.table), 0), dtype=np.int64)
    return Traits(tuple(names), len(columns), carried)


def _keys(manifest: ManifestFile, column: Column) -> list[str | None]:
    """Return the cells of a column; ones that name a file about many images say which image too."""
    cells: list[str | None] = manifest.table.column(column.header).to_pylist()
    if column.form != "boxes" or not any(cell and is_coco(cell) for cell in cells):
        return cells
    images = manifest.table.column("image").to_pylist()
    return [f"{image}\n{c}" if c and is_coco(c) else c for c, image in zip(cells, images, strict=True)]


def _block(keys: Sequence[str | None], shown: Shown, classes: Sequence[str]) -> csr_array:
    """Return [n, classes] of zeros and ones; cells that are equal are read once, in threads."""
    unique = list(dict.fromkeys(key for key in keys if key is not None))
    places = {name: place for place, name in enumerate(classes)}
    with ThreadPoolExecutor() as pool:
        console = Console(stderr=True)
        read = pool.map(lambda key: sorted({places[name] for name in shown(key)}), unique)
        bar = track(
            read, "reading labels", len(unique), console=console, transient=True, disable=not console.is_terminal
        )
        found = [*bar, []]
    starts = np.cumsum([0, *map(len, found)])
    indices = np.array([place for each in found for place in each], dtype=np.int64)
    table = csr_array((np.ones(len(indices), dtype=np.int64), indices, starts), shape=(len(found), len(classes)))
    rows = {key: row for row, key in enumerate(unique)}
    return table[[len(unique) if key is None else rows[key] for key in keys]]


def _reading(manifest: ManifestFile, column: Column) -> Shown:
    classes = manifest.classes[column.kind]
    if column.form == "label":
        return lambda cell: (cell,)
    if column.form == "labels":
        return parse_labels
    if column.form == "mask":
        return lambda cell: _in_mask(manifest, cell, classes)
    listings: dict[str, dict[str, set[str]]] = {}
    for cell in {cell for cell in manifest.table.column(column.header).unique().to_pylist() if cell and is_coco(cell)}:
        listings[cell] = _in_coco(manifest, cell, classes)

    def boxes(key: str) -> Iterable[str]:
        image, newline, cell = key.partition("\n")
        return listings[cell][PurePosixPath(image).name] if newline else {box.label for box in parse_boxes(key)}

    return boxes


def _in_mask(manifest: ManifestFile, cell: str, classes: Sequence[str]) -> Iterable[str]:
    if is_uri(cell):
        return ()
    values = numbers_in(np.asarray(load_image(manifest.root / cell)))
    return (classes[value] for value in values if value < len(classes))


def _in_coco(manifest: ManifestFile, cell: str, classes: tuple[str, ...]) -> dict[str, set[str]]:
    listing = read_coco(fetch(cell) if is_uri(cell) else manifest.root / cell, classes, drop_empty=True)
    found: dict[str, set[str]] = {name: set() for name in listing.images}
    for owner, label in listing.rows[:, :2].astype(np.int64).tolist():
        found[listing.images[owner]].add(classes[label])
    return found
