"""What every pixel sees of the street itself: sky, houses, woods, pavement and road, by following its ray.

The ground is a plane and so is each row of houses, so a ray's first hit has a closed form, and texture lies in meters:
it narrows with distance as it should. Shading happens per surface, on the pixels that see it.
"""

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Int16, Int64, UInt8
from scipy.ndimage import gaussian_filter

from ssmtl.datasets.street_phantom_camera import Camera, Rays
from ssmtl.datasets.street_phantom_layout import AHEAD, HOUSE, LAWN, SIDE_STREET, WOOD, Street, cell

CLASSES = ("road", "pavement", "building", "pole", "vegetation", "sky", "car", "pedestrian", "bicyclist")
ROAD, PAVEMENT, BUILDING, POLE, VEGETATION, SKY, CAR, PEDESTRIAN, BICYCLIST = range(len(CLASSES))
FAR = 1e4

Values: TypeAlias = Float32[np.ndarray, " n"]
Colors: TypeAlias = Float32[np.ndarray, "n 3"]


class Weather(NamedTuple):
    """Light and air; colors are relative to white."""

    zenith: Float32[np.ndarray, "3"]
    haze: Float32[np.ndarray, "3"]
    """Color of the sky at the horizon, and of what is far away."""
    clouds: float
    """Share of the sky that is cloud, about 0 to 1."""
    visibility: float
    """Meters after which haze hides 63 % of a surface."""
    sun: tuple[float, float]
    """Meters (x, z) by which the shadow of something 1 m high is shifted."""
    shadow: float
    """Share of the light that a cast shadow takes, 0 to 1."""
    sides: tuple[float, float]
    """Light on the houses to the left and to the right, relative to the ground's."""
    texture: tuple[int, int]
    """Where in the noise this scene starts, so that no two scenes share a speck."""


class Backdrop(NamedTuple):
    """The empty street, one entry per pixel in reading order."""

    color: Colors
    label: UInt8[np.ndarray, " n"]
    distance: Values
    """Meters along the optical axis; `FAR` in the sky."""
    ground: Bool[np.ndarray, " n"]


@lru_cache(maxsize=8)
def noise(smoothness: float) -> Float32[np.ndarray, "256 256"]:
    """Return periodic Gaussian noise of zero mean and unit variance, correlated over `smoothness` cells."""
    field = gaussian_filter(np.random.default_rng(0).standard_normal((256, 256)), smoothness, mode="wrap")
    return ((field - field.mean()) / field.std()).astype(np.float32)


def speck(a: Values, b: Values, weather: Weather, smoothness: float = 0.6) -> Values:
    """Look up noise at two coordinates, in cells."""
    rows = (a.astype(np.int32) + weather.texture[0]) & 255
    columns = (b.astype(np.int32) + weather.texture[1]) & 255
    return noise(smoothness).take((rows << 8) + columns)


def part(values: Values) -> Values:
    """Return the fractional part; several times as fast as the remainder."""
    return values - np.floor(values)


class _Hits(NamedTuple):
    """What each ray meets first; a ray that meets none of the three goes to the sky."""

    facade: Bool[np.ndarray, " n"]
    gable: Bool[np.ndarray, " n"]
    """The end of a house, seen across a gap before it."""
    floor: Bool[np.ndarray, " n"]
    block: Int16[np.ndarray, " n"]
    """The block whose facade or gable it is."""
    right: Int64[np.ndarray, " n"]
    """1 for rays that go to the right, else 0."""
    distance: Values


def look(street: Street, camera: Camera, rays: Rays, weather: Weather) -> Backdrop:
    """Follow every ray to the first thing it hits: a house, a wood, the ground, or the sky."""
    x, y, z = (np.ascontiguousarray(plane).ravel() for plane in np.broadcast_arrays(*rays))
    x = np.where(np.abs(x) < 1e-5, np.float32(1e-5), x)
    hits = _follow(street, camera, x, y, z)
    color, label, distance = np.empty((x.size, 3), np.float32), np.full(x.size, SKY, np.uint8), hits.distance
    for hit, sideways, light in ((hits.facade, z, weather.sides), (hits.gable, x, (0.8, 0.8))):
        at = np.flatnonzero(hit)
        reach, block = distance[at], hits.block[at]
        shading = np.array(light, np.float32)[hits.right[at], None]
        front = _front(street, block, reach * sideways[at], camera.height + reach * y[at], reach, weather)
        color[at] = shading * front
        label[at] = np.where(street.blocks.kind[block] == HOUSE, np.uint8(BUILDING), np.uint8(VEGETATION))
    at = np.flatnonzero(hits.floor)
    reach = distance[at]
    color[at], label[at] = _floor(street, camera.x + reach * x[at], reach * z[at], reach, weather)
    at = np.flatnonzero(~(hits.facade | hits.gable | hits.floor))
    color[at], label[at], distance[at] = _heaven(x[at], y[at], z[at], weather)
    return Backdrop(color, label, distance, hits.floor)


def _follow(street: Street, camera: Camera, x: Values, y: Values, z: Values) -> _Hits:
    ground = np.where(y < -1e-4, np.float32(camera.height) / np.maximum(-y, np.float32(1e-4)), np.float32(FAR))
    right = (x > 0).astype(np.int64)
    walls = np.array([-street.wall[0], street.wall[1]], np.float32)
    wall = (walls.take(right) - np.float32(camera.x)) / x
    place = cell(right, wall * z)
    block = street.at.take(place)
    before = (wall < ground) & (wall * z < AHEAD)
    facade = before & (camera.height + wall * y < street.top.take(place))
    end = street.end.take(place) / np.maximum(z, np.float32(0.05))
    beyond = np.minimum(block + 1, street.at.max())
    aside = np.abs(camera.x + end * x) - np.abs(walls).take(right)
    gable = before & ~facade & (street.blocks.kind.take(block) > WOOD) & (z > 0.05)
    gable &= (end > 0) & (end < np.minimum(ground, AHEAD)) & (aside > 0) & (aside < 9)
    gable &= camera.height + end * y < street.blocks.height.take(beyond)
    floor = ~facade & ~gable & (ground < 400)
    distance = np.where(facade, wall, np.where(gable, end, ground)).astype(np.float32)
    return _Hits(facade, gable, floor, np.where(gable, beyond, block), right, distance)


def _front(
    street: Street, block: Int16[np.ndarray, " n"], across: Values, up: Values, distance: Values, weather: Weather
) -> Colors:
    """Return the fronts of houses, with windows, and of woods, with leaves, at points in meters."""
    blocks = street.blocks
    grain = speck(across * 9, up * 9, weather)
    stains = speck(across * 2.5, up * 1.2, weather, 3.0)
    leafy = blocks.kind[block] == WOOD
    depth = np.where(leafy, np.float32(0.20), np.float32(0.035))
    tone = 1 + depth * grain + np.where(leafy, np.float32(0.22), np.float32(0.06)) * stains
    color = blocks.color[block] * tone[:, None]
    column, row = across / blocks.bay[block], up / blocks.floor[block]
    wide, tall = np.abs(part(column) - np.float32(0.5)), np.abs(part(row) - np.float32(0.55))
    half = blocks.window[block] / 2
    pane = ~leafy & (wide < half[:, 0]) & (tall < half[:, 1])
    at = np.flatnonzero(pane)
    inside = speck(column[at] * 7, np.floor(row[at]) * 31, weather) * np.float32(0.3)
    fade = np.clip(np.float32(1.3) - distance[at] / 90, 0.25, 1)[:, None]
    color[at] += fade * (blocks.glass[block[at]] * np.maximum(1 + inside, 0.2)[:, None] - color[at])
    return color


def _floor(
    street: Street, x: Values, z: Values, distance: Values, weather: Weather
) -> tuple[Colors, UInt8[np.ndarray, " n"]]:
    """Return color and class of the ground at (x, z): road, pavement, lawn, and what is painted on them."""
    side = (x > 0).astype(np.intp)
    aside = np.abs(x)
    kind = street.blocks.kind.take(street.at.take(cell(side, z)))
    edge = np.array(street.road, np.float32).take(side)
    behind = aside > np.array(street.wall, np.float32).take(side)
    road = (aside < edge) | ((kind == SIDE_STREET) & (z > 0))
    lawn = behind & (kind == LAWN)
    label = np.where(road, np.uint8(ROAD), np.where(lawn, np.uint8(VEGETATION), np.uint8(PAVEMENT)))
    near = np.clip(np.float32(1.1) - distance / 45, 0.1, 1)
    grain = speck(x * 25, z * 25, weather) * near
    stains = speck(x * 4, z * 1.5, weather, 3.0)
    joints = _joints(x, z, street.slab)
    tone = 1 + np.float32(0.05) * grain + np.float32(0.07) * stains
    laid = ~road | street.cobbled
    tone = np.where(lawn, tone + np.float32(0.12) * grain, tone - np.float32(0.34) * near * joints * laid)
    patched = road & (speck(x * 2, z * 0.7, weather, 6.0) > 1.0)
    tone = np.where(patched, tone - np.float32(street.patches), tone)
    base = np.zeros((len(CLASSES), 3), np.float32)
    base[[ROAD, PAVEMENT, VEGETATION]] = street.asphalt, street.slabs, street.grass
    color = base.take(label, axis=0) * tone[:, None]
    curb = ~road & (aside < edge + np.float32(0.25))
    color[curb] = color[curb] * np.float32(0.5) + np.float32(0.25)
    paint = _markings(street, x, z) & road & (aside < edge)
    worn = np.float32(street.paint) * np.clip(1 + np.float32(0.3) * grain[paint], 0, 1)[:, None]
    color[paint] += worn * (np.float32(0.75) - color[paint])
    return color, label


def _joints(x: Values, z: Values, slab: float) -> Bool[np.ndarray, " n"]:
    across, along = np.abs(x) / np.float32(slab), z / np.float32(slab)
    bond = np.where(part(along / 2) < 0.5, np.float32(0.5), np.float32(0))
    return (part(across + bond) < 0.13) | (part(along) < 0.13)


def _markings(street: Street, x: Values, z: Values) -> Bool[np.ndarray, " n"]:
    """Tell where lines are painted: dashes in the middle, solid lines along the curbs, a zebra crossing."""
    middle = (street.road[1] - street.road[0]) / 2
    dashes = (np.abs(x - np.float32(middle)) < 0.08) & (part(z / 7) < 0.5)
    margins = (np.abs(x + np.float32(street.road[0] - 0.4)) < 0.06) | (
        np.abs(x - np.float32(street.road[1] - 0.4)) < 0.06
    )
    zebra = (np.abs(z - np.float32(street.crossing)) < 1.6) & (part(x) < 0.5)
    return dashes | margins | zebra


def _heaven(x: Values, y: Values, z: Values, weather: Weather) -> tuple[Colors, UInt8[np.ndarray, " n"], Values]:
    """Return color, class and distance above the street: the skyline at its end, then the sky."""
    ahead = np.maximum(z, np.float32(0.05))
    turn, rise = x / ahead, y / ahead
    quarter = np.floor(turn * 7 + weather.texture[0])
    pick = speck(quarter * 13, quarter * 7, weather)
    trees = pick > 0.2
    bumps = np.where(trees, speck(turn * 160, turn * 0, weather, 2.0) * np.float32(0.008), np.float32(0))
    outline = np.float32(0.045) + np.float32(0.02) * pick + bumps
    town = rise < outline
    high = np.clip(rise * np.float32(1.6), 0, 1)[:, None]
    color = weather.haze + high * (weather.zenith - weather.haze)
    depth = np.float32(1) / (np.maximum(rise, 0) + np.float32(0.12))
    puffs = speck(turn * depth * 12, depth * 14, weather, 6.0) + np.float32(0.35) * speck(
        turn * depth * 40, depth * 45, weather, 3.0
    )
    cover = np.clip(puffs * np.float32(0.6) + np.float32(2 * weather.clouds - 1), 0, 1)[:, None]
    color += cover * (weather.haze * np.float32(1.04) - np.float32(0.06) * puffs[:, None] - color)
    grain = 1 + np.float32(0.15) * speck(turn * 200, rise * 200, weather)
    shades = np.where(
        trees[:, None], np.array([0.24, 0.30, 0.18], np.float32), np.array([0.42, 0.39, 0.37], np.float32)
    )
    color[town] = (shades * grain[:, None])[town]
    label = np.where(town, np.where(trees, np.uint8(VEGETATION), np.uint8(BUILDING)), np.uint8(SKY))
    return color, label, np.where(town, np.float32(260), np.float32(FAR))
