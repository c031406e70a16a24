"""The files of one row, looked at in a thread: its image, its masks, and its boxes against the size of the image."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ssmtl.datasets.box_columns import Numbers
from ssmtl.manifests.box_cells import box_flaws, look_at_boxes
from ssmtl.manifests.box_doubts import doubted
from ssmtl.manifests.box_files import BoxFiles
from ssmtl.manifests.cells import is_coco
from ssmtl.manifests.fingerprints import phash_of, sha256_of
from ssmtl.manifests.mask_files import REPAIR as MASK
from ssmtl.manifests.mask_files import look_at_mask
from ssmtl.manifests.notations import Notation, are_fractions
from ssmtl.manifests.palettes import Color
from ssmtl.manifests.pictures import REPAIR as PICTURE
from ssmtl.manifests.pictures import Flaw, look
from ssmtl.manifests.places import Finder

PATH = "path"


class RowTexts(NamedTuple):
    """What a row says of files: (place of the column, cell) of its image, its masks and its boxes."""

    row: int
    image: tuple[int, str] | None
    masks: tuple[tuple[int, str], ...]
    boxes: tuple[tuple[int, str], ...]


class Note(NamedTuple):
    """A flaw that was found in a row: in which column and file, what repairs it, and the cell's new text."""

    column: int
    file: str
    flaw: Flaw
    repair: str | None = None
    text: str | None = None
    warning: bool = False


@dataclass
class RowSeen:
    """What the files of a row hold; hashes are empty and the (height, width) zeros where an image can't be read."""

    row: int
    size: tuple[int, int] = (0, 0)
    sha256: str = ""
    phash: str = ""
    values: dict[int, tuple[int, ...]] = field(default_factory=dict)
    colors: dict[int, tuple[tuple[int, Color], ...]] = field(default_factory=dict)
    boxes: dict[int, tuple[tuple[str, Numbers], ...]] = field(default_factory=dict)
    notations: dict[int, Notation] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class RowLooker:
    """Looks at the files of rows; safe to be used by several threads."""

    finder: Finder
    classes: Mapping[int, tuple[str, ...]]
    """Names behind the numbers of each mask column, by its place."""
    box_files: BoxFiles

    def __call__(self, texts: RowTexts) -> RowSeen:
        """Return all that can be learned of a row's files; never raises for what is wrong with them."""
        seen = RowSeen(texts.row)
        drawn = bool(texts.masks or texts.boxes)
        if texts.image:
            self._image(*texts.image, seen, drawn=drawn)
        for column, text in texts.masks:
            self._mask(column, text, seen)
        for column, text in texts.boxes:
            self._boxes(column, text, texts.image[1] if texts.image else "", seen)
        return seen

    def _find(self, column: int, text: str, seen: RowSeen) -> Path | None:
        place = self.finder.find(text)
        if place.what:
            flaw = Flaw(place.what, place.fix, repairable=place.instead is not None)
            repair = PATH if flaw.repairable else None
            seen.notes.append(Note(column, text, flaw, repair, place.instead, warning=place.path is not None))
        return place.path

    def _image(self, column: int, text: str, seen: RowSeen, *, drawn: bool) -> None:
        path = self._find(column, text, seen)
        if path is None:
            return
        image, flaws = look(path)
        if drawn:
            flaws = tuple(_undecided(flaw) if flaw.turns else flaw for flaw in flaws)
        repair = PICTURE if all(flaw.repairable for flaw in flaws) else None
        seen.notes += [Note(column, text, flaw, repair) for flaw in flaws]
        if image is not None:
            seen.size = (image.height, image.width)
            seen.sha256 = sha256_of(path)
            seen.phash = "" if flaws else phash_of(image)

    def _mask(self, column: int, text: str, seen: RowSeen) -> None:
        path = self._find(column, text, seen)
        if path is None:
            return
        mask = look_at_mask(path, self.classes.get(column, ()))
        repair = MASK if all(flaw.repairable for flaw in mask.flaws) else None
        seen.notes += [Note(column, text, flaw, repair) for flaw in mask.flaws]
        seen.values[column], seen.colors[column] = mask.values, mask.colors
        if all(mask.size) and all(seen.size) and mask.size != seen.size:
            (height, width), (tall, wide) = mask.size, seen.size
            what = f"is a mask of {width}x{height} pixels, but its image has {wide}x{tall}"
            fix = "use the mask of this image; one that was scaled has to be scaled back without smoothing."
            seen.notes.append(Note(column, text, Flaw(what, fix, repairable=False)))

    def _boxes(self, column: int, text: str, image: str, seen: RowSeen) -> None:
        if is_coco(text):
            boxes, flaw = self.box_files.boxes(text, image, seen.size)
            seen.notes += [Note(column, text, flaw)] if flaw else []
            if are_fractions([box for _, box in boxes], seen.size):
                what = f"has boxes of {image} that look like fractions of its sides, but pixels were expected"
                flaw = Flaw(what, "multiply each bbox of the file by the sides of its image.", repairable=False)
                seen.notes.append(Note(column, text, flaw))
        else:
            found = look_at_boxes(text)
            if found.notation is not None:
                seen.notations[column] = found.notation
                return
            seen.notes += [Note(column, image, flaw) for flaw in found.flaws]
            boxes = found.boxes
            if doubted(boxes, seen.size):
                seen.boxes[column] = boxes
                return
        wrong, odd = box_flaws(boxes, seen.size)
        seen.notes += [Note(column, image, flaw) for flaw in wrong]
        seen.notes += [Note(column, image, flaw, warning=True) for flaw in odd]
        seen.boxes[column] = boxes


def _undecided(flaw: Flaw) -> Flaw:
    fix = (
        "nobody knows which way its masks or boxes were drawn: look at them, save the image upright without the tag, "
        "and turn them if they don't fit."
    )
    return Flaw(flaw.what, fix, repairable=False, turns=True)
