"""Images made in memory that a small detector can learn: bright rectangles on noise."""

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch import Tensor

from ssmtl import keyed
from ssmtl_tasks.detection_targets import BoxTargets

EMPTY_EVERY = 5


def rectangles(
    n: int, seed: int, *, classes: int, channels: int, size: tuple[int, int]
) -> tuple[UInt8[Tensor, "n c h w"], list[BoxTargets]]:
    """Return images with one or two rectangles, whose brightness tells their class; every fifth shows nothing.

    Row i depends on `seed` and i only. Sides are 1/4 to 1/2 of half the width, and of the height.
    """
    rows = np.arange(n)
    noise = keyed.uniform(keyed.key("noise", seed), rows, channels * size[0] * size[1])
    images = (20 + 60 * noise).reshape(n, channels, *size)
    places = keyed.uniform(keyed.key("rectangles", seed), rows, 8).reshape(n, 2, 4)
    targets = []
    for row in rows:
        count = 0 if row % EMPTY_EVERY == EMPTY_EVERY - 1 else 1 + row % 2
        boxes = np.stack([_box(places[row, half], half, size) for half in range(2)])[:count]
        labels = (row + np.arange(count)) % classes
        for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
            images[row, :, top:bottom, left:right] += 60 + 100 * label / max(1, classes - 1)
        targets.append(_target(boxes, labels))
    return torch.from_numpy(images.astype(np.uint8)), targets


def _box(unit: Float64[np.ndarray, "4"], half: int, size: tuple[int, int]) -> Int64[np.ndarray, "4"]:
    """Place a rectangle within the left (0) or right (1) half of an image."""
    room = np.array([size[1] // 2, size[0]])
    sides = np.maximum(2, (room * (0.25 + 0.25 * unit[:2])).astype(np.int64))
    start = ((room - sides) * unit[2:]).astype(np.int64)
    start[0] += half * room[0]
    return np.concatenate([start, start + sides])


def _target(boxes: Int64[np.ndarray, "m 4"], labels: Int64[np.ndarray, " m"]) -> BoxTargets:
    none = torch.zeros(len(labels), dtype=torch.bool)
    return BoxTargets(torch.from_numpy(boxes).float(), torch.from_numpy(labels), ~none, none, torch.tensor(1.0))
