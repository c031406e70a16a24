"""What the machine does to the beam that leaves the body: collimation, film curve, blur, grain, grid, letters."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from ssmtl.datasets.chest_phantom_anatomy import Frame, Plane, soft, texture

GLYPHS = (
    ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
    ("10000", "10000", "10000", "10000", "10000", "10000", "11111"),
    ("01110", "10001", "10001", "11111", "10001", "10001", "10001"),
    ("11110", "10001", "10001", "11110", "10000", "10000", "10000"),
)


class Scanner(NamedTuple):
    """How the films of a hospital are taken, as (lowest, highest) of uniform draws unless said otherwise."""

    zoom: tuple[float, float] = (0.84, 1.12)
    gain: tuple[float, float] = (0.72, 1.25)
    offset: tuple[float, float] = (-0.06, 0.12)
    gamma: tuple[float, float] = (0.65, 1.35)
    blur: tuple[float, float] = (0.0, 0.010)
    """Standard deviation in body units."""
    grain: tuple[float, float] = (0.010, 0.045)
    """Standard deviation of the noise, in the film's full range."""
    coarse: float = 0.3
    """Share of the noise that is correlated over about three pixels."""
    grid: float = 0.0
    """Amplitude of the lines that an anti-scatter grid leaves."""
    collimated: float = 0.5
    """Probability that the blades show at the border."""


FILM = Scanner()
PORTABLE = Scanner(
    zoom=(1.0, 1.28),
    gain=(0.9, 1.5),
    offset=(-0.18, 0.02),
    gamma=(0.9, 1.8),
    blur=(0.004, 0.016),
    grain=(0.02, 0.07),
    coarse=0.75,
    grid=0.03,
    collimated=0.25,
)


def expose(beam: Plane, frame: Frame, scanner: Scanner, rng: np.random.Generator) -> UInt8[np.ndarray, "h w"]:
    """Turn attenuation (0 air, about 1 the spine) into gray values: bright where the beam was absorbed."""
    film = beam * np.float32(rng.uniform(*scanner.gain)) + np.float32(rng.uniform(*scanner.offset))
    tilt = rng.normal(0.0, 0.05, size=2).astype(np.float32)
    film += tilt[0] * frame.x + tilt[1] * frame.y
    film -= np.float32(rng.uniform(0.0, 0.08)) * (np.square(frame.x) + np.square(frame.y))
    film = gaussian_filter(film, rng.uniform(*scanner.blur) / frame.pixel, mode="nearest")
    film = np.clip(film, 0, 1) ** np.float32(rng.uniform(*scanner.gamma))
    film = _collimate(film, frame, scanner, rng)
    _letters(film, rng)
    film += _noise(frame, scanner, rng)
    return (np.clip(film, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def _noise(frame: Frame, scanner: Scanner, rng: np.random.Generator) -> Plane:
    size = frame.x.shape
    fine = rng.normal(size=size).astype(np.float32)
    coarse = texture(size, max(1, min(size) // 3), rng)
    noise = np.float32(rng.uniform(*scanner.grain)) * ((1 - scanner.coarse) * fine + scanner.coarse * coarse)
    lines = np.sin(np.arange(size[0], dtype=np.float32) * np.float32(rng.uniform(1.2, 2.4)))[:, None]
    return noise + np.float32(scanner.grid * rng.uniform(0.3, 1.0)) * lines


def _collimate(film: Plane, frame: Frame, scanner: Scanner, rng: np.random.Generator) -> Plane:
    """Hide what lies behind the blades: up to four straight edges, each a little askew."""
    edges = rng.uniform(0.86, 1.25, size=4)
    shade, askew = rng.uniform(0.0, 0.12), rng.normal(0.0, 0.03, size=4).astype(np.float32)
    if rng.random() >= scanner.collimated:
        return film
    open_x = np.minimum(edges[0] - frame.x + askew[0] * frame.y, edges[1] + frame.x + askew[1] * frame.y)
    open_y = np.minimum(edges[2] - frame.y + askew[2] * frame.x, edges[3] + frame.y + askew[3] * frame.x)
    seen = soft(np.minimum(open_x, open_y), 0.015)
    return film * seen + np.float32(shade) * (1 - seen)


def _letters(film: Plane, rng: np.random.Generator) -> None:
    """Burn a side marker of one or two letters into a corner, in place."""
    count, brightness = int(rng.integers(0, 3)), rng.uniform(0.7, 1.0)
    glyphs, top_half, left_half = rng.integers(len(GLYPHS), size=2), rng.random() < 0.8, rng.random() < 0.5
    height, width = film.shape
    scale = max(1, min(height, width) // rng.integers(90, 160))
    row = int((rng.uniform(0.02, 0.16) if top_half else rng.uniform(0.8, 0.9)) * height)
    column = int((rng.uniform(0.02, 0.14) if left_half else rng.uniform(0.78, 0.9)) * width)
    for glyph in glyphs[:count]:
        bits = np.array([[int(bit) for bit in line] for line in GLYPHS[glyph]], np.float32)
        stamp = np.kron(bits, np.ones((scale, scale), np.float32))
        window = film[row : row + stamp.shape[0], column : column + stamp.shape[1]]
        np.maximum(window, np.float32(brightness) * stamp[: window.shape[0], : window.shape[1]], out=window)
        column += stamp.shape[1] + scale
