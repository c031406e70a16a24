"""Images made in memory that a small network can learn: disks on noise."""

import numpy as np
import torch
from jaxtyping import Bool, Float64, UInt8
from torch import Tensor

from ssmtl import keyed


def disks(
    radii: Float64[np.ndarray, " n"], seed: int, *, channels: int, size: tuple[int, int]
) -> tuple[UInt8[Tensor, "n c h w"], Bool[Tensor, "n h w"]]:
    """Return images of one bright disk each and its mask; `radii` are fractions of the shorter side.

    Row i depends on `seed`, i and its own radius only.
    """
    n, (height, width) = len(radii), size
    rows = np.arange(n)
    center = 0.4 + 0.2 * keyed.uniform(keyed.key("disk", seed), rows, 2)
    y = (np.arange(height) + 0.5)[None, :, None] - center[:, 0, None, None] * height
    x = (np.arange(width) + 0.5)[None, None, :] - center[:, 1, None, None] * width
    masks = np.hypot(y, x) <= (radii * min(size))[:, None, None]
    noise = keyed.uniform(keyed.key("noise", seed), rows, channels * height * width)
    images = 40 + 60 * noise.reshape(n, channels, height, width) + 110 * masks[:, None]
    return torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(masks)


def stripes(
    n: int, classes: int, seed: int, *, channels: int, size: tuple[int, int]
) -> tuple[UInt8[Tensor, "n c h w"], Bool[Tensor, "n k"]]:
    """Return images on noise with a bright column of pixels for each class that is there, and which ones are.

    Row 0 shows none and row 1 all; further ones are drawn, each by `seed` and its number alone.
    """
    rows, (height, width) = np.arange(n), size
    there = keyed.uniform(keyed.key("stripes", seed), rows, classes) < 0.5
    there[rows == 0], there[rows == 1] = False, True
    noise = keyed.uniform(keyed.key("noise", seed), rows, channels * height * width)
    images = 40 + 60 * noise.reshape(n, channels, height, width)
    for k in range(classes):
        inside = slice(k * width // classes, k * width // classes + max(1, width // (2 * classes)))
        images[there[:, k], :, :, inside] += 110
    return torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(there)
