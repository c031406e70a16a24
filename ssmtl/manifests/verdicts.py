"""What can be said only after all rows were read: contradictions between them, and what a whole column means."""

from collections import Counter

import numpy as np

from ssmtl.errors import DataError
from ssmtl.manifests.box_cells import REPAIR as BOXES
from ssmtl.manifests.box_cells import turned
from ssmtl.manifests.columns import Column
from ssmtl.manifests.consistency import leaked, same_bytes, same_hashes, torn_groups
from ssmtl.manifests.ledger import WHOLE
from ssmtl.manifests.mask_files import REPAIR as MASK
from ssmtl.manifests.problems import Repair
from ssmtl.manifests.row_check import CLASS, RowCheck
from ssmtl.manifests.spelling import names_in, respelled, spelled_alike
from ssmtl.manifests.split import SPLITS

DUPLICATE = "duplicate"
FEWEST_LABELS = 2

DIVIDE_AGAIN = (
    "`ssmtl data split FILE --again` divides the data anew; or correct the split, or take one of the rows out."
)


def judge(rows: RowCheck) -> None:
    """Write down all that the rows show together."""
    if not len(rows.sheet):
        rows.ledger.add(WHOLE, "has a header, but no row", "add a row for every image, or let `ssmtl data init` do it.")
    _repeated(rows)
    _torn_groups(rows)
    _same_pictures(rows)
    _other_notations(rows)
    _doubted_boxes(rows)
    for column in rows.columns:
        if column.form == "mask":
            _masks(rows, column)
        elif column.form:
            _spellings(rows, column)
        if column.form:
            _rare_classes(rows, column)


def _repeated(rows: RowCheck) -> None:
    """Tell rows that are there twice from images that are there twice with different cells."""
    lines, copies = rows.sheet.lines, set()
    for row, other in same_hashes(np.array(rows.row_hashes)):
        copies.add(row)
        what = f"is the same as line {lines[other]}, cell for cell"
        rows.ledger.add(row, what, "take one of the two out.", repair=Repair(DUPLICATE, row, WHOLE))
    for row, other in same_hashes(np.array(rows.image_hashes)):
        if row in copies:
            continue
        differing = [
            name
            for place, name in enumerate(rows.sheet.header)
            if name != "image" and rows.sheet.cell(row, place) != rows.sheet.cell(other, place)
        ]
        what = f"lists an image that line {lines[other]} lists too, with different cells ({', '.join(differing[:4])})"
        fix = "decide which is right, and make one row of the two."
        rows.ledger.add(row, what, fix, file=_image(rows, row))


def _torn_groups(rows: RowCheck) -> None:
    if not {"group", "split"} <= rows.places.keys():
        return
    splits, lines = np.array(rows.splits), rows.sheet.lines
    for row, other, group in torn_groups(rows.sheet, rows.places["group"], splits):
        what = f"has the group '{group}' in {SPLITS[splits[row]]}, but line {lines[other]} in {SPLITS[splits[other]]}"
        rows.ledger.add(row, what, f"a group must not cross splits: {DIVIDE_AGAIN}")


def _same_pictures(rows: RowCheck) -> None:
    prints, splits, lines = rows.prints(), np.array(rows.splits), rows.sheet.lines
    images = np.array(rows.image_hashes)
    for row, other, _ in leaked(prints, splits):
        if images[row] == images[other]:
            continue
        same = (prints.sha256[row] == prints.sha256[other]).all()
        how = "is the same file as the image" if same else "shows the same picture as the image"
        what = f"is in {SPLITS[splits[row]]}, and {how} of line {lines[other]} in {SPLITS[splits[other]]}"
        rows.ledger.add(row, what, f"a score would measure memory: {DIVIDE_AGAIN}", file=_image(rows, row))
    for row, other, _ in same_bytes(prints, splits):
        if images[row] != images[other]:
            what = f"is byte by byte the image of line {lines[other]}"
            fix = "it counts double in training: take one out, unless both names are meant."
            rows.ledger.add(row, what, fix, file=_image(rows, row), warning=True)


def _image(rows: RowCheck, row: int) -> str | None:
    place = rows.places.get("image")
    return None if place is None else rows.sheet.cell(row, place)


def _other_notations(rows: RowCheck) -> None:
    kinds = {rows.places[column.header]: column.kind for column in rows.columns}
    for row, place, notation, size in rows.notations:
        evidence = rows.evidence[place]
        text, flaw = turned(notation, rows.given.get(kinds[place], ()), evidence.order, size)
        fix = flaw.fix
        if not fix and not all(size):
            fix = "repair the image first: without its size, fractions can't be turned into pixels."
        elif not fix:
            fix = (
                "say what the numbers are, with --box-numbers corners or --box-numbers size, for the "
                f"{evidence.boxes} boxes of the column {evidence.question()}; or write them as JSON."
            )
        repair = Repair(BOXES, row, place, text) if text is not None else None
        rows.ledger.add(row, flaw.what, fix, file=_image(rows, row), repair=repair)


def _doubted_boxes(rows: RowCheck) -> None:
    """Write down what boxes are instead of corners; raises DataError where that isn't what the caller says."""
    for place, doubts in rows.doubts.items():
        if doubts.told == "size" and doubts.cornered:
            raise DataError(
                f"--box-numbers size says that boxes are left, top, width, height, but in '{rows.sheet.header[place]}' "
                f"of {rows.sheet.path} those of {len(doubts.cornered):,} of {doubts.images:,} images lie in their "
                f"image as left, top, right, bottom only, the first in line {rows.sheet.lines[doubts.cornered[0]]}; "
                "leave --box-numbers out, or correct those boxes first."
            )
        for row, flaw, text in doubts.verdicts():
            repair = Repair(BOXES, row, place, text) if text is not None else None
            rows.ledger.add(row, flaw.what, flaw.fix, file=_image(rows, row), repair=repair)


def _masks(rows: RowCheck, column: Column) -> None:
    place, known = rows.places[column.header], rows.given.get(column.kind, ())
    masks = rows.masks[place]
    if masks.ignoring and not masks.teaching and len(known) > 1:
        what = (
            f"has {masks.files} masks in '{column.header}' that show only 0 {known[0]} and 255, which means ignored: "
            "nothing would be learned"
        )
        two = len(known) == 2
        fix = f"save them with 1 for {known[1]}, where 255 stands." if two else "save class numbers instead of 255."
        rows.ledger.add(WHOLE, what, fix, repair=Repair(MASK, WHOLE, place) if two else None)
    elif masks.bare and masks.teaching:
        what = (
            f"has {masks.bare} masks in '{column.header}' that show only 0 and 255, which means ignored, among others "
            "with classes"
        )
        fix = "look at some: where 255 was meant for a class, save them with its number."
        rows.ledger.add(WHOLE, what, fix, warning=True)
    for swap in masks.palettes.swaps():
        what = (
            f"is a mask whose palette has the color {swap.color} at value {swap.value}, but {swap.others} others of "
            f"'{column.header}' have it at {swap.usual}"
        )
        fix = "an editor may have reordered its palette: save it with the palette of the others."
        rows.ledger.add(swap.row, what, fix, file=rows.sheet.cell(swap.row, place))


def _spellings(rows: RowCheck, column: Column) -> None:
    """Without a classes file, names that differ only in blanks and capitals would be different classes."""
    if column.kind in rows.given:
        return
    place = rows.places[column.header]
    usual = spelled_alike(rows.names[place])
    if not usual:
        return
    for row, cells in rows.sheet.rows():
        for name in Counter(names_in(column, cells[place])):
            if name in usual:
                what = f"has the class '{name}' in '{column.header}', spelled '{usual[name]}' elsewhere"
                if usual[name] not in rows.names[place]:
                    what = f"has the class '{name}' in '{column.header}', with blanks around it"
                repair = Repair(CLASS, row, place, respelled(column, cells[place] or "", usual))
                rows.ledger.add(row, what, f"write '{usual[name]}'.", repair=repair)


def _rare_classes(rows: RowCheck, column: Column) -> None:
    counts = rows.tallies.classes.get(column.header, {})
    if not any(counter.total() for counter in counts.values()):
        what = f"has no label in '{column.header}': every cell of it is empty or can't be used"
        rows.ledger.add(WHOLE, what, "nothing to do, unless there should be some.", warning=True)
        return
    divided = "train" in rows.tallies.splits
    for name in rows.given.get(column.kind, tuple(sorted(rows.names.get(rows.places[column.header], ())))):
        images = rows.tallies.images(column.header, name)
        held_out = [f"{split} ({counts[name][split]})" for split in SPLITS[1:] if images and counts[name][split]]
        if divided and held_out and not counts[name]["train"]:
            what = f"has the class '{name}' in '{column.header}' only in {' and '.join(held_out)}, never in train"
            fix = "it is scored, but can't be learned: move one of its images to train, or label one there."
            rows.ledger.add(WHOLE, what, fix, warning=True)
        elif images < FEWEST_LABELS:
            what = f"has {images} image{'s' * (images != 1)} of the class '{name}' in '{column.header}'"
            fix = f"a class needs at least {FEWEST_LABELS}, one to train on and one to test on: label more, or drop it."
            rows.ledger.add(WHOLE, what, fix, warning=True)
