"""What the names of folders say of the images in them: a split, and a class, a group or a source."""

from collections import Counter
from pathlib import PurePosixPath
from typing import Literal, TypeAlias

from ssmtl.manifests.layouts.inventory import (
    IMAGE_WORDS,
    UNLABELED_WORDS,
    Finding,
    Inventory,
    LeftOut,
    Reading,
    some,
    split_of,
)

Meaning: TypeAlias = Literal["auto", "class", "group", "source", "nothing"]
"""What folders are: "auto" takes them for classes, or for groups where there are many with few images in each."""

_MANY_FOLDERS = 20
_FEW_IMAGES = 4


def read_folder_names(inventory: Inventory, meaning: Meaning = "auto") -> Reading:
    """Read `class/*` and `{train,val,test}/class/*`; folders such as `images` and `unlabeled` mean no class."""
    splits: dict[str, str] = {}
    folders: dict[str, str] = {}
    deep: list[str] = []
    for image in inventory.images:
        split, rest = _parts(image)
        if split:
            splits[image] = split
        if len(rest) == 1:
            folders[image] = rest[0]
        elif rest and not any(part.casefold() in UNLABELED_WORDS for part in rest):
            deep.append(image)
    folders = {image: name for image, name in folders.items() if name.casefold() not in UNLABELED_WORDS}
    findings = []
    if meaning != "nothing":
        findings += _of_folders(folders, meaning)
    if splits:
        each = Counter(splits.values())
        shown = ", ".join(f"{each[name]:,} {name}" for name in ("train", "val", "test") if name in each)
        findings.append(Finding(f"splits from folder names: {shown}", "split", splits))
    left_out = []
    if deep and meaning != "nothing":
        why = f"several folders deep, such as {deep[0]}: no class was read from their names"
        left_out.append(LeftOut(f"the folders of {len(deep):,} image(s)", why))
    return Reading(tuple(findings), tuple(left_out))


def _parts(image: str) -> tuple[str | None, list[str]]:
    """Return the split that the folders of an image name, and those that name something else."""
    split, rest = None, []
    for part in PurePosixPath(image).parent.parts:
        if split is None and split_of(part):
            split = split_of(part)
        elif part.casefold() not in IMAGE_WORDS:
            rest.append(part)
    return split, rest


def _of_folders(folders: dict[str, str], meaning: Meaning) -> list[Finding]:
    each = Counter(folders.values())
    if len(each) < 2:
        return []
    if meaning == "auto":
        small = len(each) > _MANY_FOLDERS and len(folders) < _FEW_IMAGES * len(each)
        meaning = "group" if small else "class"
    shown = some(f"{name} ({count:,})" for name, count in sorted(each.items()))
    if meaning == "class":
        return [Finding(f"classes from folder names: {shown}", "label", folders, tuple(sorted(each)), "folder")]
    return [Finding(f"{meaning}s from folder names: {shown}", meaning, folders)]
