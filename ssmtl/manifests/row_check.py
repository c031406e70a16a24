"""Reading every row of a manifest: cells here, their files in threads, and everything counted."""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Self, TypeAlias

import numpy as np

from ssmtl.errors import DataError, nearest
from ssmtl.manifests.box_cells import Evidence
from ssmtl.manifests.box_doubts import Doubts
from ssmtl.manifests.box_files import BoxFiles
from ssmtl.manifests.cells import is_coco, parse_labels
from ssmtl.manifests.classes import classes_path, read_classes
from ssmtl.manifests.columns import GROUP, SOURCE, Column, column_of, no_header, parse_header
from ssmtl.manifests.fingerprints import Fingerprints
from ssmtl.manifests.ledger import WHOLE, Ledger
from ssmtl.manifests.notations import Notation, Order
from ssmtl.manifests.palettes import Palettes
from ssmtl.manifests.pictures import halves
from ssmtl.manifests.places import Finder
from ssmtl.manifests.problems import Repair
from ssmtl.manifests.row_files import Note, RowLooker, RowSeen, RowTexts
from ssmtl.manifests.sheet import Sheet
from ssmtl.manifests.spelling import NO_VALUES, fold, respelled
from ssmtl.manifests.split import SPLITS
from ssmtl.manifests.tallies import UNUSED, Tallies

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the rows done and those there are."""

CLASS, SPLIT, HEADER, VALUE = "class name", "split word", "header", "value"
EMPTY_ROW, SPARE_COLUMN = "empty row", "spare column"

_THREADS = 2
_AHEAD = 64
_BYTES = 32
_SPLIT_WORDS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


@dataclass
class Masks:
    """What the masks of a column show, all together."""

    palettes: Palettes = field(default_factory=Palettes)
    files: int = 0
    ignoring: int = 0
    teaching: int = 0
    """Files with the value 255, and with any class but that of value 0."""
    bare: int = 0
    """Files with no values but 0 and 255."""


@dataclass
class RowCheck:
    """The state of a check: what to look for, and what was seen so far, 90 bytes a row."""

    sheet: Sheet
    ledger: Ledger
    columns: tuple[Column, ...]
    places: dict[str, int]
    given: dict[str, tuple[str, ...]]
    """Class names of the classes file, by kind."""
    looker: RowLooker
    evidence: dict[int, Evidence]
    doubts: dict[int, Doubts]
    tallies: Tallies
    masks: dict[int, Masks] = field(default_factory=dict)
    notations: list[tuple[int, int, Notation, tuple[int, int]]] = field(default_factory=list)
    """(row, column, notation, size of the image) of cells that hold boxes in another notation."""
    names: dict[int, Counter[str]] = field(default_factory=dict)
    """How often each class name occurs, by column."""
    splits: "array[int]" = field(default_factory=lambda: array("b"))
    row_hashes: "array[int]" = field(default_factory=lambda: array("q"))
    image_hashes: "array[int]" = field(default_factory=lambda: array("q"))
    sha256: bytearray = field(default_factory=bytearray)
    phash: bytearray = field(default_factory=bytearray)

    @classmethod
    def of(cls, sheet: Sheet, ledger: Ledger, *, allow_outside: bool, remote: bool, box_order: Order | None) -> Self:
        """Read the header and the classes file, writing down what is wrong with them."""
        columns, places = _columns(sheet, ledger)
        try:
            given = read_classes(sheet.path, columns)
        except DataError as error:
            place = classes_path(sheet.path)
            ledger.add(WHOLE, *halves(error, place), file=place.name)
            given = {}
        finder = Finder(sheet.path.parent.resolve(), allow_outside, remote)
        looker = RowLooker(
            finder=finder,
            classes={places[column.header]: given.get(column.kind, ()) for column in columns if column.form == "mask"},
            box_files=BoxFiles(finder),
        )
        tallies = Tallies()
        for kind, names in given.items():
            for name in names:
                tallies.classes[kind][name].clear()
        annotated = [(places[column.header], column.form) for column in columns if column.form]
        return cls(
            sheet,
            ledger,
            columns,
            places,
            given,
            looker,
            tallies=tallies,
            evidence={place: Evidence(box_order) for place, form in annotated if form == "boxes"},
            doubts={place: Doubts(box_order) for place, form in annotated if form == "boxes"},
            masks={place: Masks() for place, form in annotated if form == "mask"},
            names={place: Counter() for place, form in annotated if form != "mask"},
        )

    def run(self, progress: Progress | None) -> None:
        """Look at every row; files ahead of time in threads, for decoding doesn't hold Python's lock."""
        total = len(self.sheet)
        with ThreadPoolExecutor(_THREADS) as pool:
            waiting: deque[tuple[tuple[str | None, ...], Future[RowSeen]]] = deque()
            for row, cells in self.sheet.rows():
                waiting.append((cells, pool.submit(self.looker, self._texts(row, cells))))
                if len(waiting) > _AHEAD:
                    self._take(*waiting.popleft())
                    if progress:
                        progress(row + 1 - _AHEAD, total)
            while waiting:
                self._take(*waiting.popleft())
        if progress:
            progress(total, total)

    def prints(self) -> Fingerprints:
        """Return the hashes of all images."""
        return Fingerprints(
            *(np.frombuffer(side, dtype=np.uint64).reshape(-1, 4) for side in (self.sha256, self.phash))
        )

    def cell(self, cells: tuple[str | None, ...], header: str) -> str | None:
        """Return the cell of a column, None also where there is no such column."""
        place = self.places.get(header)
        return None if place is None else cells[place]

    def _texts(self, row: int, cells: tuple[str | None, ...]) -> RowTexts:
        image = self.cell(cells, "image")
        empty = not any(cells)
        if empty:
            fix = "take the row out."
            self.ledger.add(row, "is a row of empty cells", fix, repair=Repair(EMPTY_ROW, row, WHOLE))
        elif image is None and "image" in self.places:
            self.ledger.add(row, "names no image", "fill in the image's path, or take the row out.")
        self.row_hashes.append(0 if empty else hash(cells))
        self.image_hashes.append(hash(normpath(image)) if image else 0)
        files: dict[str, list[tuple[int, str]]] = {"mask": [], "boxes": []}
        for column in self.columns:
            text = self.cell(cells, column.header)
            if column.form in files and text is not None:
                place = self.places[column.header]
                files[column.form].append((place, text))
                if column.form == "boxes" and is_coco(text):
                    flaw = self.looker.box_files.read(text, column, self.given.get(column.kind, ()))
                    if flaw:
                        self.ledger.add(row, flaw.what, flaw.fix, file=text)
        at = (self.places["image"], image) if image else None
        return RowTexts(row, at, tuple(files["mask"]), tuple(files["boxes"]))

    def _take(self, cells: tuple[str | None, ...], future: "Future[RowSeen]") -> None:
        seen = future.result()
        for note in seen.notes:
            self._note(seen.row, note)
        split = self._split(seen.row, self.cell(cells, "split"))
        shown = SPLITS[split] if split >= 0 else UNUSED
        self.splits.append(split)
        self.sha256 += bytes.fromhex(seen.sha256) or bytes(_BYTES)
        self.phash += bytes.fromhex(seen.phash) or bytes(_BYTES)
        self._same_file(seen, self.cell(cells, "sha256"), self.cell(cells, "image"))
        for header in (GROUP, SOURCE):
            self._plain(seen.row, header, self.cell(cells, header))
        carried = []
        for column in self.columns:
            text = self.cell(cells, column.header)
            if column.form and text is not None:
                carried.append(column.header)
                self._annotation(column, text, seen, shown)
        self.tallies.carry(tuple(carried), shown, self.cell(cells, "source") or "")

    def _annotation(self, column: Column, text: str, seen: RowSeen, split: str) -> None:
        place = self.places[column.header]
        if column.form == "mask":
            self._mask(column, place, seen, split)
        elif column.form == "boxes":
            if place in seen.notations:
                self.notations.append((seen.row, place, seen.notations[place], seen.size))
                if seen.notations[place].form == "numbers":
                    self.evidence[place].add(seen.notations[place].boxes, seen.size)
            else:
                boxes = seen.boxes.get(place, ())
                if not is_coco(text):
                    self.doubts[place].add(seen.row, boxes, seen.size)
                found = Counter(name for name, _ in boxes)
                self._names(column, text, seen.row, found)
                self.tallies.show(column.header, split, found, boxes=True)
        else:
            try:
                found = Counter((text,) if column.form == "label" else parse_labels(text))
            except DataError as error:
                what, _, fix = str(error).partition("; ")
                self.ledger.add(seen.row, f"has in '{column.header}' a cell that can't be read: {what}", fix)
                return
            self._names(column, text, seen.row, found)
            self.tallies.show(column.header, split, found)

    def _mask(self, column: Column, place: int, seen: RowSeen, split: str) -> None:
        values, known, masks = seen.values.get(place, ()), self.given.get(column.kind, ()), self.masks[place]
        if not values:
            return
        masks.files += 1
        masks.ignoring += values[-1] == 255
        masks.bare += values == (0, 255)
        masks.teaching += any(0 < value < len(known) for value in values)
        masks.palettes.add(seen.row, seen.colors[place])
        self.tallies.show(column.header, split, {known[value]: 1 for value in values if value < len(known)})

    def _names(self, column: Column, text: str, row: int, found: Counter[str]) -> None:
        """Hold class names against the classes file; without one they are compared with each other at the end."""
        known, place = self.given.get(column.kind), self.places[column.header]
        if known is None and text in NO_VALUES:
            what = f"has '{text}' in '{column.header}', which would be a class, but usually says that nobody looked"
            fix = "empty the cell; or name it in a classes file, with all others, if it is a class."
            self.ledger.add(row, what, fix, repair=Repair(CLASS, row, place, ""))
            return
        self.names[place].update(found)
        if known is None:
            return
        wrong = [name for name in found if name not in known]
        if not wrong:
            return
        meant = {name: [other for other in known if fold(other) == fold(name)] for name in wrong}
        clear = all(len(others) == 1 for others in meant.values())
        repair = None
        if clear:
            cell = respelled(column, text, {name: meant[name][0] for name in wrong})
            repair = Repair(CLASS, row, place, cell)
        for name in wrong:
            what = f"has the class '{name}' in '{column.header}', which the classes file doesn't name"
            fix = f"correct it, or add it there{nearest(name, known)}"
            self.ledger.add(row, what, fix, repair=repair)

    def _split(self, row: int, text: str | None) -> int:
        if text is None:
            return -1
        if text in SPLITS:
            return SPLITS.index(text)
        word = fold(text)
        meant = word if word in SPLITS else _SPLIT_WORDS.get(word)
        what = f"has '{text}' for its split, but train, val, test or nothing was expected"
        fix = f"write '{meant}'." if meant else f"correct it{nearest(text, SPLITS)}"
        self.ledger.add(row, what, fix, repair=Repair(SPLIT, row, self.places["split"], meant) if meant else None)
        return SPLITS.index(meant) if meant else -1

    def _plain(self, row: int, header: str, text: str | None) -> None:
        """Refuse what would tear rows of one group apart unseen, or join those that have none."""
        meant = "" if text is None or text in NO_VALUES else " ".join(text.split())
        if text is not None and text != meant:
            what = f"has the {header} '{text}', " + (
                "with blanks too many" if meant else "which only says that none is known"
            )
            fix = f"write '{meant}'." if meant else "empty the cell."
            self.ledger.add(row, what, fix, repair=Repair(VALUE, row, self.places[header], meant))

    def _same_file(self, seen: RowSeen, before: str | None, image: str | None) -> None:
        if before and seen.sha256 and before.lower() != seen.sha256:
            what = f"has changed since its sha256 was written ({before[:12]}..., now {seen.sha256[:12]}...)"
            fix = "restore the file; if it was changed on purpose, empty the cell, and let `ssmtl data split` write it."
            self.ledger.add(seen.row, what, fix, file=image)

    def _note(self, row: int, note: Note) -> None:
        repair = Repair(note.repair, row, note.column, note.text) if note.repair else None
        self.ledger.add(row, note.flaw.what, note.flaw.fix, file=note.file, repair=repair, warning=note.warning)


def _columns(sheet: Sheet, ledger: Ledger) -> tuple[tuple[Column, ...], dict[str, int]]:
    """Return what the header means, and where; blanks and capitals in it are written down, and taken for repaired."""
    meant = dict(_meant_headers(sheet.header))
    header = [meant.get(place, text) for place, text in enumerate(sheet.header)]
    columns, left = parse_header(header, sheet.path.name)
    spare = {no_header(place): place for place in _spare(sheet)}
    for problem in parse_header(sheet.header, sheet.path.name)[1]:
        repair = None if problem.warning or problem in left else HEADER
        ledger.problems.append(problem._replace(repair=SPARE_COLUMN if problem.what in spare else repair))
    ledger.repairs += [Repair(SPARE_COLUMN, WHOLE, place) for place in spare.values()]
    ledger.repairs += [Repair(HEADER, WHOLE, place, text) for place, text in meant.items()]
    return columns, {column.header: header.index(column.header) for column in columns}


def _spare(sheet: Sheet) -> Iterator[int]:
    """Yield columns without a header that say nothing: empty ones of Excel, and the numbers that pandas gives rows."""
    for place, text in enumerate(sheet.header):
        cells = [] if text.strip() else list(filter(None, sheet.columns[place].to_pylist()))
        numbers = place == 0 and all(map(str.isdecimal, cells)) and len(set(cells)) == len(cells)
        if not text.strip() and (not cells or numbers):
            yield place


def _meant_headers(header: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for place, text in enumerate(header):
        form, colon, name = text.partition(":")
        plain = form.strip().casefold() + colon + name.strip()
        if text != plain and column_of(text) is None and column_of(plain) and plain not in header:
            yield place, plain
