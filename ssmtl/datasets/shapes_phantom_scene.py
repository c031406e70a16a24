"""How a shapes phantom shows its patterns: pose, colors, light, clutter and sensor, drawn anew for every image."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8

from ssmtl.datasets.chest_phantom_anatomy import soft, texture
from ssmtl.datasets.shapes_phantom_patterns import FIGURE_PATTERNS, TEXTURE_PATTERNS, Plane

RNG = np.random.Generator

TURN = 0.25
"""Standard deviation of a pattern's angle, in radians: upright more often than not, as photographed things are."""
SHEAR = 0.08
SIZE = (0.60, 0.80)
"""A figure's unit, about from its center to its farthest point, in halves of the shorter side."""
OFFSET = 0.16
RATE = (2.9, 4.1)
"""Periods of a texture along the shorter side."""
CONTRAST = (0.33, 0.55)
VIVID = (0.12, 0.27)
TINT = 0.03
SPREAD = 0.55
"""Standard deviation of the hue of a class, in radians, around the one that it favors."""
SPECKS, SPECK = 4, 0.12
TILT = 0.06
MOTTLE = (0.02, 0.06)
GRAIN = (0.01, 0.05)

THIRDS = 2 * np.pi * np.arange(3) / 3
HUES = {
    name: 2 * np.pi * (rank + shift) / len(family)
    for family, shift in ((FIGURE_PATTERNS, 0.0), (TEXTURE_PATTERNS, 0.25))
    for rank, name in enumerate(family)
}


def draw(name: str, canvas: tuple[int, int], rng: RNG) -> UInt8[np.ndarray, "3 h w"]:
    """Draw one image of the class `name`: bright ink on a ground, under uneven light, through a noisy sensor."""
    x, y = _places(canvas)
    ink = _figure(name, x, y, rng) if name in FIGURE_PATTERNS else _texture(name, x, y, rng)
    ground, paint = _colors(name, rng)
    light = ground[:, None, None] + (paint - ground)[:, None, None] * ink
    light += _specks(x, y, rng)
    tilt = rng.normal(0.0, TILT, 2).astype(np.float32)
    light += tilt[0] * x + tilt[1] * y
    # What needs as many numbers as there are pixels comes last: all before it is then the same on every canvas.
    light += np.float32(rng.uniform(*MOTTLE)) * texture(canvas, 5, rng)
    light += np.float32(rng.uniform(*GRAIN)) * rng.standard_normal((3, *canvas), np.float32)
    return np.rint(np.clip(light, 0, 1) * np.float32(255)).astype(np.uint8)


@lru_cache(maxsize=8)
def _places(canvas: tuple[int, int]) -> tuple[Plane, Plane]:
    """Return where pixel centers lie: x to the right and y down, from the center, in halves of the shorter side."""
    rows, columns = ((np.arange(side) + 0.5 - side / 2) / (min(canvas) / 2) for side in canvas)
    x, y = (plane.astype(np.float32) for plane in np.meshgrid(columns, rows))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def _posed(x: Plane, y: Plane, rng: RNG) -> tuple[Plane, Plane]:
    """Return the places as the turned and sheared pattern sees them."""
    angle, shear = rng.normal(0.0, TURN), np.float32(rng.normal(0.0, SHEAR))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cos * x + sin * y, cos * y - sin * x
    return u + shear * v, v


def _figure(name: str, x: Plane, y: Plane, rng: RNG) -> Plane:
    """Return how much of every pixel the figure covers, 0 to 1."""
    size = np.float32(rng.uniform(*SIZE))
    left, top = rng.uniform(-OFFSET, OFFSET, 2).astype(np.float32)
    u, v = _posed((x - left) / size, (y - top) / size, rng)
    return soft(size * FIGURE_PATTERNS[name](u, v), rng.uniform(0.05, 0.14))


def _texture(name: str, x: Plane, y: Plane, rng: RNG) -> Plane:
    """Return how much ink every pixel of the texture has, 0 to 1."""
    rate = np.float32(rng.uniform(*RATE))
    phase = rng.uniform(0.0, 4.0, 2).astype(np.float32)
    u, v = _posed(rate * x, rate * y, rng)
    return soft(TEXTURE_PATTERNS[name](u + phase[0], v + phase[1]), rng.uniform(0.3, 0.8))


def _colors(name: str, rng: RNG) -> tuple[Float32[np.ndarray, "3"], Float32[np.ndarray, "3"]]:
    """Return the colors of ground and ink, 0 to 1: the ink is brighter, so that gray images show the class too."""
    contrast = rng.uniform(*CONTRAST)
    dark = rng.uniform(0.12, 0.88 - contrast)
    tint = rng.normal(0.0, TINT, (2, 3))
    hue = rng.normal(HUES[name], SPREAD)
    ground = dark + tint[0]
    paint = dark + contrast + tint[1] + rng.uniform(*VIVID) * np.cos(hue - THIRDS)
    return ground.astype(np.float32), paint.astype(np.float32)


def _specks(x: Plane, y: Plane, rng: RNG) -> Float32[np.ndarray, "3 h w"]:
    """Return specks of any color, each about as small as a detail of a figure."""
    place = rng.uniform(-1, 1, (2, SPECKS, 1, 1)).astype(np.float32)
    width = rng.uniform(0.06, 0.13, (SPECKS, 1, 1)).astype(np.float32)
    color = rng.normal(0.0, SPECK, (3, SPECKS)).astype(np.float32)
    spots = np.exp(-(np.square(x - place[0]) + np.square(y - place[1])) / (2 * np.square(width)))
    return np.tensordot(color, spots, axes=1)
