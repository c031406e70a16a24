"""Boxes as annotation tools write them: COCO, YOLO and Pascal VOC files, turned into cells of a manifest."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml
from PIL import Image

from ssmtl.datasets.box_columns import Numbers
from ssmtl.datasets.json_files import read_json
from ssmtl.datasets.voc import voc_objects
from ssmtl.errors import DataError
from ssmtl.manifests.layouts.inventory import Finding, Inventory, LeftOut, Reading, some
from ssmtl.manifests.notations import corners, dump

_COCO_PARTS = ("images", "annotations", "categories")
_NAME_LISTS = ("classes.txt", "obj.names", "names.txt", "labels.txt", "predefined_classes.txt")
_OUTLINE = 7
"""Numbers of the shortest line of a YOLO outline: a class and three points."""


def read_coco_files(inventory: Inventory) -> Reading:
    """Read every JSON file in COCO's form; cells name the file where it lists images by their bare names."""
    findings, left_out, read = [], [], set()
    for path in inventory.with_suffix(".json"):
        try:
            document = read_json(inventory.root / path, without=("segmentation", "keypoints", "caption"))
            if not isinstance(document, dict) or not all(isinstance(document.get(p), list) for p in _COCO_PARTS):
                continue
            bare = sum(not entry.get("bbox") for entry in document["annotations"])
            if bare:
                left_out.append(LeftOut(path, _without_boxes(bare, len(document["annotations"]))))
                continue
            finding, lost = _of_coco(inventory, path, document)
        except (DataError, KeyError, TypeError, ValueError) as error:
            left_out.append(LeftOut(path, f"looks like COCO, but is damaged ({error})"))
            continue
        read.add(path)
        left_out += lost
        if finding.cells:
            findings.append(finding)
    return Reading(tuple(findings), tuple(left_out), frozenset(read))


def _without_boxes(bare: int, annotations: int) -> str:
    return (
        f"{bare:,} of its {annotations:,} annotations have no 'bbox', perhaps only outlines; write each one's box into "
        "it, or save the outlines as masks"
    )


def _of_coco(inventory: Inventory, path: str, document: dict[str, Any]) -> tuple[Finding, list[LeftOut]]:
    """Return what a file says, and what had to be left out: images that aren't there or are unclear, and crowds."""
    names = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
    boxes: dict[Any, list[tuple[str, Numbers]]] = defaultdict(list)
    crowds = Counter[Any]()
    for entry in document["annotations"]:
        x, y, width, height = (float(side) for side in entry["bbox"])
        if entry.get("iscrowd"):
            crowds[entry["image_id"]] += 1
        else:
            boxes[entry["image_id"]].append((names[entry["category_id"]], (x, y, x + width, y + height)))
    base = PurePosixPath(path).parent.as_posix()
    images = {entry["id"]: str(entry["file_name"]) for entry in document["images"]}
    found = dict(zip(images, inventory.all_named(list(images.values()), base), strict=True))
    missing = [images[key] for key, image in found.items() if image is None]
    entries = Counter(image for image in found.values() if image)
    twice = sorted(image for image, count in entries.items() if count > 1)
    found = {key: None if image in twice else image for key, image in found.items()}
    by_path = not missing and not twice and all("/" not in name for name in images.values())
    cells = {image: path if by_path else dump(boxes[key]) for key, image in found.items() if image is not None}
    taken = [key for key, image in found.items() if image is not None]
    crowded = sum(crowds[key] for key in taken)
    count = sum(len(boxes[key]) for key in taken) + (crowded if by_path else 0)
    lost = []
    if missing:
        lost.append(LeftOut(f"{len(missing):,} image(s) of {path}: {some(missing)}", "not in the folder"))
    if twice:
        why = f"several entries of {path} could mean each; a folder of other images may be missing"
        lost.append(LeftOut(f"the boxes of {len(twice):,} image(s): {some(twice)}", why))
    if crowded and not by_path:
        why = "a cell of boxes can't say that one of them holds many things"
        lost.append(LeftOut(f"{crowded:,} crowd(s) of {path}", why))
    what = f"{count:,} boxes of {len(cells):,} image(s) in the COCO file {path}"
    return Finding(what, "boxes", cells, tuple(dict.fromkeys(names.values())), "coco"), lost


def read_yolo_files(inventory: Inventory) -> Reading:
    """Read the .txt files beside images, or in `labels/`; an empty file says that nothing is there.

    Lines with more than five numbers are outlines, whose bounding boxes are taken, or boxes with the points of a body
    where data.yaml has `kpt_shape`. Class names come from data.yaml, classes.txt or obj.names.
    """
    names, source = _class_names(inventory)
    pose = _tells_points(inventory)
    lists = frozenset(path for path in inventory.others if PurePosixPath(path).name in _NAME_LISTS)
    read, cells, left_out, count, used = set[str](), dict[str, str](), [], 0, set[int]()
    for path in inventory.with_suffix(".txt"):
        image = None if path in lists else inventory.beside(path)
        if image is None:
            continue
        try:
            rows = _yolo_rows((inventory.root / path).read_text(encoding="utf-8-sig"), pose=pose)
            boxes = _in_pixels(inventory, image, rows)
        except (ValueError, OSError) as error:
            left_out.append(LeftOut(path, f"no YOLO file of class, center x and y, width and height ({error})"))
            continue
        read.add(path)
        used.update(label for label, _ in rows)
        cells[image] = dump([(_name(names, label), box) for (label, _), box in zip(rows, boxes, strict=True)])
        count += len(rows)
    if not cells:
        return Reading()
    if "" in names:
        blank = LeftOut(f"{count:,} boxes of YOLO files", _no_name(names, source))
        return Reading((), (*left_out, blank), frozenset(read) | lists)
    classes = tuple(_name(names, label) for label in range(max(len(names), max(used, default=-1) + 1)))
    named = f"class names from {source}" if source else "no file names their classes: name them in the classes file"
    what = f"{count:,} boxes of {len(cells):,} image(s) in YOLO files; {named}"
    return Reading(
        (Finding(what, "boxes", cells, classes, "yolo"),),
        tuple(left_out),
        frozenset(read) | lists | ({source} if source else frozenset()),
    )


def _yolo_rows(text: str, *, pose: bool) -> list[tuple[int, Numbers]]:
    """Return (class, (center x, center y, width, height)) of the lines of a file; raises ValueError for any other.

    With `pose` the points of a body stand behind each box; lines of an outline have points and no box.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        label, values = int(fields[0]), [float(field) for field in fields[1:]]
        if pose:
            values = values[:4]
        elif len(fields) >= _OUTLINE and len(fields) % 2:
            x, y = values[0::2], values[1::2]
            values = [(min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y)]
        if label < 0 or len(values) not in (4, 5) or not all(-0.1 <= value <= 1.1 for value in values[:4]):
            raise ValueError(f"line {number}: {line[:40]!r}")
        rows.append((label, (values[0], values[1], values[2], values[3])))
    return rows


def _in_pixels(inventory: Inventory, image: str, rows: Sequence[tuple[int, Numbers]]) -> list[Numbers]:
    if not rows:
        return []
    with Image.open(inventory.root / image) as opened:
        width, height = opened.size
    found = (corners(numbers, "yolo", None, (height, width)) for _, numbers in rows)
    return [box for box in found if box is not None]


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else f"class{label}"


def _no_name(names: Sequence[str], source: str | None) -> str:
    place = list(names).index("")
    return (
        f"line {place + 1} of {source} is blank: is class {place} without a name, or '{names[place + 1]}'? Write a "
        "name there, or take the line out"
    )


def _settings(inventory: Inventory) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the YAML files of a folder that hold settings, as data.yaml does."""
    for path in inventory.with_suffix(".yaml", ".yml"):
        try:
            found = yaml.safe_load((inventory.root / path).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(found, dict):
            yield path, found


def _tells_points(inventory: Inventory) -> bool:
    """Tell whether the files of a YOLO set hold points of bodies behind their boxes."""
    return any("kpt_shape" in found for _, found in _settings(inventory))


def _class_names(inventory: Inventory) -> tuple[tuple[str, ...], str | None]:
    """Return the class names that a file of a YOLO set gives, "" for a blank line between names, and which file."""
    for path, found in _settings(inventory):
        names = found.get("names")
        if isinstance(names, dict) and all(isinstance(label, int) for label in names):
            names = [names.get(label, f"class{label}") for label in range(max(names, default=-1) + 1)]
        if isinstance(names, list):
            return tuple(str(name) for name in names), path
    for path in inventory.others:
        if PurePosixPath(path).name in _NAME_LISTS:
            lines = (inventory.root / path).read_text(encoding="utf-8-sig", errors="replace").rstrip().splitlines()
            return tuple(line.strip() for line in lines), path
    return (), None


def read_voc_files(inventory: Inventory) -> Reading:
    """Read the XML files of Pascal VOC, as LabelImg writes them too: beside images, or in `Annotations/`.

    "Difficult" objects are taken like any other, since a cell of a manifest has no word for them.
    """
    cells, left_out, names, read, count, difficult = dict[str, str](), [], set[str](), set[str](), 0, 0
    for path in inventory.with_suffix(".xml"):
        image = inventory.beside(path)
        if image is None:
            left_out.append(LeftOut(path, "no image has the same name"))
            continue
        try:
            _, objects = voc_objects(inventory.root / path)
        except DataError as error:
            left_out.append(LeftOut(path, str(error).replace(f"{inventory.root / path} ", "", 1)))
            continue
        read.add(path)
        boxes = [(thing.name, (max(thing.box[0], 0.0), max(thing.box[1], 0.0), *thing.box[2:])) for thing in objects]
        cells[image] = dump(boxes)
        names.update(name for name, _ in boxes)
        count += len(boxes)
        difficult += sum(thing.difficult for thing in objects)
    if not cells:
        return Reading((), _joined(left_out))
    if difficult:
        left_out.append(LeftOut(f"the mark 'difficult' of {difficult:,} object(s)", "they are boxes like any other"))
    what = f"{count:,} boxes of {len(cells):,} image(s) in Pascal VOC files"
    finding = Finding(what, "boxes", cells, tuple(sorted(names)), "voc")
    return Reading((finding,), _joined(left_out), frozenset(read))


def _joined(left_out: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    """Return things that were left out for one reason as one."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for thing in left_out:
        by_reason[thing.why].append(thing.what)
    return tuple(LeftOut(some(things), why) for why, things in by_reason.items())
