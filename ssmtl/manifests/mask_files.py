"""Mask files of a manifest: maps of class numbers, and the pictures of such maps that people save instead."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ssmtl.datasets.decode import load_image
from ssmtl.datasets.index_maps import numbers_in
from ssmtl.errors import DataError
from ssmtl.manifests.palettes import Color, shown_colors
from ssmtl.manifests.pictures import Flaw, halves
from ssmtl.task import IGNORE_INDEX

REPAIR = "mask"

_SIXTEEN = ("I;16", "I;16B", "I;16L", "I")
_NUMBERS = "8-bit gray or palette, a class number a pixel"


class MaskLook(NamedTuple):
    """What a mask file holds: its (height, width), the numbers in it, the colors of its palette, and what is wrong."""

    size: tuple[int, int] = (0, 0)
    values: tuple[int, ...] = ()
    colors: tuple[tuple[int, Color], ...] = ()
    flaws: tuple[Flaw, ...] = ()


def look_at_mask(path: Path, classes: tuple[str, ...]) -> MaskLook:
    """Decode a mask completely, and say everything that keeps a reader from taking it for a map of `classes`."""
    try:
        image = load_image(path, deep=True)
    except DataError as error:
        return MaskLook(flaws=(Flaw(*halves(error, path), repairable=False),))
    flaws = []
    numbers = class_numbers(image)
    if image.mode not in ("L", "P"):
        what = f"is a mask with pixels of mode {image.mode}, but {_NUMBERS}, was expected"
        if numbers is None:
            fix = "use the original map: a colored picture of it doesn't say which color is which class."
        else:
            fix = "save the same numbers as 8-bit gray."
        flaws.append(Flaw(what, fix, repairable=numbers is not None))
    if numbers is None:
        return MaskLook((image.height, image.width), flaws=tuple(flaws))
    values = tuple(numbers_in(numbers).tolist())
    unknown = [value for value in values if value >= len(classes) and value != IGNORE_INDEX]
    if unknown and classes:
        flaws.append(_unknown(image, unknown, classes))
    return MaskLook((image.height, image.width), values, tuple(shown_colors(image, list(values))), tuple(flaws))


def class_numbers(image: Image.Image) -> UInt8[np.ndarray, "h w"] | None:
    """Return the numbers that an image holds where nothing but their storage is unusual; None where that is unclear.

    Unusual are one bit a pixel, 16 bits that 8 would do for, and three equal channels.
    """
    if image.mode in ("L", "P", "1"):
        return np.asarray(image).astype(np.uint8)
    if image.mode in _SIXTEEN:
        wide = np.asarray(image)
        return wide.astype(np.uint8) if wide.min() >= 0 and wide.max() <= IGNORE_INDEX else None
    if image.mode in ("LA", "RGB", "RGBA"):
        pixels = np.asarray(image.convert("RGBA"))
        plain = (pixels[..., :3] == pixels[..., :1]).all() and (pixels[..., 3] == IGNORE_INDEX).all()
        return pixels[..., 0] if plain else None
    return None


def _unknown(image: Image.Image, unknown: list[int], classes: tuple[str, ...]) -> Flaw:
    shown = ", ".join(map(str, unknown[:4])) + ", ..." * (len(unknown) > 4)
    known = ", ".join(f"{value} {name}" for value, name in enumerate(classes[:4])) + ", ..." * (len(classes) > 4)
    what = f"is a mask with the value {shown}, but it has the classes {known}, and {IGNORE_INDEX} for ignored pixels"
    if image.format == "JPEG":
        return Flaw(what, "save the original map as PNG: JPEG changes its numbers.", repairable=False)
    return Flaw(what, "correct the mask, or name all of its classes in the classes file.", repairable=False)
