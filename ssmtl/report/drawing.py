"""Series over the steps and how they are drawn: SVG for a page that may be light or dark.

Everything with a name in it (titles, legends) stays outside the drawing, so that it is escaped with the page; the
drawing takes its text and grid color from the page.
"""

import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.typing import RcKeyType

from ssmtl.report.records import Record

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's colors for color-blind readers, without black and yellow, which vanish on one of the two pages."""
SEQUENCE = ("#495bd7", "#8c58d9", "#c157c5", "#ec5ca1", "#fe777b", "#fd9b68", "#feb84d", "#f0da1c")
"""From blue over red to yellow, in even steps of lightness (OKLCH 0.53 to 0.88) and hue that both pages show."""
DASHES = ("solid", "dashed", "dotted")
INK, GRID = "#010203", "#040506"
STYLE: dict[RcKeyType, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": GRID,
    "svg.fonttype": "none",
    "svg.hashsalt": "ssmtl",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
POINTS, AREA_POINTS = 400, 100
"""The most points of a line, and of the edge of an area, whose noise hides its neighbors."""


class Curve(NamedTuple):
    """A series: one value per step, NaN where nothing finite was measured; `bad` counts values that weren't finite."""

    label: str
    steps: Float64[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]
    bad: int = 0


class Legend(NamedTuple):
    """What a line means: its label, its color, and its CSS border style."""

    label: str
    color: str
    style: str


class Figure(NamedTuple):
    """A drawn figure: SVG without any name in it, and the words around it."""

    title: str
    svg: str
    legend: tuple[Legend, ...]
    note: str
    alt: str


def series(records: Iterable[Record], name: str, label: str, *, gaps: bool = False) -> Curve:
    """Collect a named value over the steps; infinite values become NaN, which a line leaves out.

    With `gaps` a record without the value becomes NaN too, so that no line is drawn over where it wasn't defined.
    """
    found = [record for record in records if gaps or name in record.values]
    steps = np.array([record.step for record in found], dtype=np.float64)
    values = np.array([record.values.get(name, math.nan) for record in found], dtype=np.float64)
    bad = sum(name in record.values and not math.isfinite(record.values[name]) for record in found)
    return Curve(label, steps, np.where(np.isfinite(values), values, np.nan), bad)


def thin(curve: Curve, points: int = POINTS) -> Curve:
    """Return at most `points` means of equally long stretches; a stretch without any finite value stays NaN."""
    if curve.steps.size <= points:
        return curve
    step_parts = np.array_split(curve.steps, points)
    value_parts = np.array_split(curve.values, points)
    means = [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else math.nan for part in value_parts]
    return curve._replace(steps=np.array([part.mean() for part in step_parts]), values=np.array(means))


def lines(
    axis: str, title: str, curves: Sequence[Curve], number: int, *, unit_range: bool = False, note: str = ""
) -> Figure:
    """Draw a line per curve over the steps; `number` makes ids unique on a page, `unit_range` fixes y to [0, 1]."""
    legend = tuple(
        Legend(curve.label, PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)])
        for i, curve in enumerate(curves)
    )
    with rc_context(STYLE):
        canvas, axes = _canvas(axis, unit_range=unit_range)
        for curve, entry in zip(map(thin, curves), legend, strict=True):
            dots: Any = slice(None) if curve.steps.size <= 30 else _alone(curve)
            style: dict[str, Any] = {"color": entry.color, "ls": entry.style, "lw": 1.6, "marker": "o", "ms": 3}
            axes.plot(curve.steps, curve.values, markevery=dots, **style)
        axes.grid(lw=0.6)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        svg = _svg(canvas, number)
    last = "; ".join(f"{curve.label} {_last(curve)}" for curve in curves)
    notes = [*([note] if note else []), *_left_out(curves)]
    return Figure(title, svg, legend, ". ".join(notes), f"{title} over the steps. Last values: {last}.")


def areas(axis: str, title: str, curves: Sequence[Curve], number: int, *, note: str = "") -> Figure:
    """Stack up to 8 ordered shares that sum to 1, from the first at the bottom; all have the same steps.

    A step where one of them is missing is a gap, since those above it would lie too low.
    """
    colors = [SEQUENCE[round(i * (len(SEQUENCE) - 1) / max(1, len(curves) - 1))] for i in range(len(curves))]
    shares = np.stack([curve.values for curve in curves])
    shares[:, ~np.isfinite(shares).all(axis=0)] = np.nan
    whole = [thin(curve._replace(values=values), AREA_POINTS) for curve, values in zip(curves, shares, strict=True)]
    with rc_context(STYLE):
        canvas, axes = _canvas(axis, unit_range=True)
        axes.stackplot(whole[0].steps, [curve.values for curve in whole], colors=colors, lw=0)
        svg = _svg(canvas, number)
    legend = tuple(Legend(curve.label, color, "solid") for curve, color in zip(curves, colors, strict=True))
    last = "; ".join(f"{_last(curve)} at {curve.label}" for curve in curves)
    notes = [*([note] if note else []), *_left_out(curves)]
    return Figure(title, svg, legend, ". ".join(notes), f"{title} over the steps. Last shares: {last}.")


def _canvas(axis: str, *, unit_range: bool) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(5.6, 2.9), layout="constrained")
    axes = canvas.add_subplot()
    axes.set(xlabel="step", ylabel=axis)
    if unit_range:
        axes.set_ylim(-0.02, 1.02)
    return canvas, axes


def _alone(curve: Curve) -> Bool[np.ndarray, " n"]:
    """Return which points lie between two gaps, so that no line shows them."""
    there = np.pad(np.isfinite(curve.values), 1)
    found: Bool[np.ndarray, " n"] = there[1:-1] & ~there[:-2] & ~there[2:]
    return found


def _left_out(curves: Iterable[Curve]) -> list[str]:
    return [f"{curve.label}: {curve.bad} value(s) were not finite and are left out" for curve in curves if curve.bad]


def _last(curve: Curve) -> str:
    finite = curve.values[np.isfinite(curve.values)]
    return f"{finite[-1]:.3g}" if finite.size else "not finite"


def _svg(canvas: Canvas, number: int) -> str:
    """Cut what only a file needs, make ids unique on the page, and hand ink and grid over to the style sheet."""
    buffer = io.StringIO()
    canvas.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>f{number}-", svg)
    svg = re.sub(r'^<svg ([^>]*?)\bwidth="[^"]*"', r"<svg \1", svg)
    svg = re.sub(r'^<svg ([^>]*?)\bheight="[^"]*"', r"<svg \1", svg)
    return svg.replace("*{", "svg *{").replace(INK, "currentColor").replace(GRID, "var(--line)")
