"""COCO files that a manifest's boxes columns name: each read once, its images found by file name."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import normpath

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from ssmtl.datasets.box_columns import Listing, Numbers
from ssmtl.datasets.coco_json import read_coco
from ssmtl.errors import DataError
from ssmtl.manifests.classes import found_classes
from ssmtl.manifests.columns import Column
from ssmtl.manifests.pictures import Flaw, halves
from ssmtl.manifests.places import Finder


@dataclass(frozen=True, eq=False)
class _Annotations:
    """One file: which boxes are of which image."""

    listing: Listing
    classes: tuple[str, ...]
    places: dict[str, int]
    order: Int64[np.ndarray, " m"]
    starts: Int64[np.ndarray, " k_and_1"]


@dataclass(frozen=True)
class BoxFiles:
    """The files that were read, or what was wrong with them; `read` before `boxes`, in one thread."""

    finder: Finder
    _files: dict[str, _Annotations | None] = field(default_factory=dict, repr=False)
    _owners: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    """The first image that refers to an entry of a file, by file and name: another one of that name has none."""

    def read(self, text: str, column: Column, classes: tuple[str, ...]) -> Flaw | None:
        """Read the file that a cell names, unless it was before; returns what is wrong with it, once.

        `classes` are the column's, empty where the manifest leaves them to be found.
        """
        if text in self._files:
            return None
        self._files[text] = None
        place = self.finder.find(text)
        if place.path is None:
            return Flaw(place.what, place.fix, repairable=False)
        try:
            names = classes or found_classes(self.finder.root, column, pa.chunked_array([[str(place.path)]]))
            listing = read_coco(place.path, names)
        except DataError as error:
            return Flaw(*halves(error, place.path), repairable=False)
        owner = listing.rows[:, 0].astype(np.int64)
        order = np.argsort(owner, kind="stable")
        starts = np.searchsorted(owner[order], np.arange(len(listing.images) + 1))
        places = {name: place for place, name in enumerate(listing.images)}
        self._files[text] = _Annotations(listing, names, places, order, starts)
        return None

    def boxes(
        self, text: str, image: str, size: tuple[int, int]
    ) -> tuple[tuple[tuple[str, Numbers], ...], Flaw | None]:
        """Return the (class, box) pairs of an image of (height, width), and what is wrong with its entry."""
        found = self._files[text]
        if found is None:
            return (), None
        name = PurePosixPath(image).name
        if name not in found.places:
            fix = "add its entry, or empty the cell: the image isn't labeled then."
            return (), Flaw(f"doesn't list the image {name}", fix, repairable=False)
        other = self._owners.setdefault((text, name), image)
        if normpath(other) != normpath(image):
            what = f"has one entry for {name}, but {min(image, other)} and {max(image, other)} both refer to it"
            return (), Flaw(what, "give them different names, or write their boxes into the table.", repairable=False)
        place = found.places[name]
        rows = found.listing.rows[found.order[found.starts[place] : found.starts[place + 1]]]
        boxes = tuple((found.classes[int(row[1])], (*row[3:].tolist(),)) for row in rows)
        height, width = found.listing.sizes[place].tolist()
        if height and width and all(size) and (height, width) != size:
            what = f"says that {name} has {width}x{height} pixels, but it has {size[1]}x{size[0]}"
            return boxes, Flaw(what, "use the image that its boxes were drawn on, or scale them.", repairable=False)
        return boxes, None
