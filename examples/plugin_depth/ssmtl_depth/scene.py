"""How a phantom scene is drawn: balls in the air and posts on a textured plane, seen by a camera that looks ahead.

Everything is measured as a camera would see it: x to the right, y down from the camera, z ahead, in meters. The focal
length is the same in all scenes: with another one, the same picture would show things at another distance.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

FOCAL = 0.9
"""In shorter sides of the canvas."""
EYE = 1.6
"""Meters of the camera over the plane."""
REACH = 40.0
"""Meters beyond which no depth is measured."""
BALL, POST = 1, 2
BALL_RADIUS, POST_RADIUS, POST_HEIGHT = 0.5, 0.2, 2.2
VISIBILITY = (120.0, 14.0)
"""Meters until the light of things has fallen to 1/e, in clear and in hazy air."""
NOISE, BLIND = 0.025, 0.04
"""Standard deviation of the noise of levels in [0, 1], and share of pixels at which the depth sensor sees nothing."""

Plane = Float32[np.ndarray, "h w"]


class Scene(NamedTuple):
    """A picture with all that is true about it: `depth` in meters, 0 where unknown; `mask` 0, or BALL or POST."""

    image: UInt8[np.ndarray, "3 h w"]
    depth: Plane
    mask: UInt8[np.ndarray, "h w"]


class _Canvas(NamedTuple):
    """What is seen so far: color [h, w, 3] in [0, 1], distance z and mask, which things are drawn into."""

    color: Float32[np.ndarray, "h w 3"]
    z: Plane
    mask: UInt8[np.ndarray, "h w"]


def draw_scene(key: int, size: tuple[int, int], *, hazy: bool) -> Scene:
    """Draw a scene of `size` (height, width), a pure function of its arguments."""
    rng = np.random.default_rng(key)
    right, below = _rays(size, horizon=rng.uniform(-0.15, 0.05))
    sky = np.float32(rng.uniform(0.65, 0.95)) * rng.uniform(0.9, 1.0, 3).astype(np.float32)
    canvas = _ground(right, below, sky, rng)
    count = int(rng.integers(2, 7))
    for distance in sorted(np.exp(rng.uniform(np.log(2.5), np.log(20.0), count)), reverse=True):
        _thing(canvas, right, below, float(distance), rng)
    seen = np.isfinite(canvas.z)
    air = np.exp(-np.where(seen, canvas.z, 0) / np.float32(VISIBILITY[hazy]))[..., None]
    color = canvas.color * air + sky * (1 - air)
    color += rng.normal(0, NOISE, color.shape).astype(np.float32)
    image = np.rint(color.clip(0, 1) * 255).astype(np.uint8).transpose(2, 0, 1)
    measured = seen & (canvas.z < REACH) & (rng.random(size) >= BLIND)
    return Scene(np.ascontiguousarray(image), np.where(measured, canvas.z, 0).astype(np.float32), canvas.mask)


def _rays(size: tuple[int, int], horizon: float) -> tuple[Plane, Plane]:
    """Return x / z and y / z of what each pixel sees."""
    shorter = min(size)
    across = (np.arange(size[1]) - (size[1] - 1) / 2) / shorter
    down = (np.arange(size[0]) - (size[0] - 1) / 2) / shorter - horizon
    right, below = np.meshgrid(across / FOCAL, down / FOCAL)
    return right.astype(np.float32), below.astype(np.float32)


def _ground(right: Plane, below: Plane, sky: Float32[np.ndarray, "3"], rng: np.random.Generator) -> _Canvas:
    """Return the plane under the sky. Its pattern fades with distance, where pixels would be coarser than it."""
    plane = below > 0
    z = np.where(plane, EYE / np.where(plane, below, 1), np.inf).astype(np.float32)
    near = np.where(plane, z, 1)
    wave, (start, other) = 2 * np.pi / rng.uniform(0.9, 1.3), rng.uniform(0, 2 * np.pi, 2)
    pattern = np.sin(wave * right * near + start) * np.sin(wave * near + other) * np.clip(6 / near, 0, 1)
    tint = rng.uniform(0.3, 0.6, 3)
    color = np.where(plane[..., None], tint + 0.14 * pattern[..., None], sky).astype(np.float32)
    return _Canvas(color, z, np.zeros(z.shape, np.uint8))


def _thing(canvas: _Canvas, right: Plane, below: Plane, distance: float, rng: np.random.Generator) -> None:
    """Draw a ball or a post over what lies behind it."""
    x = rng.uniform(-0.6, 0.6) * distance
    tint, light = rng.uniform(0.15, 1.0, 3).astype(np.float32), rng.uniform(-1, 1)
    if rng.random() < 0.5:
        y = EYE - rng.uniform(BALL_RADIUS, 2.4)
        _ball(canvas, (right * distance - x) / BALL_RADIUS, (below * distance - y) / BALL_RADIUS, distance, tint, light)
    else:
        tall = (below * distance > EYE - POST_HEIGHT) & (below * distance < EYE)
        _post(canvas, (right * distance - x) / POST_RADIUS, tall, distance, tint, light)


def _ball(
    canvas: _Canvas, aside: Plane, under: Plane, distance: float, tint: Float32[np.ndarray, "3"], light: float
) -> None:
    bulge = np.sqrt(np.clip(1 - aside**2 - under**2, 0, None))
    shade = 0.55 + 0.45 * np.clip(0.6 * bulge - 0.5 * under + 0.4 * light * aside, 0, 1)
    _cover(canvas, bulge > 0, BALL, distance - BALL_RADIUS * bulge, shade[..., None] * tint)


def _post(
    canvas: _Canvas,
    aside: Plane,
    tall: Bool[np.ndarray, "h w"],
    distance: float,
    tint: Float32[np.ndarray, "3"],
    light: float,
) -> None:
    bulge = np.sqrt(np.clip(1 - aside**2, 0, None))
    shade = 0.55 + 0.45 * np.clip(0.7 * bulge + 0.5 * light * aside, 0, 1)
    _cover(canvas, tall & (bulge > 0), POST, distance - POST_RADIUS * bulge, shade[..., None] * tint)


def _cover(
    canvas: _Canvas, where: Bool[np.ndarray, "h w"], kind: int, z: Plane, color: Float32[np.ndarray, "h w 3"]
) -> None:
    canvas.color[where], canvas.z[where], canvas.mask[where] = color[where], z[where], kind
