"""Predicting a large image in overlapping tiles, where memory is short for all of it at once."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from ssmtl.errors import RecipeError

OVERLAP = 0.25
"""Share of a tile's side that neighbors have in common."""

Predict: TypeAlias = Callable[[UInt8[Tensor, "n c h w"]], dict[str, Any]]


def in_tiles(
    predict: Predict,
    images: UInt8[Tensor, "n c H W"],
    tile: tuple[int, int],
    *,
    overlap: float = OVERLAP,
    stride: int = 1,
) -> dict[str, Float[Tensor, "n k H W"]]:
    """Return what `predict` says of tiles, put together: in an overlap, logits go over linearly from tile to tile.

    `tile` is (height, width) in pixels, cut down to the image where that is smaller; `overlap` is the least share of a
    side, in [0, 1), that neighbors have in common. Tiles start at multiples of `stride`, so that the cells of a network
    with that stride lie where they would on the whole image; only the last may not, which ends with the image, nor
    those so small that their overlap leaves less than a stride. A pixel
    whose receptive field lies in its tiles gets what it would get in one pass. Whatever a network pools over the image,
    it pools over the tile. Raises RecipeError for a task whose predictions aren't logits of pixels.
    """
    _check(tile, overlap)
    *_, height, width = images.shape
    rows = _axis(height, tile[0], overlap, stride)
    columns = _axis(width, tile[1], overlap, stride)
    whole: dict[str, Tensor] = {}
    for top, down in rows:
        for left, across in columns:
            window = (..., slice(top, top + len(down)), slice(left, left + len(across)))
            weight = (down[:, None] * across).to(images.device)
            for name, logits in predict(images[window]).items():
                if name not in whole:
                    _check_dense(name, logits, weight)
                    whole[name] = logits.new_zeros((*logits.shape[:2], height, width))
                whole[name][window] += logits * weight
    return whole


def _axis(length: int, tile: int, overlap: float, stride: int) -> list[tuple[int, Float32[Tensor, " side"]]]:
    """Return where the tiles of one axis start, and the weights of their pixels, which sum to 1 at every pixel."""
    side = min(tile, length)
    shared = int(side * overlap)
    step = (side - shared) // stride * stride or side - shared
    starts = [*range(0, length - side, step), length - side]
    pixels = torch.arange(length) + 0.5
    gains = [torch.ones(length), *(_gain(pixels, a, b, side) for a, b in pairwise(starts))]
    losses = [*gains[1:], torch.zeros(length)]
    return [
        (start, (gain - loss)[start : start + side]) for start, gain, loss in zip(starts, gains, losses, strict=True)
    ]


def _gain(pixels: Float32[Tensor, " length"], start: int, following: int, side: int) -> Float32[Tensor, " length"]:
    """Return the share, from 0 to 1, that has gone over from the tile at `start` to the ones from `following` on.

    It grows where the two overlap and between their centers, so that never more than one share is growing.
    """
    low = max(float(following), start + side / 2)
    high = min(float(start + side), following + side / 2)
    if low == high:
        return (pixels > low).float()
    return ((pixels - low) / (high - low)).clamp(0, 1)


def _check(tile: tuple[int, int], overlap: float) -> None:
    if min(tile) < 1:
        raise RecipeError(f"tiles of {tile} pixels (height, width) were asked for; give two sides of 1 or more.")
    if not 0 <= overlap < 1:
        raise RecipeError(f"tiles can't overlap by {overlap} of their side; give a share in [0, 1).")


def _check_dense(name: str, logits: Any, weight: Float32[Tensor, "h w"]) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[2:] != weight.shape:
        raise RecipeError(
            f"the task '{name}' can't be predicted in tiles: only logits of pixels can be put together; "
            "score it on whole images, in a split of its own."
        )
