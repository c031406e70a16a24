"""Masks beside images: index maps as they are, and pictures of masks (0 and 255, colors) turned into index maps."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image
from rich.console import Console
from rich.progress import track

from ssmtl.datasets.decode import load_image
from ssmtl.errors import DataError
from ssmtl.manifests.layouts.inventory import (
    CONVERTED,
    Finding,
    Inventory,
    LeftOut,
    Reading,
    key_of,
    some,
    split_of,
    task_name,
)
from ssmtl.palette import BACKGROUND, PALETTE
from ssmtl.task import IGNORE_INDEX

R = TypeVar("R")

_MOST_VALUES = 64
"""Distinct values of a column from which on its masks are no maps of classes but photographs."""
_SOFT = 32
_HALF = 128
_GRAY = 0x010101


@dataclass(frozen=True)
class _Plan:
    """How the masks of a column become index maps: class by value; None where they are index maps already.

    With `threshold`, two classes are told apart at half brightness. Values are gray levels, or 0xRRGGBB where the
    masks are in `color`.
    """

    classes: tuple[str, ...]
    told: str
    values: tuple[int, ...] | None = None
    color: bool = False
    threshold: bool = False

    @property
    def converts(self) -> bool:
        return self.values is not None or self.threshold


@dataclass(frozen=True, eq=False)
class _Look:
    """The values of a mask, gray levels or 0xRRGGBB where it has colors; `soft` if nearly all are black or white."""

    values: Int64[np.ndarray, " k"]
    color: bool
    soft: bool
    lossy: bool


def read_masks(inventory: Inventory, *, convert: bool = True) -> Reading:
    """Read the masks of the inventory; ones that are no index maps are converted into the folder `masks-index`.

    Values 0 to k are classes, with 255 ignored. Two values, such as 0 and 255, are background and foreground; few gray
    levels or colors are a class each, in ascending order. Anything else is left out. Without `convert` nothing is
    written, and the cells are those that there would be.
    """
    findings, left_out = [], []
    for name, masks in _columns(inventory).items():
        looks, damaged = _survey(inventory.root, list(masks))
        left_out += damaged
        masks = {mask: image for mask, image in masks.items() if mask in looks}
        once: dict[str, str] = {}
        second = [mask for mask, image in masks.items() if once.setdefault(image, mask) != mask]
        if second:
            why = "another mask of the same image; unite them, or put them into folders of their own"
            left_out.append(LeftOut(f"{len(second):,} mask(s): {some(second)}", why))
        plan = _plan([looks[mask] for mask in once.values()], name) if once else None
        if isinstance(plan, str):
            left_out.append(LeftOut(f"{len(once):,} mask(s): {some(once.values())}", plan))
        elif plan is not None:
            cells = {image: _converted_name(mask) if plan.converts else mask for image, mask in once.items()}
            if plan.converts and convert:
                _convert(inventory.root, list(once.values()), plan)
            where = f"; converted into {CONVERTED}/, the originals stay as they are" if plan.converts else ""
            findings.append(Finding(f"{len(cells):,} masks, {plan.told}{where}", "mask", cells, plan.classes, name))
    return Reading(tuple(findings), tuple(left_out))


def _columns(inventory: Inventory) -> dict[str, dict[str, str]]:
    """Return {name of a column: {mask: image}}: masks in folders such as `masks/lung` are columns of their own."""
    columns: dict[str, dict[str, str]] = defaultdict(dict)
    for mask, image in inventory.masks.items():
        own = [part for part in key_of(mask)[0] if part not in key_of(image)[0] and not split_of(part)]
        columns[task_name("_".join(own))][mask] = image
    return dict(columns)


def _survey(root: Path, masks: Sequence[str]) -> tuple[dict[str, _Look], list[LeftOut]]:
    """Look at every mask; return the looks, and the files that can't be read."""
    looks, left_out = {}, []
    for mask, found in zip(masks, _in_threads(lambda mask: _look(root / mask), masks, "reading masks"), strict=True):
        if isinstance(found, DataError):
            left_out.append(LeftOut(mask, str(found).replace(f"{root / mask} ", "", 1)))
        else:
            looks[mask] = found
    return looks, left_out


def _in_threads(work: Callable[[str], R], masks: Sequence[str], what: str) -> Iterator[R]:
    console = Console(stderr=True)
    with ThreadPoolExecutor() as pool:
        yield from track(
            pool.map(work, masks), what, len(masks), console=console, transient=True, disable=not console.is_terminal
        )


def _look(path: Path) -> _Look | DataError:
    try:
        pixels, color = _pixels(path)
    except DataError as error:
        return error
    values, counts = np.unique(pixels, return_counts=True)
    extreme = (values <= _SOFT) | (values >= IGNORE_INDEX - _SOFT)
    return _Look(values, color, not color and bool(counts[extreme].sum() > 0.9 * counts.sum()), _is_lossy(path))


def _is_lossy(path: Path) -> bool:
    """Tell whether a file is in a format that changes numbers."""
    return path.suffix.lower() in (".jpg", ".jpeg")


def _pixels(path: Path) -> tuple[Int64[np.ndarray, "h w"], bool]:
    """Return the numbers of a mask, and whether they are colors; palette images are their indices."""
    image = load_image(path, deep=True)
    if image.mode in ("L", "P", "I", "I;16", "I;16B"):
        return np.asarray(image).astype(np.int64), False
    if image.mode in ("1", "LA"):
        return np.asarray(image.convert("L")).astype(np.int64), False
    rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    packed = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    gray = (rgb == rgb[..., :1]).all()
    return (rgb[..., 0], False) if gray else (packed, True)


def _plan(looks: Sequence[_Look], name: str) -> _Plan | str:
    """Return what the masks of one column mean, or why nobody can tell."""
    color = any(look.color for look in looks)
    gray = _GRAY if color else 1
    values = np.unique(np.concatenate([look.values * (1 if look.color else gray) for look in looks]))
    front = name or "foreground"
    if not color and _are_indices(values):
        k = int(values[values != IGNORE_INDEX].max()) + 1
        classes = (BACKGROUND, front) if k <= 2 else (BACKGROUND, *(f"class{index}" for index in range(1, k)))
        ignored = ", 255 is ignored" if IGNORE_INDEX in values else ""
        return _Plan(classes, f"index maps of {k} classes{ignored}")
    if len(values) == 1:
        return f"all show nothing but the value {values[0]}"
    if len(values) == 2 and values[0] == 0:
        return _Plan((BACKGROUND, front), f"0 and {_value(int(values[1]), color)}", tuple(values.tolist()), color)
    lossy = any(look.lossy for look in looks)
    if all(look.soft for look in looks) and (lossy or len(values) > _MOST_VALUES):
        return _Plan((BACKGROUND, front), "soft from black to white, cut at half brightness", threshold=True)
    if len(values) <= _MOST_VALUES and not lossy:
        first = BACKGROUND if values[0] == 0 else _named(int(values[0]), color)
        classes = (first, *(_named(int(value), color) for value in values[1:]))
        kind = "colors" if color else "gray levels"
        return _Plan(classes, f"{len(values)} {kind}, a class each", tuple(values.tolist()), color)
    return f"{len(values):,} different {'colors' if color else 'values'} are no classes; save them as index maps (PNG)"


def _are_indices(values: Int64[np.ndarray, " k"]) -> bool:
    """Tell whether values are small numbers, most of them used; 0 and 255 alone are black and white."""
    indices = values[values != IGNORE_INDEX]
    if not len(indices) or (len(indices) == 1 and IGNORE_INDEX in values):
        return False
    return bool(indices.max() < max(2, 2 * len(indices)))


def _value(value: int, color: bool) -> str:
    return f"the color #{value:06x}" if color else str(value)


def _named(value: int, color: bool) -> str:
    return f"color_{value:06x}" if color else f"level_{value}"


def _converted_name(mask: str) -> str:
    pure = PurePosixPath(mask)
    # The ending stays in the name: a.png and a.jpg must not become one file.
    suffix = "" if pure.suffix.lower() == ".png" else f"_{pure.suffix[1:].lower()}"
    return f"{CONVERTED}/{pure.with_name(f'{pure.stem}{suffix}.png').as_posix()}"


def _convert(root: Path, masks: Sequence[str], plan: _Plan) -> None:
    def write(mask: str) -> None:
        out = root / _converted_name(mask)
        out.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(_indices(root / mask, plan), "L")
        image.putpalette(_palette())
        image.save(out)

    for _ in _in_threads(write, masks, "converting masks"):
        pass


def _indices(path: Path, plan: _Plan) -> UInt8[np.ndarray, "h w"]:
    pixels, color = _pixels(path)
    if plan.threshold:
        return (pixels >= _HALF).astype(np.uint8)
    levels = pixels if color == plan.color else pixels * _GRAY
    return np.searchsorted(np.array(plan.values), levels).astype(np.uint8)


def _palette() -> list[int]:
    """Return the colors of index maps: black, then colors that people tell apart, and white for ignored pixels."""
    colors: Iterable[tuple[int, int, int]] = [(0, 0, 0), *PALETTE * 13][:IGNORE_INDEX]
    return [level for color in (*colors, (255, 255, 255)) for level in color]
