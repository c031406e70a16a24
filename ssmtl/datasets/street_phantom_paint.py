"""The painter: things from far to near over the street, with the shadows they cast, and who is seen at each pixel."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt8
from PIL import Image, ImageDraw

from ssmtl.datasets.street_phantom_camera import NEAREST, Camera, Grid, project
from ssmtl.datasets.street_phantom_things import Thing

REACH = 1.0
"""How far off the canvas a thing is still drawn, in canvas sides, to learn which share of it is seen."""


class Seen(NamedTuple):
    """Which thing, and which of its faces, every pixel shows; both count from 1, and 0 is the street behind."""

    thing: Int32[np.ndarray, "h w"]
    face: Int32[np.ndarray, "h w"]
    """Over the faces of all things, in the order of the things."""
    area: Float64[np.ndarray, " t"]
    """Pixels that each thing would cover alone, also beyond the border of the canvas."""


def paint(things: Sequence[Thing], camera: Camera, grid: Grid) -> Seen:
    """Paint things far to near, so that what is nearer hides what is behind; things too close to project are left out.

    A pixel belongs to a face that covers its center, up to half a pixel.
    """
    seen = Seen(np.zeros(grid.size, np.int32), np.zeros(grid.size, np.int32), np.zeros(len(things)))
    if not things:
        return seen
    points, depth = project(camera, np.concatenate([thing.points for thing in things]), grid)
    first = np.cumsum([0, *(len(thing.points) for thing in things)])
    starts = np.concatenate([np.array(thing.starts) + at for thing, at in zip(things, first, strict=False)])
    faces = np.cumsum([0, *(len(thing.starts) for thing in things)])
    solid = [thing.starts[:1] if thing.solid else thing.starts for thing in things]
    points = _snap(points, np.concatenate([np.array(own) + at for own, at in zip(solid, first, strict=False)]))
    bounds = np.append(starts, len(points)).tolist()
    _, foot = project(camera, np.array([(thing.place[0], 0.0, thing.place[1]) for thing in things]), grid)
    for index in np.argsort(-foot, kind="stable").tolist():
        own = slice(first[index], first[index + 1])
        if depth[own].min() <= NEAREST:
            continue
        low, high = points[own].min(axis=0), points[own].max(axis=0) + 1
        window = _window(low, high, grid.size)
        if window is None:
            continue
        drawn = _silhouette(points, bounds[faces[index] : faces[index + 1] + 1], window)
        seen.area[index] = np.count_nonzero(drawn)
        _put(seen, drawn, window, index + 1, int(faces[index]))
    return seen


def _snap(points: Float64[np.ndarray, "p 2"], starts: Int64[np.ndarray, " f"]) -> Int32[np.ndarray, "p 2"]:
    """Round corners so that what Pillow fills, borders included, is as wide as it should be, and at least a pixel.

    Faces are brought in one by one, those of a solid thing together: they share edges, and must not come apart.
    """
    counts = np.diff(np.append(starts, len(points)))
    low = np.repeat(np.minimum.reduceat(points, starts), counts, axis=0)
    high = np.repeat(np.maximum.reduceat(points, starts), counts, axis=0)
    inward = (points - low) / np.maximum(high - low, 1e-9)
    return np.clip(np.maximum(np.round(points - inward), np.round(low)), -1e6, 1e6).astype(np.int32)


def _window(
    low: Int32[np.ndarray, "2"], high: Int32[np.ndarray, "2"], size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Return (left, top, right, bottom) around a thing, None when no part of it is on the canvas."""
    height, width = size
    if high[0] <= 0 or high[1] <= 0 or low[0] >= width or low[1] >= height:
        return None
    left, top = max(int(low[0]), -int(REACH * width)), max(int(low[1]), -int(REACH * height))
    return left, top, min(int(high[0]), int((1 + REACH) * width)), min(int(high[1]), int((1 + REACH) * height))


def _silhouette(
    points: Int32[np.ndarray, "p 2"], bounds: list[int], window: tuple[int, int, int, int]
) -> UInt8[np.ndarray, "h w"]:
    """Draw the faces of one thing into its window: 0 outside, else 1 + the face's index within the thing."""
    left, top, right, bottom = window
    picture = Image.new("L", (right - left, bottom - top))
    draw = ImageDraw.Draw(picture)
    flat = (points[bounds[0] : bounds[-1]] - (left, top)).ravel().tolist()
    for index, (start, stop) in enumerate(pairwise(bounds), 1):
        draw.polygon(flat[2 * (start - bounds[0]) : 2 * (stop - bounds[0])], fill=index)
    return np.asarray(picture)


def _put(
    seen: Seen, drawn: UInt8[np.ndarray, "h w"], window: tuple[int, int, int, int], thing: int, before: int
) -> None:
    left, top, right, bottom = window
    height, width = seen.thing.shape
    rows, columns = slice(max(top, 0), min(bottom, height)), slice(max(left, 0), min(right, width))
    part = drawn[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    covered = part > 0
    seen.thing[rows, columns][covered] = thing
    seen.face[rows, columns][covered] = part[covered] + np.int32(before)


def shadows(things: Sequence[Thing], sun: tuple[float, float], camera: Camera, grid: Grid) -> Bool[np.ndarray, "h w"]:
    """Return which pixels of the ground lie in a shadow; `sun` is the shift (x, z) per meter of height."""
    picture = Image.new("1", grid.size[::-1])
    if not things:
        return np.asarray(picture)
    place, foot = (np.array([getattr(thing, name) for thing in things]) for name in ("place", "foot"))
    corners = place[:, None] + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * foot[:, None, :2]
    cast = np.concatenate([corners, corners + np.array(sun) * foot[:, 2:, None]], axis=1)
    ground = np.insert(cast.reshape(-1, 2), 1, 0.0, axis=1)
    flat, depth = (values.reshape(len(things), 8, -1) for values in project(camera, ground, grid))
    around = np.array([(0, 1, 2, 3), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)])
    draw = ImageDraw.Draw(picture)
    for quad in flat[depth[:, :, 0].min(axis=1) > NEAREST][:, around].reshape(-1, 8).tolist():
        draw.polygon(quad, fill=1)
    return np.asarray(picture)
