"""The table behind a manifest: columns of Arrow, and the files of a row when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int32

from ssmtl.batch import Sample
from ssmtl.datasets.canvas import Fit, place_image, shown_size
from ssmtl.datasets.decode import Alpha, decode_image
from ssmtl.datasets.manifest_cells import Cells, Frame, LabelCells, Places
from ssmtl.errors import DataError
from ssmtl.manifests.columns import GROUP, PHASH, SHA256
from ssmtl.manifests.fingerprints import Fingerprints
from ssmtl.manifests.stamp import Stamp, require_stamp
from ssmtl.manifests.table import line_of, read_batches, read_header


@dataclass(frozen=True, eq=False)
class ManifestTable:
    """Some rows of the manifest at `path`, checked as `stamp` says: decodes a row when it is asked for.

    `rows` are their places in the file, `images` what they name, and `cells` their annotations by kind. No row
    costs more than its text. Survives pickling to workers.
    """

    path: Path
    stamp: Stamp
    rows: Int32[np.ndarray, " n"]
    images: pa.ChunkedArray
    cells: Mapping[str, Cells]
    places: Places
    canvas: tuple[int, int]
    channels: int
    fit: Fit
    alpha: Alpha

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Sample:
        """Decode one sample; raises DataError with the manifest's line, what is wrong with it, and how to repair it."""
        try:
            return self._sample(row)
        except DataError as error:
            line = line_of(self.path, int(self.rows[row]))
            raise DataError(f"{self.path} line {line}, image {self.name(row)}: {error}") from error

    def name(self, row: int) -> str:
        return str(self.images[row].as_py())

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        if kind in self.cells:
            return self.cells[kind].annotated()
        return np.zeros(len(self), dtype=np.bool_)

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        cells = self.cells.get(kind)
        return cells.index if isinstance(cells, LabelCells) else None

    def patients(self) -> tuple[str, ...] | None:
        """Return the group of every row; a row without one is a group of its own, by its name."""
        column = self._read((GROUP,)).get(GROUP)
        if column is None:
            return None
        # Encoded first, so that rows of a group share one text.
        whole = column.dictionary_encode().unify_dictionaries().combine_chunks()
        texts = whole.dictionary.to_pylist()
        codes = whole.indices.fill_null(-1).to_pylist()
        return tuple(self.name(row) if code < 0 else texts[code] for row, code in enumerate(codes))

    def made_of(self, row: int, kind: str) -> tuple[Path | bytes, ...]:
        cells = self.cells.get(kind)
        found = cells.made_of(row) if cells is not None and cells.has(row) else ()
        return self.places.find(self.name(row)), *found

    def fingerprints(self) -> Fingerprints | None:
        """Return the hashes that `ssmtl data split` wrote, None where it never did; they are read when asked for."""
        texts = self._read((SHA256, PHASH))
        return Fingerprints.of(texts.get(SHA256), texts.get(PHASH))

    def _read(self, wanted: tuple[str, ...]) -> dict[str, pa.ChunkedArray]:
        """Return those of some columns that the table has, in these rows; training needs none of them, so they wait."""
        columns = [name for name in wanted if name in read_header(self.path)]
        if not columns:
            return {}
        if require_stamp(self.path) != self.stamp:
            raise DataError(f"{self.path} has changed since it was opened; start again.")
        table = pa.Table.from_batches(list(read_batches(self.path, columns)))
        return {name: table.column(name).take(pa.array(self.rows)) for name in columns}

    def _sample(self, row: int) -> Sample:
        name = self.name(row)
        image = decode_image(self.places.find(name), self.alpha)
        source = (image.height, image.width)
        shown = shown_size(source, self.canvas, self.fit)
        frame = Frame(name, source, self.canvas, shown)
        return Sample(
            name,
            place_image(image, self.canvas, self.channels, shown),
            shown,
            source,
            {kind: cells.read(row, frame) for kind, cells in self.cells.items() if cells.has(row)},
        )
