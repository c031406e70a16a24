"""People, bicycles, trees, poles and clutter: limbs, disks and blobs that face the camera."""

import numpy as np
from jaxtyping import Float64

from ssmtl.datasets.street_phantom_backdrop import BICYCLIST, PEDESTRIAN, POLE, VEGETATION
from ssmtl.datasets.street_phantom_layout import LEAVES, Color, shade_of, tint
from ssmtl.datasets.street_phantom_things import PAINTS, UNDEFINED, Thing, thing

Place = tuple[float, float]
Joint = tuple[float, float, float]
SKINS = np.array([(214, 170, 140), (180, 128, 96), (120, 80, 58), (228, 190, 164)]) / 255
CIRCLE = np.linspace(0, 2 * np.pi, 13)[:-1]
REAR, FRONT, SADDLE, CRANK, HEAD = (-0.52, 0.34), (0.52, 0.34), (-0.16, 0.9), (0.0, 0.32), (0.38, 0.85)
TUBES = ((REAR, SADDLE), (REAR, CRANK), (CRANK, SADDLE), (CRANK, HEAD), (SADDLE, HEAD), (HEAD, FRONT))
"""What a bicycle's frame joins, as (forward, up) in meters."""


def _limb(start: Joint, stop: Joint, wide: float, narrow: float | None = None) -> Float64[np.ndarray, "4 3"]:
    """Return a strip between two points, as wide as said at its start and stop, seen from along z."""
    a, b = np.array(start), np.array(stop)
    length = np.hypot(b[0] - a[0], b[1] - a[1])
    across = np.array([b[1] - a[1], a[0] - b[0], 0.0]) / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])
    slim = wide if narrow is None else narrow
    return np.array([a - across * wide / 2, a + across * wide / 2, b + across * slim / 2, b - across * slim / 2])


def _disk(center: Joint, radii: tuple[float, float]) -> Float64[np.ndarray, "12 3"]:
    return np.array(center) + np.column_stack([radii[0] * np.cos(CIRCLE), radii[1] * np.sin(CIRCLE), np.zeros(12)])


def _cloth(rng: np.random.Generator) -> Color:
    return (PAINTS[rng.integers(len(PAINTS))] / 255 * rng.uniform(0.5, 1.1)).astype(np.float32)


class _Body:
    """Points of a figure, given as (forward, to its right, up), brought into the world."""

    def __init__(self, place: Place, heading: float) -> None:
        self.place = place
        self.cos, self.sin = float(np.cos(heading)), float(np.sin(heading))

    def at(self, forward: float, right: float, up: float) -> Joint:
        x = self.place[0] + forward * self.sin + right * self.cos
        return x, up, self.place[1] + forward * self.cos - right * self.sin

    def breadth(self, wide: float, deep: float) -> float:
        """Return how wide a body appears that is `wide` from the front and `deep` from the side."""
        return float(np.hypot(wide * self.cos, deep * self.sin))


def pedestrian(place: Place, heading: float, rng: np.random.Generator) -> Thing:
    """Build somebody who walks or stands, 1.1 to 1.95 m tall."""
    tall = rng.uniform(1.55, 1.95) if rng.random() < 0.85 else rng.uniform(1.1, 1.5)
    body, stride = _Body(place, heading), rng.uniform(0.0, 0.22) * tall
    shirt, trousers, skin = _cloth(rng), _cloth(rng), shade_of(SKINS, rng)
    hair = tint(rng, 0.04, 0.4, 0.1)
    hem = rng.uniform(0.28, 0.5) if rng.random() < 0.4 else 0.5
    bulk = tall * rng.uniform(0.9, 1.2)
    hands = [(-stride * 0.8, 0.15), (stride * 0.8, -0.15)]
    hip = [body.at(0.0, side * 0.05 * bulk, 0.52 * tall) for side in (1, -1)]
    feet = [body.at(step, side * 0.06 * bulk, 0.0) for step, side in ((stride, 1), (-stride, -1))]
    shoulders, waist = body.breadth(0.25, 0.15) * bulk, body.breadth(0.21, 0.15) * bulk
    arms = [
        _limb(
            body.at(0.0, np.sign(right) * 0.12 * bulk, 0.8 * tall), body.at(ahead, right * bulk, 0.46 * tall), 0.1, 0.08
        )
        for ahead, right in hands
    ]
    faces = [
        arms[0],
        *(_limb(top, foot, 0.1 * bulk, 0.07 * bulk) for top, foot in zip(hip, feet, strict=True)),
        _limb(body.at(0.0, 0.0, hem * tall), body.at(0.0, 0.0, 0.83 * tall), waist, shoulders),
        arms[1],
        _disk(body.at(0.02, 0.0, 0.92 * tall), (0.062 * tall, 0.078 * tall)),
        _disk(body.at(-0.02, 0.0, 0.955 * tall), (0.06 * tall, 0.05 * tall)),
    ]
    dark = shirt * np.float32(0.82)
    colors = [dark, trousers, trousers * np.float32(0.85), shirt, dark, skin, hair]
    return thing(PEDESTRIAN, place, faces, colors, (0.2, 0.2, tall), 0.04)


def _bicycle(body: _Body, frame: Color) -> tuple[list[Float64[np.ndarray, "_ 3"]], list[Color]]:
    """Return two wheels, open between rim and hub, and the tubes that join them."""
    tire = np.full(3, 0.07, np.float32)
    turn = np.concatenate([CIRCLE, CIRCLE[:1], CIRCLE[:1], CIRCLE[:0:-1], CIRCLE[:1]])
    radius = np.repeat([0.34, 0.27], 13)
    faces, colors = [], []
    for hub in (REAR[0], FRONT[0]):
        rim = [body.at(hub + r * np.cos(t), 0.0, 0.34 + r * np.sin(t)) for r, t in zip(radius, turn, strict=True)]
        faces += [np.array(rim), _limb(body.at(hub, 0.0, 0.0), body.at(hub, 0.0, 0.68), body.breadth(0.07, 0.0))]
        colors += [tire, tire]
    for start, stop in TUBES:
        faces.append(_limb(body.at(start[0], 0.0, start[1]), body.at(stop[0], 0.0, stop[1]), 0.06))
        colors.append(frame)
    return faces, colors


def bicyclist(place: Place, heading: float, rng: np.random.Generator) -> Thing:
    """Build a bicycle with its rider; heading 0 rides away from the camera."""
    body, size = _Body(place, heading), rng.uniform(0.92, 1.06)
    shirt, trousers, frame = _cloth(rng), _cloth(rng), _cloth(rng)
    skin, helmet = shade_of(SKINS, rng), _cloth(rng)
    pedal = rng.uniform(0, 2 * np.pi)
    faces, colors = _bicycle(body, frame)
    hip, neck = body.at(-0.14, 0.0, 0.92 * size), body.at(0.2, 0.0, 1.42 * size)
    for side in (1, -1):
        foot = (0.16 * side * np.cos(pedal), 0.32 + 0.16 * side * np.sin(pedal))
        knee = body.at(0.22, side * 0.12, 0.62 + 0.3 * (foot[1] - 0.32))
        faces += [_limb(hip, knee, 0.17, 0.13), _limb(knee, body.at(foot[0], side * 0.1, foot[1]), 0.13, 0.09)]
        colors += [trousers * np.float32(0.92 - 0.1 * side)] * 2
        hand = body.at(0.42, side * 0.26, 1.02)
        faces.append(_limb(body.at(0.18, side * 0.18, 1.38 * size), hand, 0.11, 0.08))
        colors.append(shirt * np.float32(0.85))
    faces.append(_limb(hip, neck, body.breadth(0.34, 0.26), body.breadth(0.44, 0.28)))
    faces += [
        _disk(body.at(0.27, 0.0, 1.58 * size), (0.11, 0.13)),
        _disk(body.at(0.26, 0.0, 1.64 * size), (0.12, 0.09)),
    ]
    colors += [shirt, skin, helmet]
    return thing(BICYCLIST, place, faces, colors, (body.breadth(0.25, 0.8), body.breadth(0.8, 0.25), 1.5), 0.04)


def _blob(center: Joint, radius: float, rng: np.random.Generator) -> Float64[np.ndarray, "12 3"]:
    reach = radius * (1 + rng.normal(0.0, 0.14, 12))[:, None]
    return np.array(center) + reach * np.column_stack([np.cos(CIRCLE), np.sin(CIRCLE), np.zeros(12)])


def tree(place: Place, rng: np.random.Generator) -> Thing:
    """Build a tree of 4 to 9 m: a trunk and a crown of several clumps of leaves, darker below."""
    tall, spread = rng.uniform(4.0, 9.0), rng.uniform(1.1, 2.6)
    leaves, bark = shade_of(LEAVES, rng), tint(rng, 0.12, 0.3, 0.08)
    x, z = place
    faces, colors = [_limb((x, 0.0, z), (x + rng.normal(0, 0.15), tall * 0.7, z), rng.uniform(0.22, 0.5), 0.15)], [bark]
    lowest = max(tall - 2 * spread, 1.9) + 0.4 * spread
    for up in np.sort(rng.uniform(lowest, tall - 0.4 * spread, rng.integers(5, 9))):
        center = (x + rng.normal(0.0, 0.4) * spread, float(up), z)
        faces.append(_blob(center, spread * rng.uniform(0.45, 0.75), rng))
        colors.append(leaves * np.float32(0.7 + 0.45 * (up - lowest) / tall + rng.uniform(0, 0.15)))
    return thing(VEGETATION, place, faces, colors, (spread * 0.8, spread * 0.6, tall * 0.6), 0.30)


def bush(place: Place, rng: np.random.Generator) -> Thing:
    """Build a bush or a piece of hedge, knee to shoulder high."""
    radius, leaves = rng.uniform(0.35, 0.75), shade_of(LEAVES, rng)
    x, z = place
    faces = [_blob((x + rng.uniform(-0.8, 0.8), radius * 0.7, z), radius, rng) for _ in range(3)]
    for face in faces:
        np.maximum(face[:, 1], 0.0, out=face[:, 1])
    colors = [leaves * np.float32(rng.uniform(0.75, 1.15)) for _ in faces]
    return thing(VEGETATION, place, faces, colors, (radius, radius, radius), 0.30)


def pole(place: Place, rng: np.random.Generator) -> Thing:
    """Build a lamp with its arm over the road, or a plain post."""
    lamp = rng.random() < 0.6
    tall = rng.uniform(5.0, 8.5) if lamp else rng.uniform(2.2, 4.0)
    gray = tint(rng, 0.06, 0.32)
    x, z = place
    wide = rng.uniform(0.15, 0.28)
    faces = [_limb((x, 0.0, z), (x, tall, z), wide, wide * 0.8)]
    if lamp:
        tip = x - np.sign(x) * rng.uniform(0.6, 2.0)
        faces += [
            _limb((x, tall, z), (tip, tall + 0.25, z), 0.14),
            _limb((tip - 0.3, tall + 0.2, z), (tip + 0.3, tall + 0.2, z), 0.26),
        ]
    return thing(POLE, place, faces, [gray] * len(faces), (wide, wide, tall), 0.03)


def sign(place: Place, rng: np.random.Generator) -> Thing:
    """Build a round traffic sign in the air; none of the classes, so its pixels count for nothing."""
    up, radius = rng.uniform(2.0, 3.2), rng.uniform(0.26, 0.4)
    center = (place[0], float(up), place[1] - 0.05)
    rim, face = _cloth(rng), tint(rng, 0.6, 0.95)
    disks = [_disk(center, (radius, radius)), _disk(center, (radius * 0.7, radius * 0.7))]
    return thing(UNDEFINED, (place[0], place[1] - 0.05), disks, [rim, face], (0.05, 0.05, 3.0))


def clutter(place: Place, rng: np.random.Generator) -> Thing:
    """Build a bin, a box or a stand in the colors of cars and clothes; none of the classes either."""
    x, z = place
    wide, tall, color = rng.uniform(0.4, 1.1), rng.uniform(0.6, 1.5), _cloth(rng)
    faces = [_limb((x, 0.0, z), (x, tall, z), wide), _limb((x, tall * 0.85, z), (x, tall, z), wide * 1.1)]
    return thing(UNDEFINED, place, faces, [color, color * np.float32(0.75)], (wide / 2, wide / 2, tall), 0.04)
