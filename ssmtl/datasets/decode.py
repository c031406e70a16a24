"""Decoding of image files that strangers made: an 8-bit picture comes out, or one sentence that says why not."""

import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ssmtl.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
"""File name endings that readers take for images, in lower case."""

MORE_SUFFIXES = (*SUFFIXES, ".tif", ".tiff", ".webp")
"""Endings of what `ssmtl predict` takes: nobody drew labels on those files, so that a format may be a rare one."""

_SAVE, _EXPORT = "another image format; save it as PNG", "a medical format; export it as 8-bit PNG"
FOREIGN = {
    **dict.fromkeys((".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".ppm", ".pgm", ".tga", ".psd", ".exr"), _SAVE),
    **dict.fromkeys((".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"), "raw data of a camera; develop it to PNG"),
    **dict.fromkeys((".svg", ".eps"), "a drawing without pixels; export it as PNG"),
    **dict.fromkeys((".dcm", ".dicom", ".nii", ".nii.gz", ".mha", ".nrrd"), _EXPORT),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".czi"), "a slide of a microscope; export it as PNG"),
}
"""{ending: why} of files that show something, but that nobody here reads, and what to do about it."""

Alpha: TypeAlias = Literal["refuse", "over_black"]
Mask: TypeAlias = UInt8[np.ndarray, "h w"]

FORMATS = ("PNG", "JPEG", "BMP", "GIF")
"""Formats that readers take, as Pillow names them."""
MORE_FORMATS = (*FORMATS, "TIFF", "WEBP")
"""Formats that `ssmtl predict` takes."""
_SEVERAL_SHOTS = "MPO"
"""JPEG files of phones, whose first picture is what viewers show; `ssmtl predict` takes it, readers don't guess."""
_BITS_PER_SAMPLE = 258  # the tag of a TIFF file
_PNG_DEPTH = 24  # offset of the bit depth in a PNG file: Pillow decodes 16-bit color to 8 bits without a word
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def decode_image(path: Path, alpha: Alpha = "refuse", formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Return the picture in an image file of one of the `formats`, in mode "L" (gray) or "RGB".

    `alpha` says what happens to a file with transparency: "refuse" it, or lay it "over_black". Raises DataError for a
    file that is missing, empty, damaged, truncated, animated, not an image, not 8-bit gray or RGB, or has more pixels
    than Pillow's limit against decompression bombs.
    """
    image = load_image(path, formats=formats)
    if image.has_transparency_data:
        if alpha == "refuse":
            raise DataError(
                f"{path} has transparency (mode {image.mode}), but an opaque gray or RGB image was expected; "
                "save it without an alpha channel, or set alpha='over_black' in its reader."
            )
        opaque = image.convert("RGBA")
        black = Image.new("RGBA", opaque.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, opaque).convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P":
        return image.convert("RGB")
    raise DataError(
        f"{path} has pixels of mode {image.mode}, but 8-bit gray or RGB was expected; "
        "map the range that matters to 0..255 and save it as an 8-bit PNG."
    )


def decode_mask(path: Path, threshold: int | None = None) -> Mask:
    """Return a mask file as 0 (background) and 1 (foreground).

    The file may hold two values, 0 and any other one. Anything else is soft, lossy or shows several classes, and is
    refused with DataError, unless `threshold` is given: then gray levels of at least `threshold` are foreground.
    """
    levels = np.asarray(decode_image(path, alpha="over_black").convert("L"))
    if threshold is not None:
        return (levels >= threshold).astype(np.uint8)
    values = np.unique(levels)
    if len(values[values > 0]) > 1:
        found = ", ".join(str(value) for value in values[:4]) + (", ..." if len(values) > 4 else "")
        raise DataError(
            f"{path} has the gray levels {found}, but a mask of 0 and one other value was expected; "
            "save it as a two-valued PNG, or set mask_threshold (such as 128) in its reader."
        )
    return (levels > 0).astype(np.uint8)


def decode_raw(path: Path, shape: tuple[int, int], bits: int) -> Image.Image:
    """Return a headerless film of big-endian uint16 pixels, [height, width], inverted and scaled to 8 bits.

    A stored 0 becomes 255 and the highest value of `bits` significant bits becomes 0. Raises DataError for a file of
    another length, or with a pixel that needs more bits.
    """
    expected = shape[0] * shape[1] * 2
    _refuse_unreadable(path)
    if path.stat().st_size != expected:
        raise DataError(
            f"{path} has {path.stat().st_size} bytes, but {expected} were expected ({shape[0]}x{shape[1]} pixels of 2 "
            "bytes, no header); fetch the file again, or unpack it if it is compressed."
        )
    stored, top = np.fromfile(path, dtype=">u2").reshape(shape), 2**bits - 1
    if stored.max() > top:
        raise DataError(
            f"{path} has a pixel of {stored.max()}, but at most {top} was expected ({bits} bits, big-endian); the "
            "bytes may have been swapped: fetch the original file."
        )
    levels = np.rint((top - np.arange(top + 1)) * (255 / top)).astype(np.uint8)
    return Image.fromarray(levels[stored])


def load_image(path: Path, *, deep: bool = False, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Open and decode a file completely, in the mode that it is stored in; 16-bit pixels only when `deep`.

    Raises DataError as `decode_image` does for a file that is missing, damaged, animated, not an image, or too large.
    """
    _refuse_unreadable(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=formats)
        with image:
            if image.format != _SEVERAL_SHOTS or formats == FORMATS:
                _refuse_frames(path, image)
            if not deep:
                _refuse_depth(path, image)
            image.load()
            return image
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(
            f"{path} claims more than {Image.MAX_IMAGE_PIXELS} pixels, which is refused as a decompression bomb; "
            "if it is a real image, save it smaller."
        ) from None
    except UnidentifiedImageError:
        known = f"{', '.join(formats[:-1])} or {formats[-1]}"
        raise DataError(f"{path} is not a {known} image; convert it, or take it out.") from None
    except _BROKEN as error:
        raise DataError(f"{path} is damaged or truncated ({error}); fetch it again, or take it out.") from error


def _refuse_unreadable(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing or not a file; restore it, or take it out of the lists that name it.")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path} may not be read; check its permissions.")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes), but an image was expected; fetch it again, or take it out.")


def _refuse_frames(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise DataError(f"{path} is animated ({frames} frames), but one still image was expected; save one frame.")


def _refuse_depth(path: Path, image: Image.Image) -> None:
    if image.mode.startswith(("I", "F")) or _depth(path, image) > 8:
        raise DataError(
            f"{path} has 16-bit pixels (mode {image.mode}), but 8-bit gray or RGB was expected; map the range that "
            "matters to 0..255 and save it as an 8-bit PNG."
        )


def _depth(path: Path, image: Image.Image) -> int:
    """Return the bits of a color where Pillow would cut them to 8 without a word."""
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))
    return _png_depth(path) if image.format == "PNG" else 8


def _png_depth(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(_PNG_DEPTH + 1)[_PNG_DEPTH]
