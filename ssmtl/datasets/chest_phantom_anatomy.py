"""The body in front of the detector: where the lungs are, and how much of the beam each part takes away.

Everything is drawn in *body units*, on a plane whose y axis points to the feet: the shorter side of a film is about 2
units, the origin lies between the lungs. Shapes are curves, tabulated once a film and gathered per pixel, and edges are
soft, so a film looks the same on every canvas. Attenuation adds up along the beam: 0 is air, about 1 the spine.
"""

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32, Int32
from scipy.ndimage import gaussian_filter1d

Plane: TypeAlias = Float32[np.ndarray, "h w"]
Curve: TypeAlias = Float32[np.ndarray, " knots"]

REACH = 3.0
KNOTS = 3072
AXIS = np.linspace(-REACH, REACH, KNOTS, dtype=np.float32)
RIBS = 9
VESSEL_ANGLES, VESSEL_DEPTHS = 320, 64


class Build(NamedTuple):
    """Proportions of the patients of a hospital, as (lowest, highest) of uniform draws unless said otherwise."""

    lung_width: tuple[float, float] = (0.62, 0.84)
    apex: tuple[float, float] = (-0.82, -0.58)
    base: tuple[float, float] = (0.38, 0.70)
    """Height of the costophrenic angle: low where the breath was deep."""
    heart: tuple[float, float] = (0.10, 0.30)
    """How far the heart indents the left lung."""
    rib_contrast: tuple[float, float] = (0.03, 0.10)
    shoulder: tuple[float, float] = (-0.72, -0.50)


ADULTS = Build()
CHILDREN = Build(
    lung_width=(0.66, 0.86),
    apex=(-0.70, -0.52),
    base=(0.26, 0.54),
    heart=(0.16, 0.34),
    rib_contrast=(0.06, 0.14),
    shoulder=(-0.85, -0.62),
)


class Frame(NamedTuple):
    """Where every pixel center lies in the body, and its index into curves over x and over y; `pixel` in body units."""

    x: Plane
    y: Plane
    column: Int32[np.ndarray, "h w"]
    row: Int32[np.ndarray, "h w"]
    pixel: float


class Lung(NamedTuple):
    """One lung: its edges as distances from the midline over y, and the height of its diaphragm over that distance."""

    apex: float
    base: float
    medial: Curve
    lateral: Curve
    floor: Curve


def pose(canvas: tuple[int, int], rng: np.random.Generator, zoom: tuple[float, float]) -> Frame:
    """Lay a canvas (height, width) over the body: zoomed, shifted, tilted up to 9 degrees, never mirrored."""
    height, width = canvas
    pixel = 2.0 / (min(height, width) * rng.uniform(*zoom))
    angle = np.clip(rng.normal(0.0, 0.06), -0.16, 0.16)
    shift = rng.uniform(-0.10, 0.10, size=2)
    rows = ((np.arange(height) - (height - 1) / 2) * pixel).astype(np.float32)[:, None]
    columns = ((np.arange(width) - (width - 1) / 2) * pixel).astype(np.float32)[None, :]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = columns * cos + rows * sin + np.float32(shift[0])
    y = rows * cos - columns * sin + np.float32(shift[1])
    return Frame(x, y, _knot(x), _knot(y), pixel)


def _knot(values: Plane) -> Int32[np.ndarray, "h w"]:
    return np.clip((values + REACH) * ((KNOTS - 1) / (2 * REACH)) + 0.5, 0, KNOTS - 1).astype(np.int32)


def soft(distance: Plane, width: float) -> Plane:
    """Return 0 below -width, 1 above width, and a smooth step between them."""
    t = np.clip(distance * np.float32(0.5 / width) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


@lru_cache(maxsize=64)
def _upsampling(size: int, cells: int) -> Float32[np.ndarray, "size cells_plus_3"]:
    """Return the matrix that takes `cells + 3` spline coefficients to `size` pixels, as a uniform cubic B-spline."""
    place = (np.arange(size) + 0.5) * cells / size
    cell = np.floor(place).astype(int)
    t = place - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    matrix = np.zeros((size, cells + 3), np.float32)
    for tap in range(4):
        matrix[np.arange(size), cell + tap] = weights[:, tap]
    return matrix


def texture(canvas: tuple[int, int], cells: int, rng: np.random.Generator) -> Plane:
    """Return smooth noise of about zero mean and unit variance, `cells` bumps along the shorter side."""
    rows, columns = (round(cells * side / min(canvas)) for side in canvas)
    lattice = rng.normal(size=(rows + 3, columns + 3)).astype(np.float32)
    noise = _upsampling(canvas[0], rows) @ lattice @ _upsampling(canvas[1], columns).T
    return noise * np.float32(2.1)


def _wobble(rng: np.random.Generator, size: float) -> Curve:
    waves = rng.normal(0.0, size, 3)[:, None] * np.sin(
        np.array([3.0, 6.0, 11.0])[:, None] * AXIS + rng.uniform(0, 6.3, 3)[:, None]
    )
    return waves.sum(axis=0).astype(np.float32)


def draw_lungs(build: Build, rng: np.random.Generator) -> tuple[Lung, Lung]:
    """Draw the lungs on the left and on the right of the film; the second one (the patient's left) makes room."""
    width, apex = rng.uniform(*build.lung_width), rng.uniform(*build.apex)
    base, heart = rng.uniform(*build.base), rng.uniform(*build.heart)
    turn = rng.normal(0.0, 0.05)
    bumps = (heart * rng.uniform(0.15, 0.4), heart)
    sides = (-1, 1)
    return (
        _draw_lung(width * (1 + turn), apex, base - rng.uniform(0.0, 0.10), bumps[0], sides[0], rng),
        _draw_lung(width * (1 - turn), apex + rng.normal(0.0, 0.02), base, bumps[1], sides[1], rng),
    )


def _draw_lung(width: float, apex: float, base: float, bump: float, side: int, rng: np.random.Generator) -> Lung:
    tip = rng.uniform(0.30, 0.44) * width
    hilum = rng.uniform(0.10, 0.18)
    power = rng.uniform(1.8, 2.6)
    down = np.clip((AXIS - apex) / (base * 0.8 - apex), 0, 1)
    lateral = tip + (width - tip) * (1 - (1 - down) ** power) ** (1 / power)
    lateral += _wobble(rng, 0.008) * np.sqrt(down)
    down = np.clip((AXIS - apex) / 0.35, 0, 1)
    medial = tip - (tip - hilum) * np.sqrt(1 - (1 - down) ** 2)
    middle, spread = base - rng.uniform(0.12, 0.3), rng.uniform(0.18, 0.30)
    medial += bump * np.exp(-np.square(np.minimum(AXIS - middle, 0) / spread))
    if side > 0:
        medial += rng.uniform(0.0, 0.06) * np.exp(-np.square((AXIS - apex - 0.42) / 0.09))
    medial += _wobble(rng, 0.006) * down
    crest, dome = rng.uniform(0.35, 0.6) * width, rng.uniform(0.10, 0.28)
    floor = base - dome * (1 - np.square((AXIS - crest) / (width - crest + 0.02)))
    floor = np.where(crest > AXIS, base - dome * (1 - 0.6 * np.square((AXIS - crest) / crest)), floor)
    return Lung(apex, base, *(curve.astype(np.float32) for curve in (medial, lateral, floor)))


def depth(lung: Lung, side: int, frame: Frame) -> Plane:
    """Return roughly the distance to the lung's edge in body units, positive inside."""
    across = frame.x if side > 0 else -frame.x
    edges = np.minimum(lung.lateral[frame.row] - across, across - lung.medial[frame.row])
    floor = lung.floor if side > 0 else lung.floor[::-1]
    return np.minimum(edges, np.minimum(floor[frame.column] - frame.y, frame.y - np.float32(lung.apex)))


def tissue(frame: Frame, lungs: tuple[Lung, Lung], build: Build, rng: np.random.Generator) -> Plane:
    """Return what the soft tissue takes: trunk, shoulders, mediastinum, heart, abdomen, breasts, airways, gas."""
    x, y = frame.x, frame.y
    wide = max(lung.lateral[KNOTS // 2 :].max() for lung in lungs) + rng.uniform(0.06, 0.22)
    shoulder = rng.uniform(*build.shoulder)
    outline = np.interp(
        AXIS, [shoulder - 0.25, shoulder, shoulder + 0.3, 0.1, 1.0], [0.22, 0.9, 1.25, wide, wide + 0.05]
    )
    outline = gaussian_filter1d(outline, 40).astype(np.float32)
    inside = outline[frame.row] - np.abs(x)
    body = np.float32(rng.uniform(0.42, 0.58)) * soft(inside, 0.04) * (0.75 + 0.25 * soft(inside - 0.15, 0.25))
    mid = np.float32(rng.normal(0.0, 0.015))
    reach = np.float32(rng.uniform(0.15, 0.22))
    body += np.float32(rng.uniform(0.16, 0.30)) * np.exp(-np.square((x - mid) / reach))
    body += _heart(frame, lungs, rng)
    floor = np.where(AXIS < 0, lungs[0].floor[::-1], lungs[1].floor)[frame.column]
    body += np.float32(rng.uniform(0.08, 0.24)) * soft(y - floor, 0.03) * soft(inside, 0.1)
    body += _breasts(frame, rng)
    trachea = np.exp(-np.square((x - mid - 0.02) / 0.035)) * soft(-0.25 - y, 0.1)
    body -= np.float32(rng.uniform(0.05, 0.12)) * trachea
    if rng.random() < 0.6:
        bubble = ellipse(frame, (rng.uniform(0.25, 0.6), lungs[1].base + rng.uniform(-0.02, 0.15)), (0.16, 0.09))
        body -= np.float32(rng.uniform(0.12, 0.35)) * soft(1 - bubble, 0.25) * soft(y - floor - 0.03, 0.02)
    return body


def ellipse(frame: Frame, center: tuple[float, float], radii: tuple[float, float]) -> Plane:
    """Return the distance from the center in radii."""
    across = (frame.x - np.float32(center[0])) / np.float32(radii[0])
    down = (frame.y - np.float32(center[1])) / np.float32(radii[1])
    return np.sqrt(across * across + down * down)


def _heart(frame: Frame, lungs: tuple[Lung, Lung], rng: np.random.Generator) -> Plane:
    middle = lungs[1].base - 0.22
    right, left = (float(np.interp(middle, AXIS, lung.medial)) for lung in lungs)
    radii = ((left + right) / 2 + 0.02, rng.uniform(0.26, 0.36))
    shadow = soft(1 - ellipse(frame, ((left - right) / 2, middle), radii), 0.2) * soft(lungs[1].base - frame.y, 0.15)
    return np.float32(rng.uniform(0.14, 0.30)) * shadow


def _breasts(frame: Frame, rng: np.random.Generator) -> Plane:
    strength = max(0.0, rng.uniform(-0.14, 0.16))
    radius, drop, apart = rng.uniform(0.25, 0.42), rng.uniform(0.2, 0.5), rng.uniform(0.36, 0.5)
    pair = [
        soft(1 - ellipse(frame, (side * apart, drop), (radius, radius)), 0.12) * soft(frame.y - drop + 0.3, 0.35)
        for side in (-1, 1)
    ]
    return np.float32(strength) * (pair[0] + pair[1])


def bones(frame: Frame, lungs: tuple[Lung, Lung], build: Build, rng: np.random.Generator) -> Plane:
    """Return what the bones take: ribs in front and behind, clavicles, scapulas, vertebrae."""
    across = np.abs(frame.x)
    contrast = rng.uniform(*build.rib_contrast)
    cage = np.maximum(lungs[0].lateral, lungs[1].lateral) + np.float32(0.05)
    inside = soft(cage[frame.row] - across, 0.03) * soft(lungs[1].base + 0.05 - frame.y, 0.2)
    top, uneven = lungs[1].apex - 0.05, rng.normal(0.0, 0.02)
    spacing = (lungs[1].base - top) / rng.uniform(6.5, 9.0)
    back = rng.uniform(0.25, 0.55) * np.square(AXIS) - rng.uniform(0.0, 0.15) * np.abs(AXIS) + uneven * np.sign(AXIS)
    front = top + 0.25 + rng.uniform(0.35, 0.6) * (0.8 - np.abs(AXIS)) + uneven * np.sign(AXIS)
    ribs = contrast * _ribs(frame, top + back, spacing, rng)
    ribs += 0.6 * contrast * _ribs(frame, front - 0.3, spacing * 1.15, rng)
    result = ribs * inside * soft(across - 0.06, 0.06)
    result += _clavicles(frame, lungs, rng) + _scapulas(frame, lungs, rng)
    spine = np.exp(-np.square(frame.x / np.float32(0.085)))
    waves = np.sin(frame.y * np.float32(rng.uniform(26, 34)) + np.float32(rng.uniform(0, 6)))
    return result + np.float32(rng.uniform(0.03, 0.10)) * spine * (1 + np.float32(0.35) * waves)


def _ribs(frame: Frame, line: Curve, spacing: float, rng: np.random.Generator) -> Plane:
    """Return bands with bright rims, centered `spacing` apart below the line `y = line(x)`."""
    steps = 64
    at = np.arange(-2 * steps, (RIBS + 4) * steps) / steps
    centers = np.arange(RIBS) + rng.normal(0.0, 0.06, RIBS)
    offset = np.abs(at[:, None] - centers[None, :]).min(axis=1)
    half = rng.uniform(0.18, 0.28)
    profile = np.clip((half - offset) / 0.08 + 0.5, 0, 1) * (0.7 + 0.5 * np.clip(offset / half, 0, 1) ** 3)
    place = (frame.y - line.astype(np.float32)[frame.column]) * np.float32(steps / spacing) + np.float32(2 * steps)
    return profile.astype(np.float32)[np.clip(place, 0, at.size - 1).astype(np.int32)]


def _clavicles(frame: Frame, lungs: tuple[Lung, Lung], rng: np.random.Generator) -> Plane:
    across = np.abs(AXIS)
    bend = lungs[1].apex + rng.uniform(0.08, 0.26) - rng.uniform(0.1, 0.4) * across
    bend = bend + rng.uniform(0.0, 0.05) * np.sin(across * 8) + rng.normal(0, 0.03) * np.sign(AXIS)
    bar = soft(np.float32(0.035) - np.abs(frame.y - bend.astype(np.float32)[frame.column]), 0.015)
    ends = soft(np.abs(frame.x) - 0.08, 0.03)
    return np.float32(rng.uniform(0.05, 0.14)) * bar * ends


def _scapulas(frame: Frame, lungs: tuple[Lung, Lung], rng: np.random.Generator) -> Plane:
    edge = np.float32(lungs[0].lateral.max() * rng.uniform(0.82, 1.1))
    blade = soft(np.abs(frame.x) - edge - np.float32(0.35) * (frame.y + np.float32(0.25)), 0.02)
    return np.float32(rng.uniform(0.02, 0.12)) * blade * soft(0.1 - frame.y, 0.06) * soft(frame.y + 0.75, 0.1)


def vessels(frame: Frame, rng: np.random.Generator) -> Plane:
    """Return vessels and bronchi that fan out from both hila and thin out towards the edge, about 0 to 1."""
    lattice = rng.normal(size=(VESSEL_ANGLES, VESSEL_DEPTHS)).astype(np.float32)
    lattice = gaussian_filter1d(gaussian_filter1d(lattice, 8.0, axis=1), 1.6, axis=0, mode="wrap")
    lattice = np.clip(lattice / lattice.std() - 0.3, 0, 2.5)
    dx, dy = np.abs(frame.x) - np.float32(0.16), frame.y + np.float32(0.02)
    away = np.sqrt(dx * dx + dy * dy)
    turn = np.arctan2(dy, dx) * np.float32(VESSEL_ANGLES / (4 * np.pi)) + VESSEL_ANGLES / 4
    turn += np.where(frame.x > 0, np.float32(VESSEL_ANGLES / 2), np.float32(0))
    ring = np.clip(away * np.float32(VESSEL_DEPTHS), 0, VESSEL_DEPTHS - 1).astype(np.int32)
    fan = lattice[turn.astype(np.int32) % VESSEL_ANGLES, ring]
    return np.exp(away * np.float32(-2.2)) * (np.float32(0.6) * fan + np.exp(-np.square(away / np.float32(0.14))))
