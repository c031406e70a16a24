"""What stands and moves in a street, as flat faces in meters; here: cars.

A thing is drawn face by face in the order given; what faces away is left out beforehand.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from ssmtl.datasets.street_phantom_backdrop import CAR
from ssmtl.datasets.street_phantom_camera import Camera
from ssmtl.datasets.street_phantom_layout import Color

UNDEFINED = 255


class Thing(NamedTuple):
    """Something that can hide and be hidden."""

    kind: int
    """Index into the mask's classes, or `UNDEFINED`."""
    place: tuple[float, float]
    """(x, z) of its foot; what is nearer to the camera is painted later."""
    points: Float64[np.ndarray, "p 3"]
    starts: tuple[int, ...]
    """Where each face's points begin; a face ends where the next begins."""
    color: Float32[np.ndarray, "f 3"]
    rough: float
    """Standard deviation of its texture, relative to its colors."""
    solid: bool
    """Whether its faces share edges."""
    foot: tuple[float, float, float]
    """Half width, half length and height in meters of what casts its shadow."""


def thing(
    kind: int,
    place: tuple[float, float],
    faces: list[Float64[np.ndarray, "_ 3"]],
    color: list[Color],
    foot: tuple[float, float, float],
    rough: float = 0.0,
    solid: bool = False,
) -> Thing:
    """Build a thing from its faces, each with a color."""
    starts = np.cumsum([0, *(len(face) for face in faces[:-1])])
    return Thing(kind, place, np.concatenate(faces), tuple(starts.tolist()), np.stack(color), rough, solid, foot)


# Outlines of cars from the side: (share of the length from the rear bumper, share of the height), rear to front.
HATCHBACK = ((0.0, 0.22), (0.01, 0.58), (0.10, 0.97), (0.45, 1.0), (0.68, 0.62), (0.97, 0.50), (1.0, 0.22))
SEDAN = ((0.0, 0.22), (0.0, 0.62), (0.16, 0.66), (0.30, 0.98), (0.54, 1.0), (0.72, 0.64), (0.98, 0.52), (1.0, 0.22))
VAN = ((0.0, 0.18), (0.0, 0.55), (0.02, 0.99), (0.70, 1.0), (0.86, 0.56), (0.99, 0.44), (1.0, 0.18))
BODIES = ((HATCHBACK, 4.0, 1.5), (SEDAN, 4.6, 1.45), (VAN, 4.9, 2.0), (HATCHBACK, 4.4, 1.7))
GRAYS = ((210, 210, 208), (165, 168, 170), (110, 112, 116), (44, 45, 48), (150, 132, 118), (78, 84, 96))
HUES = ((132, 40, 38), (48, 70, 116), (168, 150, 122), (96, 66, 52), (66, 88, 72), (186, 120, 50))
PAINTS = np.array(GRAYS + HUES)
"""Colors of cars, and of clothes."""


def car(place: tuple[float, float], heading: float, camera: Camera, rng: np.random.Generator) -> Thing:
    """Build a car; heading 0 drives away from the camera, pi/2 to the right."""
    profile, length, height = BODIES[rng.integers(len(BODIES))]
    length, height, half = length * rng.uniform(0.93, 1.07), height * rng.uniform(0.94, 1.06), rng.uniform(0.83, 0.95)
    outline = np.array(profile) * (length, height) - (length / 2, 0)
    narrow = half * np.where(np.array(profile)[:, 1] > 0.8, 0.8, 1.0)
    eye = _local((camera.x - place[0], -place[1]), heading)
    paint = (PAINTS[rng.integers(len(PAINTS))] / 255 * rng.uniform(0.7, 1.15)).astype(np.float32)
    glass = np.float32(rng.uniform(0.06, 0.3)) * np.array([0.9, 1.0, 1.1], np.float32)
    faces, colors = _hull(outline, narrow, (eye[0], camera.height), height, paint, glass)
    side = np.sign(eye[1])
    if abs(eye[1]) > half:
        flank, shades = _flank(outline, narrow, float(side), length, height, paint, glass)
        faces, colors = faces + flank, colors + shades
    if abs(eye[0]) > length / 2:
        lamps, shades = _end(float(np.sign(eye[0])), length, height, half, rng)
        faces, colors = faces + lamps, colors + shades
    world = [_world(face, place, heading) for face in faces]
    cos, sin = abs(np.cos(heading)), abs(np.sin(heading))
    foot = (half * cos + length / 2 * sin, half * sin + length / 2 * cos, height)
    return thing(CAR, place, world, colors, foot, 0.03, solid=True)


def _local(offset: tuple[float, float], heading: float) -> tuple[float, float]:
    cos, sin = np.cos(heading), np.sin(heading)
    return offset[0] * sin + offset[1] * cos, offset[0] * cos - offset[1] * sin


def _world(face: Float64[np.ndarray, "k 3"], place: tuple[float, float], heading: float) -> Float64[np.ndarray, "k 3"]:
    """Turn points (forward, to the right, up) into (x, y, z)."""
    cos, sin = np.cos(heading), np.sin(heading)
    turned = np.array([[sin, 0.0, cos], [cos, 0.0, -sin], [0.0, 1.0, 0.0]])
    return face @ turned + np.array([place[0], 0.0, place[1]])


def _hull(
    outline: Float64[np.ndarray, "k 2"],
    narrow: Float64[np.ndarray, " k"],
    eye: tuple[float, float],
    height: float,
    paint: Color,
    glass: Color,
) -> tuple[list[Float64[np.ndarray, "4 3"]], list[Color]]:
    """Return what spans a car from side to side and faces the eye (forward, up), far to near; slopes are glass."""
    here, there = outline[:-1], outline[1:]
    step = there - here
    seen = (eye[0] - here[:, 0]) * -step[:, 1] + (eye[1] - here[:, 1]) * step[:, 0] > 0
    faces, colors = [], []
    middle = np.abs((here[:, 0] + there[:, 0]) / 2 - eye[0])
    for i in sorted(np.flatnonzero(seen), key=lambda k: -middle[k]):
        a, b, wide, slim = here[i], there[i], narrow[i], narrow[i + 1]
        faces.append(np.array([(*a, -wide), (*a, wide), (*b, slim), (*b, -slim)])[:, [0, 2, 1]])
        window = min(a[1], b[1]) > 0.45 * height and wide != slim
        flat = abs(step[i, 1]) < 0.3 * abs(step[i, 0])
        colors.append(glass if window else paint * np.float32(1.12 if flat else 0.86))
    return faces, colors


def _flank(
    outline: Float64[np.ndarray, "k 2"],
    narrow: Float64[np.ndarray, " k"],
    side: float,
    length: float,
    height: float,
    paint: Color,
    glass: Color,
) -> tuple[list[Float64[np.ndarray, "_ 3"]], list[Color]]:
    """Return one side of a car: body, window, pillar, wheels."""
    body = np.column_stack([outline[:, 0], side * narrow, outline[:, 1]])
    high = outline[outline[:, 1] > 0.45 * height]
    center = high.mean(axis=0)
    pane = center + (high - center) * (0.82, 0.72)
    slim = side * narrow.min()
    faces = [body, np.column_stack([pane[:, 0], np.full(len(pane), slim), pane[:, 1]])]
    post = center[0] + np.array([-0.05, 0.05, 0.05, -0.05])
    faces.append(np.column_stack([post, np.full(4, slim), np.array([0.6, 0.6, 0.95, 0.95]) * height]))
    colors = [paint * np.float32(0.78), glass, paint * np.float32(0.7)]
    turn = np.linspace(0, 2 * np.pi, 11)[:-1]
    for forward in (-0.31, 0.31):
        for radius, shade in ((0.31, 0.06), (0.17, 0.42)):
            x, y = forward * length + radius * np.cos(turn), 0.31 + radius * np.sin(turn)
            faces.append(np.column_stack([x, np.full(10, side * narrow.max() * 1.01), y]))
            colors.append(np.full(3, shade, np.float32))
    return faces, colors


def _end(
    end: float, length: float, height: float, half: float, rng: np.random.Generator
) -> tuple[list[Float64[np.ndarray, "4 3"]], list[Color]]:
    """Return what tells front from rear: tires, lamps, a plate. `end` is 1 for the front, -1 for the rear."""
    at = end * (length / 2 + 0.01)
    lamp = np.array([0.75, 0.72, 0.62] if end > 0 else [0.55, 0.05, 0.04], np.float32)
    lamp = lamp * np.float32(rng.uniform(0.6, 1.3))
    boxes = [(side * half * 0.78, 0.24, 0.0, 0.36, 0.05) for side in (-1, 1)]
    boxes += [(side * half * 0.78, 0.32, 0.42 * height, 0.52 * height, 0.0) for side in (-1, 1)]
    boxes.append((0.0, 0.5, 0.28 * height, 0.35 * height, 0.7))
    faces, colors = [], []
    for middle, wide, low, high, shade in boxes:
        across = middle + np.array([-0.5, 0.5, 0.5, -0.5]) * wide
        faces.append(np.column_stack([np.full(4, at), across, [low, low, high, high]]))
        colors.append(lamp if shade == 0.0 else np.full(3, shade, np.float32))
    return faces, colors
