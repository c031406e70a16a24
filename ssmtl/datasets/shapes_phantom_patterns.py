"""What a shapes phantom shows: six figures and four textures, each as a function of the place."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float32

Plane = Float32[np.ndarray, "h w"]
Pattern = Callable[[Plane, Plane], Plane]
"""From places (x to the right, y down) to how deep they lie in the pattern's ink; 0 at its edge, negative outside."""


def _normals(sides: int) -> Float32[np.ndarray, "sides 2"]:
    angles = 2 * np.pi * np.arange(sides) / sides + np.pi / 2
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


THREE, FIVE = _normals(3), _normals(5)


def _facing(normals: Float32[np.ndarray, "sides 2"], x: Plane, y: Plane) -> Float32[np.ndarray, "sides h w"]:
    return (normals @ np.stack([x.ravel(), y.ravel()])).reshape(-1, *x.shape)


def _disk(x: Plane, y: Plane) -> Plane:
    return np.float32(0.8) - np.hypot(x, y)


def _square(x: Plane, y: Plane) -> Plane:
    return np.float32(0.71) - np.maximum(np.abs(x), np.abs(y))


def _triangle(x: Plane, y: Plane) -> Plane:
    return np.float32(0.56) - _facing(THREE, x, y).max(axis=0)


def _star(x: Plane, y: Plane) -> Plane:
    """Every tip of a pentagram lies beyond one side of its pentagon, and within the other four."""
    return np.float32(0.36) - np.partition(_facing(FIVE, x, y), -2, axis=0)[-2]


def _cross(x: Plane, y: Plane) -> Plane:
    across, along = np.float32(0.27), np.float32(0.95)
    x, y = np.abs(x), np.abs(y)
    return np.maximum(
        np.minimum(across - x, along - y),
        np.minimum(along - x, across - y),
    )


def _crescent(x: Plane, y: Plane) -> Plane:
    return np.minimum(
        np.float32(0.9) - np.hypot(x + np.float32(0.1), y),
        np.hypot(x - np.float32(0.35), y) - np.float32(0.7),
    )


def _stripes(x: Plane, _y: Plane) -> Plane:
    return np.sin(np.float32(np.pi) * x)


def _checks(x: Plane, y: Plane) -> Plane:
    return np.sin(np.float32(np.pi) * x) * np.sin(np.float32(np.pi) * y)


def _dots(x: Plane, y: Plane) -> Plane:
    """The level 0.3 keeps the dots apart and nearly round; at 0 they would be checks, turned by 45 degrees."""
    return np.float32(0.5) * (np.cos(np.float32(np.pi) * x) + np.cos(np.float32(np.pi) * y)) - np.float32(0.3)


def _waves(x: Plane, y: Plane) -> Plane:
    return np.sin(np.float32(np.pi) * (x + np.float32(0.6) * np.sin(np.float32(0.5 * np.pi) * y)))


FIGURE_PATTERNS: Mapping[str, Pattern] = {
    "disk": _disk,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
}
"""One filled figure, about as far as 1 from its center to its farthest point."""

TEXTURE_PATTERNS: Mapping[str, Pattern] = {"stripes": _stripes, "checks": _checks, "dots": _dots, "waves": _waves}
"""Patterns without an end that repeat after 2, waves after 4 along their crests."""
