"""What lies in a folder of somebody's data: images, masks beside them, and files that may say something of them."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias, TypeVar

from ssmtl.datasets.decode import SUFFIXES
from ssmtl.errors import DataError

K = TypeVar("K")

Key: TypeAlias = tuple[tuple[str, ...], str]
"""Folders that mean something, and a stem: what an image, its mask and its label file have in common."""

CONVERTED = "masks-index"
"""The folder of masks that were converted; the originals are never touched."""

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
IMAGE_WORDS = frozenset(("image", "images", "img", "imgs", "jpegimages", "photo", "photos", "picture", "pictures"))
MASK_WORDS = frozenset((
    "mask", "masks", "seg", "segmentation", "segmentations", "segmentationclass", "gt", "ground_truth", "groundtruth",
    "label", "labels", "annotation", "annotations", "target", "targets",
))  # fmt: skip
UNLABELED_WORDS = frozenset(("unlabeled", "unlabelled", "unannotated", "unsup", "unsupervised"))
_MASK_ENDINGS = ("_mask", "-mask", "_masks", "_segmentation", "_seg", "_label", "_labels", "_gt")
_LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")
_OURS = (".classes.json", ".checked.json", ".fixes.csv")
_SHOWN = 3


class LeftOut(NamedTuple):
    """Something that was not taken into the manifest, and why."""

    what: str
    why: str


class Finding(NamedTuple):
    """What a layout says: a phrase for people, and {image: cell} of the column `header`, with its class names.

    A finding with `classes` names all that its cells may hold, in their order. `name` is for telling columns of one
    form apart, where there are several.
    """

    what: str
    header: str
    cells: dict[str, str]
    classes: tuple[str, ...] = ()
    name: str = ""


class Reading(NamedTuple):
    """What one layout found, what it couldn't take, and which files it has read."""

    findings: tuple[Finding, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    read: frozenset[str] = frozenset()


def split_of(word: str) -> str | None:
    """Return the split that a word means, such as "train2017" or "Validation"."""
    return SPLIT_WORDS.get(word.casefold().rstrip("0123456789"))


def task_name(text: str) -> str:
    """Return a text as the name of a task, which is letters, digits and underscores; "" for words that name a form."""
    name = re.sub(r"\W+", "_", text.strip().casefold(), flags=re.ASCII).strip("_")
    if name in ("", "label", "class", "labels", "classes", "category", "target"):
        return ""
    return name if name[0].isalpha() else f"column_{name}"


def some(names: Iterable[str]) -> str:
    """Return the first names of many as text."""
    listed = list(names)
    rest = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")


@dataclass(frozen=True, eq=False)
class Inventory:
    """The files below `root`, as sorted paths relative to it with "/"; `masks` are {mask: its image}."""

    root: Path
    images: tuple[str, ...]
    masks: dict[str, str]
    others: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    @classmethod
    def of(cls, root: Path, ours: Iterable[Path] = ()) -> "Inventory":
        """Walk a folder; files of a manifest, `ours` among them, are passed over. Raises DataError without any image.

        Links are only followed to files below `root`.
        """
        if not root.is_dir():
            raise DataError(f"{root} is no folder; name the folder that holds your images.")
        root, passed = root.resolve(), {path.resolve() for path in ours}
        pictures, others, left_out, strange = [], [], [], Counter[str]()
        for path in _walk(root):
            name = path.relative_to(root).as_posix()
            if not _is_text(name):
                left_out.append(LeftOut(ascii(name), "its name is no UTF-8 text, as a table is; rename it"))
            elif path.is_symlink() and not (path.resolve().is_relative_to(root) and path.is_file()):
                left_out.append(LeftOut(name, "a link that leads out of the folder, or to no file; copy the file in"))
            elif path.suffix.lower() in SUFFIXES:
                pictures.append(name)
            elif path not in passed and not name.endswith(_OURS):
                others.append(name)
        if not pictures:
            strange.update(PurePosixPath(name).suffix.lower() or "no ending" for name in others)
            found = ", ".join(f"{count:,} {suffix}" for suffix, count in strange.most_common(4)) or "nothing"
            raise DataError(
                f"{root} holds no image ({', '.join(SUFFIXES)}), only {found}; name the folder that holds your images, "
                "or save them as PNG."
            )
        images, masks, alone = _pair(sorted(pictures))
        if alone:
            left_out.append(LeftOut(f"{len(alone):,} mask(s): {some(alone)}", "no image has the same name"))
        return cls(root, images, masks, tuple(sorted(others)), tuple(left_out))

    @cached_property
    def _by_key(self) -> dict[Key, list[str]]:
        return _index((key_of(image), image) for image in self.images)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _index((PurePosixPath(image).stem, image) for image in self.images)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _index((PurePosixPath(image).name, image) for image in self.images)

    @cached_property
    def _by_any_spelling(self) -> dict[str, list[str]]:
        return _index(
            (_spelling(word), image)
            for image in self.images
            for word in {PurePosixPath(image).name, PurePosixPath(image).stem}
        )

    @cached_property
    def _shared(self) -> int:
        """How many folders lie around all images: a spreadsheet may call these as it likes."""
        folders = [_told(image) for image in self.images]
        return _same_start(min(folders), max(folders))

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.images)

    def beside(self, path: str) -> str | None:
        """Return the one image that a file of the same stem belongs to, None where there is none or more than one."""
        return _only(self._by_key.get(key_of(path)) or self._by_stem.get(PurePosixPath(path).stem))

    def named(self, text: str, base: str = "") -> str | None:
        """Return the one image that a text names: a path from `root` or from the folder `base`, a name, or a stem.

        Of a path that leads elsewhere, such as on the computer of whoever wrote it, the last folders must be those of
        the image, but for folders around all images: where there is another folder beside it, `b/1.png` is never
        `a/1.png`. Capitals and codings of accents may differ where that is clear.
        """
        given = PurePosixPath(text.strip().replace("\\", "/"))
        for path in (given.as_posix(), (PurePosixPath(base) / given).as_posix()):
            if path in self._known:
                return path
        for known, name in (
            (self._by_name, given.name),
            (self._by_stem, given.name),
            (self._by_any_spelling, _spelling(given.name)),
        ):
            fitting = {image: fit for image in known.get(name, ()) if (fit := self._fit(image, given)) is not None}
            best = [image for image, fit in fitting.items() if fit == max(fitting.values())]
            if best:
                return _only(best)
        return None

    def all_named(self, texts: Sequence[str | None], base: str = "") -> list[str | None]:
        """Return the image that each text of one list names, as `named` does.

        The folder around all images may be called otherwise there, but then everywhere the same.
        """
        found = [self.named(text, base) if text else None for text in texts]
        roots = {place: self._root(text, found[place]) for place, text in enumerate(texts) if text and _told(text)}
        if len(set(roots.values()) - {None}) < 2:
            return found
        return [None if roots.get(place) else image for place, image in enumerate(found)]

    def _root(self, text: str, image: str | None) -> tuple[str, ...] | None:
        """Return what a text calls the folder around all images: nothing where it is right, None without an image."""
        if image is None:
            return None
        said, folders = _told(text), _told(image)
        shared = _alike(said, folders)
        return tuple(said[: len(said) - shared]) if shared < len(folders) and shared < len(said) else ()

    def _fit(self, image: str, given: PurePosixPath) -> int | None:
        """Return how many folders a path shares with an image at its end, None where they contradict each other."""
        said, folders = _told(given.as_posix()), _told(image)
        shared = _alike(said, folders)
        return shared if shared == len(said) or shared >= len(folders) - self._shared else None

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Return the other files with some endings."""
        return [name for name in self.others if name.lower().endswith(suffixes)]


def _spelling(name: str) -> str:
    """Return a name as it is in capitals or not, its accents coded one way: macOS takes letters and accents apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _told(path: str) -> list[str]:
    """Return the folders of a path that tell images apart, whatever their spelling."""
    parts = (_spelling(part) for part in PurePosixPath(path.strip().replace("\\", "/")).parent.parts)
    return [part for part in parts if part not in IMAGE_WORDS and part != ".." and not part.endswith(("/", ":"))]


def _alike(said: list[str], folders: list[str]) -> int:
    """Return how many folders two paths share at their ends."""
    return _same_start(said[::-1], folders[::-1])


def _same_start(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _is_text(name: str) -> bool:
    """Tell whether a name can be written as UTF-8; Python stands in for other bytes with half characters."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _walk(root: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(d for d in below if not d.startswith(".") and d not in (*_LITTER, CONVERTED))
        links = [name for name in below if Path(folder, name).is_symlink()]
        shown = (name for name in (*names, *links) if not name.startswith(".") and name not in _LITTER)
        yield from (Path(folder, name) for name in sorted(shown))


def key_of(path: str, *, words: frozenset[str] = IMAGE_WORDS | MASK_WORDS) -> Key:
    """Return a path without the folders that only say what kind of file lies in them, and without its ending."""
    pure = PurePosixPath(path)
    return tuple(part for part in pure.parent.parts if part.casefold() not in words), pure.stem


def _mask_key(path: str) -> Key | None:
    """Return the key of the image that a picture would be the mask of, None where its name doesn't say mask."""
    folders, stem = key_of(path)
    ending = next((ending for ending in _MASK_ENDINGS if stem.lower().endswith(ending)), "")
    bare = stem[: -len(ending)] if ending else stem
    in_mask_folder = any(part.casefold() in MASK_WORDS for part in PurePosixPath(path).parent.parts)
    return (folders, bare) if ending or in_mask_folder else None


def _pair(pictures: list[str]) -> tuple[tuple[str, ...], dict[str, str], list[str]]:
    """Tell images from masks: (images, {mask: image}, masks without an image).

    A name that says "mask" counts only where some image belongs to it: people also sort photographs by who wears one.
    """
    suspects = {path: key for path in pictures if (key := _mask_key(path)) is not None}
    plain = [path for path in pictures if path not in suspects]
    by_key, by_stem = _index((key_of(p), p) for p in plain), _index((PurePosixPath(p).stem, p) for p in plain)
    masks: dict[str, str] = {}
    for path, key in suspects.items():
        image = _only(by_key.get(key) or by_stem.get(key[1]) or by_stem.get(PurePosixPath(path).stem))
        if image is not None:
            masks[path] = image
    if not masks:
        return tuple(pictures), {}, []
    return tuple(plain), masks, [path for path in suspects if path not in masks]


def _index(pairs: Iterable[tuple[K, str]]) -> dict[K, list[str]]:
    found: dict[K, list[str]] = defaultdict(list)
    for key, path in pairs:
        found[key].append(path)
    return dict(found)


def _only(found: list[str] | None) -> str | None:
    return found[0] if found and len(found) == 1 else None
