"""The plan of a street: how wide, what lines it on both sides, what lies on the ground, and in which colors.

Both sides are rows of blocks along z: houses, woods, and gaps (lawns, squares, side streets) between them. What a pixel
needs to know about the block that it hits lies in tables over z, so a street costs the same however long it is.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, Int16, Int64

Color: TypeAlias = Float32[np.ndarray, "3"]

HOUSE, WOOD, LAWN, SQUARE, SIDE_STREET = range(5)
STEP = 0.125
BEHIND, AHEAD = 20.0, 200.0
"""Meters behind and before the camera that the tables cover."""
CELLS = int((BEHIND + AHEAD) / STEP)

WALLS = (
    np.array([(178, 160, 134), (146, 140, 134), (158, 92, 72), (206, 200, 188), (188, 150, 92), (104, 98, 96)]) / 255
)
LEAVES = np.array([(72, 92, 44), (94, 104, 52), (54, 76, 46), (120, 110, 56), (84, 98, 70)]) / 255


class Blocks(NamedTuple):
    """One entry per block of the street, both sides together; colors are reflectances from 0 to 1."""

    kind: Int16[np.ndarray, " b"]
    height: Float32[np.ndarray, " b"]
    color: Float32[np.ndarray, "b 3"]
    glass: Float32[np.ndarray, "b 3"]
    bay: Float32[np.ndarray, " b"]
    """Meters from window to window."""
    floor: Float32[np.ndarray, " b"]
    """Meters from floor to floor."""
    window: Float32[np.ndarray, "b 2"]
    """Share of a bay and of a floor that is window."""


class Street(NamedTuple):
    """A street; index 0 of a pair is the left side (x below 0), 1 the right side."""

    road: tuple[float, float]
    """Half widths of the road in meters."""
    wall: tuple[float, float]
    """Distance of the houses from the road's middle."""
    blocks: Blocks
    at: Int16[np.ndarray, "2 cells"]
    """Block at each step along z."""
    top: Float32[np.ndarray, "2 cells"]
    """Height of the block's outline above the road, 0 in gaps."""
    end: Float32[np.ndarray, "2 cells"]
    """z at which the block ends."""
    asphalt: Color
    slabs: Color
    grass: Color
    slab: float
    """Side of a paving slab in meters; its joints tell pavement from road."""
    paint: float
    """How much of the lane markings is left, 0 to 1."""
    crossing: float
    """z of the zebra crossing; behind the camera when there is none."""
    patches: float
    """How much darker repaired asphalt is."""
    cobbled: bool


def cell(side: Int64[np.ndarray, " n"], z: Float32[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Return the place of (side, z) in the flattened tables, clipped to them."""
    return np.clip((z + np.float32(BEHIND)) * np.float32(1 / STEP), 0, CELLS - 1).astype(np.int64) + side * CELLS


def tint(rng: np.random.Generator, low: float, high: float, spread: float = 0.03) -> Color:
    """Draw a gray between two reflectances, with a touch of color."""
    return np.clip(rng.uniform(low, high) * (1 + rng.normal(0.0, spread, 3)), 0.02, 1.0).astype(np.float32)


def shade_of(palette: Float64[np.ndarray, "k 3"], rng: np.random.Generator) -> Color:
    """Draw a color of a palette, lighter or darker, faded or not."""
    base = palette[rng.integers(len(palette))]
    faded = base + rng.uniform(0.0, 0.4) * (base.sum() / 3 - base)
    return (faded * rng.uniform(0.65, 1.2) * (1 + rng.normal(0, 0.04, 3))).astype(np.float32)


def plan(rng: np.random.Generator) -> Street:
    """Draw a street: 6 to 12 m of road, 1.5 to 5 m of pavement, and what lines them."""
    road = tuple(float(side) for side in rng.uniform(3.0, 6.0, 2))
    wall = tuple(side + float(width) for side, width in zip(road, rng.uniform(1.6, 5.5, 2), strict=True))
    green = rng.choice([0.05, 0.2, 0.6], p=[0.35, 0.45, 0.2])
    sides = [_lengths(rng) for _ in range(2)]
    edges = [np.concatenate([[-BEHIND], np.cumsum(lengths) - BEHIND]) for lengths in sides]
    count = sum(len(lengths) for lengths in sides)
    blocks = _blocks(count, green, rng)
    z = (np.arange(CELLS) + 0.5) * STEP - BEHIND
    index = [np.clip(np.searchsorted(edge, z, side="right") - 1, 0, len(edge) - 2) for edge in edges]
    at = np.stack([index[0], index[1] + len(sides[0])]).astype(np.int16)
    end = np.stack([edge[1:][which] for edge, which in zip(edges, index, strict=True)]).astype(np.float32)
    return Street(
        road=(road[0], road[1]),
        wall=(wall[0], wall[1]),
        blocks=blocks,
        at=at,
        top=_outline(blocks, at, z, rng),
        end=end,
        asphalt=tint(rng, 0.16, 0.42),
        slabs=tint(rng, 0.20, 0.50, 0.05),
        grass=shade_of(LEAVES, rng),
        slab=rng.uniform(0.35, 0.9),
        paint=rng.uniform(0.0, 0.9),
        crossing=rng.uniform(7.0, 30.0) if rng.random() < 0.3 else -BEHIND,
        patches=rng.uniform(0.0, 0.3),
        cobbled=bool(rng.random() < 0.12),
    )


def _lengths(rng: np.random.Generator) -> Float64[np.ndarray, " b"]:
    lengths = rng.uniform(6.0, 24.0, 40)
    return lengths[: int(np.searchsorted(np.cumsum(lengths), BEHIND + AHEAD)) + 1]


def _blocks(count: int, green: float, rng: np.random.Generator) -> Blocks:
    gaps = rng.uniform(0.08, 0.3)
    shares = np.array([1 - green, green, 0.5 * gaps, 0.25 * gaps, 0.35 * gaps])
    kind = rng.choice(5, count, p=shares / shares.sum())
    height = np.where(kind == HOUSE, rng.uniform(5.0, 18.0, count), rng.uniform(2.0, 9.0, count))
    colors = [shade_of(WALLS if k == HOUSE else LEAVES, rng) for k in kind]
    return Blocks(
        kind=kind.astype(np.int16),
        height=np.where(kind > WOOD, 0.0, height).astype(np.float32),
        color=np.stack(colors).astype(np.float32),
        glass=rng.uniform(0.05, 0.45, (count, 1)).astype(np.float32) * np.array([0.9, 1.0, 1.12], np.float32),
        bay=rng.uniform(1.4, 3.6, count).astype(np.float32),
        floor=rng.uniform(2.7, 3.8, count).astype(np.float32),
        window=rng.uniform(0.32, 0.72, (count, 2)).astype(np.float32),
    )


def _outline(
    blocks: Blocks, at: Int16[np.ndarray, "2 cells"], z: Float64[np.ndarray, " cells"], rng: np.random.Generator
) -> Float32[np.ndarray, "2 cells"]:
    """Return the top of every block: level on houses, crowns and twigs on woods."""
    waves = np.array([0.5, 1.1, 2.3, 4.9, 9.7])
    phases = rng.uniform(0, 2 * np.pi, (2, 5, 1))
    crowns = (np.sin(waves[:, None] * z + phases) * np.array([0.16, 0.10, 0.08, 0.05, 0.04])[:, None]).sum(axis=1)
    top = blocks.height[at]
    return np.where(blocks.kind[at] == WOOD, top * (1 + crowns), top).astype(np.float32)
