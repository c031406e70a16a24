"""What a reader of the film looks at: pneumonia, and the many things that are bright in a lung and are not pneumonia.

Only the pneumonia tells the classes apart. It is patchy: fluffy at the border, mottled inside, within a lung. In normal
films haze takes its place: as large, about as bright, smooth. Nodules are small and sharp, bowel is mottled but below
the diaphragm; these, tubes and leads occur in both classes equally often.
"""

from typing import NamedTuple

import numpy as np

from ssmtl.datasets.chest_phantom_anatomy import AXIS, KNOTS, Frame, Lung, Plane, ellipse, soft, texture


class Focus(NamedTuple):
    """One focus of pneumonia: an ellipse in body units, and how much of the air it displaces (0 to 1)."""

    center: tuple[float, float]
    radii: tuple[float, float]
    density: float


def draw_foci(lungs: tuple[Lung, Lung], rng: np.random.Generator) -> tuple[Focus, ...]:
    """Draw two to four foci: the first well inside a lung and never tiny, the others anywhere, also across its edge."""
    first = _draw_focus(lungs, (0.26, 0.38), (0.25, 0.75), rng)
    return first, *(_draw_focus(lungs, (0.16, 0.36), (0.05, 0.95), rng) for _ in range(rng.integers(1, 4)))


def _draw_focus(
    lungs: tuple[Lung, Lung], radius: tuple[float, float], across: tuple[float, float], rng: np.random.Generator
) -> Focus:
    size, stretch = rng.uniform(*radius), rng.uniform(0.8, 1.25)
    return Focus(place(lungs, rng, across), (size * stretch, size / stretch), rng.uniform(0.65, 1.0))


def place(
    lungs: tuple[Lung, Lung], rng: np.random.Generator, across: tuple[float, float] = (0.05, 0.95)
) -> tuple[float, float]:
    """Draw a point (x, y) in one of the lungs; `across` runs from its medial edge (0) to its lateral one (1)."""
    side = int(rng.integers(2))
    lung = lungs[side]
    y = lung.apex + rng.uniform(0.2, 0.85) * (lung.base - lung.apex)
    knot = int(np.searchsorted(AXIS, y))
    away = lung.medial[knot] + rng.uniform(*across) * (lung.lateral[knot] - lung.medial[knot])
    column = min(int(np.searchsorted(AXIS, away)), KNOTS - 1)
    return float((2 * side - 1) * away), float(min(y, lung.floor[column] - 0.05))


def consolidation(frame: Frame, foci: tuple[Focus, ...], rng: np.random.Generator) -> Plane:
    """Return the share of the air that pneumonia displaces, 0 to 1, not yet confined to the lungs."""
    canvas = frame.x.shape
    border, mottle = np.float32(0.25) * texture(canvas, 16, rng), texture(canvas, 22, rng)
    patch = np.zeros(canvas, np.float32)
    for focus in foci:
        inside = soft(1 - ellipse(frame, focus.center, focus.radii) + border, 0.3)
        patch = np.maximum(patch, np.float32(focus.density) * inside)
    return np.clip(patch * (np.float32(0.7) + np.float32(0.7) * mottle), 0, 1)


def haze(frame: Frame, foci: tuple[Focus, ...]) -> Plane:
    """Return the share of the air that is displaced where the foci are smooth, which is not pneumonia."""
    veil = np.zeros(frame.x.shape, np.float32)
    for focus in foci:
        inside = soft(1 - ellipse(frame, focus.center, focus.radii), 0.5)
        veil = np.maximum(veil, np.float32(0.5 * focus.density) * inside)
    return veil


def distractors(frame: Frame, lungs: tuple[Lung, Lung], rng: np.random.Generator) -> Plane:
    """Return what veils, nodules, bowel, tubes and leads take away; drawn the same way for both classes."""
    result = np.zeros(frame.x.shape, np.float32)
    for _ in range(rng.integers(0, 2)):
        radii = tuple(rng.uniform(0.16, 0.42, size=2))
        result += np.float32(rng.uniform(0.05, 0.28)) * soft(1 - ellipse(frame, place(lungs, rng), radii), 0.6)
    for _ in range(rng.integers(0, 4)):
        radius = rng.uniform(0.02, 0.045)
        result += np.float32(rng.uniform(0.08, 0.22)) * soft(
            1 - ellipse(frame, place(lungs, rng), (radius, radius)), 0.4
        )
    below = soft(frame.y - np.float32(max(lung.base for lung in lungs)), 0.1)
    result += np.float32(rng.uniform(0.0, 0.09)) * texture(frame.x.shape, 22, rng) * below
    if rng.random() < 0.4:
        result += _tube(frame, rng)
    for _ in range(rng.integers(0, 4) if rng.random() < 0.3 else 0):
        lead = ellipse(frame, (rng.uniform(-0.8, 0.8), rng.uniform(-0.6, 0.6)), (0.035, 0.035))
        result += np.float32(rng.uniform(0.2, 0.5)) * soft(1 - lead, 0.2)
    return result


def _tube(frame: Frame, rng: np.random.Generator) -> Plane:
    swing, end = rng.uniform(0.02, 0.25), np.float32(rng.uniform(-0.3, 0.6))
    path = rng.uniform(-0.3, 0.3) + swing * np.sin(AXIS * rng.uniform(1.5, 4) + rng.uniform(0, 6.3))
    width = max(0.012, 0.6 * frame.pixel)
    away = np.abs(frame.x - path.astype(np.float32)[frame.row])
    return np.float32(rng.uniform(0.08, 0.25)) * soft(1 - away / np.float32(width), 0.8) * soft(end - frame.y, 0.02)
