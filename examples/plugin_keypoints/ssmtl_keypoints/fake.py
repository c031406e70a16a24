"""Images made in memory that a small network can learn points from: squares on noise."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ssmtl import keyed
from ssmtl_keypoints.points import Points

MISSING_EVERY = 5


def bright_squares(
    n: int, points: int, seed: int, *, channels: int, size: tuple[int, int]
) -> tuple[UInt8[Tensor, "n c h w"], list[Points]]:
    """Return images with a square around each point, brighter from point to point; every fifth lacks the first.

    Row i depends on `seed` and i only.
    """
    rows, (height, width) = np.arange(n), size
    noise = keyed.uniform(keyed.key("noise", seed), rows, channels * height * width)
    images = (20 + 30 * noise).reshape(n, channels, height, width)
    unit = keyed.uniform(keyed.key("points", seed), rows, 2 * points).reshape(n, points, 2)
    places = np.floor((0.1 + 0.8 * unit) * (width, height))
    half = max(1, min(size) // 16)
    present = np.ones((n, points), dtype=np.bool_)
    present[MISSING_EVERY - 1 :: MISSING_EVERY, 0] = False
    for row, point in zip(*present.nonzero(), strict=True):
        x, y = places[row, point].astype(np.int64)
        square = images[row, :, max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
        square[:] = 100 + 150 * (point + 1) / points
    known = torch.from_numpy(present)
    xy = torch.from_numpy(places).float().where(known[..., None], 0.0)
    parts = (xy, known.float(), known, torch.tensor(size).expand(n, 2))
    return torch.from_numpy(images.astype(np.uint8)), [Points(*row) for row in zip(*parts, strict=True)]
