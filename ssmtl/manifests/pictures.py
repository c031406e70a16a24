"""Image files that can't be trained on as they are: what is wrong with one, and a copy without it."""

import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ssmtl.datasets.decode import load_image
from ssmtl.errors import DataError

REPAIR = "picture"
LEAST_LEVELS = 64
"""Gray levels that must be left of a 16-bit picture when its whole range becomes 0..255."""

_READABLE = ("L", "RGB", "1", "P")
_OTHER_FORMATS = ("TIFF", "WEBP", "PPM", "JPEG2000", "JPEG")
_ORIENTATION = 0x0112
_TURNED = {2: "mirrored", 3: "upside down", 4: "flipped", 5: "transposed", 6: "turned", 7: "transposed", 8: "turned"}
_PNG_DEPTH = 24
_SIXTEEN = ("I;16", "I;16B", "I;16L")
_TOP = 65_535


class Flaw(NamedTuple):
    """Something about an image, in the words of a `Problem`; `movable` says whether a copy would be shown turned."""

    what: str
    fix: str
    repairable: bool
    turns: bool = False


class Look(NamedTuple):
    """What is known of an image file: its pixels where they can be read, and its flaws."""

    image: Image.Image | None
    flaws: tuple[Flaw, ...]


def look(path: Path) -> Look:
    """Decode an image file completely, and say everything that keeps a reader from taking it.

    Files with too many pixels are known by their header and never decoded.
    """
    flaws: list[Flaw | None] = []
    try:
        image = load_image(path, deep=True)
    except DataError as error:
        other = _other_format(path)
        flaws.append(Flaw(*halves(error, path), repairable=other is not None))
        if other is None:
            return Look(None, tuple(flaw for flaw in flaws if flaw))
        image = other
    flaws += [_depth(path, image), _mode(image), _turned(image)]
    return Look(image, tuple(flaw for flaw in flaws if flaw))


def halves(error: DataError, path: Path) -> tuple[str, str]:
    """Return the sentence of a reader as what was found, without the file's name, and what to do about it."""
    what, _, fix = str(error).replace(f"{path} ", "", 1).partition("; ")
    return what, fix or "correct it, or take it out."


def _other_format(path: Path) -> Image.Image | None:
    """Return a still image in a format that readers refuse, or the first of several shots; None for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_OTHER_FORMATS)
        with image:
            if image.format == "JPEG" or (image.format != "MPO" and getattr(image, "n_frames", 1) > 1):
                return None
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def _depth(path: Path, image: Image.Image) -> Flaw | None:
    if image.mode in ("I", "F"):
        what = f"has {'32-bit' if image.mode == 'I' else 'floating point'} pixels, but 8 bits were expected"
        return Flaw(what, "map the range that matters to 0..255 and save it as an 8-bit PNG.", repairable=False)
    if image.mode in _SIXTEEN:
        pixels = np.asarray(image)
        low, high = int(pixels.min()), int(pixels.max())
        what = f"has 16-bit pixels ({low}..{high} of 0..{_TOP}), but 8 bits were expected"
        if (high - low) * 255 / _TOP < LEAST_LEVELS - 1:
            fix = f"map {low}..{high}, or the part of it that matters, to 0..255 and save it as an 8-bit PNG."
            return Flaw(what, fix, repairable=False)
        return Flaw(what, f"map 0..{_TOP} to 0..255 and save it as an 8-bit PNG.", repairable=True)
    if _is_deep_color(path, image):
        what = f"has 16-bit pixels (mode {image.mode}), but 8 bits were expected"
        return Flaw(what, f"map 0..{_TOP} to 0..255 and save it as an 8-bit PNG.", repairable=True)
    return None


def _mode(image: Image.Image) -> Flaw | None:
    if image.has_transparency_data:
        what = f"has transparency (mode {image.mode}), but an opaque gray or RGB image was expected"
        return Flaw(what, "save it without an alpha channel, laid over black.", repairable=True)
    if image.mode == "CMYK":
        what = "has the colors of print (mode CMYK), but gray or RGB was expected"
        return Flaw(what, "convert it to RGB.", repairable=True)
    if image.mode in (*_READABLE, *_SIXTEEN, "I", "F"):
        return None
    return Flaw(f"has pixels of mode {image.mode}, but gray or RGB was expected", "convert it to RGB.", repairable=True)


def _turned(image: Image.Image) -> Flaw | None:
    """Viewers turn such images, training doesn't: whoever drew labels may have seen the one or the other."""
    orientation = _orientation(image)
    if orientation not in _TURNED:
        return None
    what = (
        f"has the EXIF orientation {orientation} ({_TURNED[orientation]}): viewers turn it, training takes the pixels "
        "as they are stored"
    )
    return Flaw(what, "save its pixels upright, without the tag.", repairable=True, turns=True)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        # Damaged EXIF data says nothing, to viewers neither.
        return 1


def _is_deep_color(path: Path, image: Image.Image) -> bool:
    """Tell whether a PNG file holds 16-bit color, which Pillow decodes to 8 bits without a word."""
    if image.format != "PNG":
        return False
    with path.open("rb") as file:
        return file.read(_PNG_DEPTH + 1)[_PNG_DEPTH] > 8


def repaired(path: Path) -> tuple[Image.Image, list[str]]:
    """Return an upright, opaque 8-bit gray or RGB copy of an image, and what was done to get it.

    Raises DataError for a file whose flaws can't be repaired.
    """
    done = []
    image = _other_format(path)
    if image is None:
        image = load_image(path, deep=True)
    else:
        done.append(f"{image.format} to PNG" + (", its first picture" if image.format == "MPO" else ""))
    if _turned(image):
        done.append(f"EXIF orientation {_orientation(image)} applied")
        image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN:
        done.append(f"16-bit gray, 0..{_TOP} to 0..255")
        image = Image.fromarray(np.rint(np.asarray(image) * (255 / _TOP)).astype(np.uint8))
    elif _is_deep_color(path, image):
        done.append(f"16-bit color, 0..{_TOP} to 0..255 (the higher 8 bits)")
    if image.has_transparency_data:
        done.append(f"{image.mode} laid over black, to RGB")
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, (0, 0, 0, 255)), opaque).convert("RGB")
    elif image.mode not in _READABLE:
        done.append(f"{image.mode} to RGB, without a color profile")
        image = image.convert("RGB")
    return image, done
