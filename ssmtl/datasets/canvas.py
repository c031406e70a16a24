"""Bringing images and masks of any size to a canvas, so that one batch holds one size."""

from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ssmtl.task import IGNORE_INDEX

Fit: TypeAlias = Literal["stretch", "pad"]


def shown_size(source: tuple[int, int], canvas: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Return the (height, width) of the canvas that an image of `source` (height, width) fills.

    "stretch" fills it all; "pad" keeps the aspect ratio and touches the canvas in at least one direction.
    """
    if fit == "stretch":
        return canvas
    scale = min(canvas[0] / source[0], canvas[1] / source[1])
    return min(canvas[0], max(1, round(source[0] * scale))), min(canvas[1], max(1, round(source[1] * scale)))


def place_image(
    image: Image.Image, canvas: tuple[int, int], channels: int, shown: tuple[int, int]
) -> UInt8[np.ndarray, "c H W"]:
    """Return an "L" or "RGB" picture on the canvas: antialiased to `shown` (height, width), top left, zeros outside.

    One channel is the luma of ITU-R 601-2, three channels repeat a gray picture.
    """
    height, width = shown
    flat = image.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.zeros((channels, *canvas), dtype=np.uint8)
    pixels[:, :height, :width] = np.atleast_3d(np.asarray(flat)).transpose(2, 0, 1)
    return pixels


def place_mask(
    mask: UInt8[np.ndarray, "h w"], canvas: tuple[int, int], shown: tuple[int, int]
) -> UInt8[np.ndarray, "H W"]:
    """Return a map of class indices on the canvas: nearest to `shown` (height, width), top left, 255 outside."""
    height, width = shown
    placed = np.full(canvas, IGNORE_INDEX, dtype=np.uint8)
    placed[:height, :width] = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    return placed
