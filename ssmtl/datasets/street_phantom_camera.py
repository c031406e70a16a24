"""The camera of a street scene: which way each pixel looks, and where a point of the world lands.

The world is in meters: x to the right of the road's middle, y up from the road, z ahead along the street. On the image
everything is measured in *shorter sides* of the canvas from its center, so a scene looks the same on every canvas, and
a wider canvas sees more to the sides.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

NEAREST = 0.7
"""Meters before the camera; what is closer can't be projected."""


class Camera(NamedTuple):
    """Where the camera is, over the road, and where it looks. Angles are in radians, all but small."""

    x: float
    height: float
    focal: float
    """Focal length in shorter sides."""
    horizon: float
    """How far the horizon lies below the center, in shorter sides (negative: above)."""
    yaw: float
    roll: float


class Rays(NamedTuple):
    """The direction in which each point of a grid looks; length 1 along the optical axis, not overall."""

    x: Float32[np.ndarray, "h w"]
    y: Float32[np.ndarray, "h w"]
    z: Float32[np.ndarray, "h w"]


def mount(rng: np.random.Generator) -> Camera:
    """Draw a camera like that of a car: 1.2 to 2 m high, in the right lane, looking ahead."""
    return Camera(
        x=rng.uniform(0.2, 2.4),
        height=rng.uniform(1.2, 2.0),
        focal=rng.uniform(1.1, 1.55),
        horizon=rng.uniform(-0.12, 0.06),
        yaw=np.clip(rng.normal(0.0, 0.09), -0.25, 0.25),
        roll=np.clip(rng.normal(0.0, 0.012), -0.04, 0.04),
    )


class Grid(NamedTuple):
    """The points at which a scene is looked at: `fine` a pixel and axis, the first of them in the pixel's center."""

    canvas: tuple[int, int]
    fine: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in points."""
        return self.canvas[0] * self.fine, self.canvas[1] * self.fine

    @property
    def unit(self) -> int:
        """Points along the canvas' shorter side."""
        return min(self.size)

    @property
    def origin(self) -> Float64[np.ndarray, "2"]:
        """Place of the image's center as (x, y) in points, where point i covers i to i + 1."""
        return (np.array(self.size[::-1]) - self.fine + 1) / 2


def rays(camera: Camera, grid: Grid) -> Rays:
    """Return where the points of a grid look."""
    height, width = grid.size
    right, down = (
        (np.arange(n) + 0.5 - o).astype(np.float32) / grid.unit
        for n, o in zip((width, height), grid.origin, strict=True)
    )
    right, down = right[None, :], down[:, None]
    cos, sin = np.float32(np.cos(camera.roll)), np.float32(np.sin(camera.roll))
    focal = np.float32(1 / camera.focal)
    across = (right * cos + down * sin) * focal
    up = (right * sin - down * cos + np.float32(camera.horizon)) * focal
    cos, sin = np.float32(np.cos(camera.yaw)), np.float32(np.sin(camera.yaw))
    return Rays(across * cos + sin, up, cos - across * sin)


def project(
    camera: Camera, points: Float64[np.ndarray, "p 3"], grid: Grid
) -> tuple[Float64[np.ndarray, "p 2"], Float64[np.ndarray, " p"]]:
    """Return where places land, as (x, y) in points of the grid (point i covers i to i + 1), and depths in meters.

    Depths below `NEAREST` are raised to it; the place of such a point means little.
    """
    cos, sin = np.cos(camera.yaw), np.sin(camera.yaw)
    aside, ahead = points[:, 0] - camera.x, points[:, 2]
    depth = aside * sin + ahead * cos
    scale = camera.focal / np.maximum(depth, NEAREST)
    across = (aside * cos - ahead * sin) * scale
    down = (camera.height - points[:, 1]) * scale + camera.horizon
    cos, sin = np.cos(camera.roll), np.sin(camera.roll)
    flat = np.stack([across * cos - down * sin, across * sin + down * cos], axis=1)
    return flat * grid.unit + grid.origin, depth
