"""Curves of a run as SVG for a page: losses, metrics and pseudo-label coverage over the steps.

Everything with a name in it (titles, legends) stays outside the drawing, so that it is escaped with the page; the
drawing takes its text and grid color from the page, so that it fits a light and a dark one.
"""

import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from matplotlib import rc_context
from matplotlib.figure import Figure as Canvas
from matplotlib.typing import RcKeyType

from ssmtl.report.records import Record
from ssmtl.report.tables import title

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's colors for color-blind readers, without black and yellow, which vanish on one of the two pages."""
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
FRACTIONS = ("coverage", "confidence", "precision")
"""Names that strategies log beside their loss terms, all in [0, 1]."""
COUNTS = "pseudo_"
"""What the names of other such numbers begin with."""
POINTS = 400


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


def loss_figures(train: Sequence[Record]) -> list[Figure]:
    """Return the total loss, then the loss terms of every task, then the learning rate."""
    names = [name for name in _names(train) if not _is_of_pseudo_labels(name)]
    figures = [_figure("loss", "Loss", [series(train, "loss", "total loss")], 0)] if "loss" in names else []
    tasks = list(dict.fromkeys(name.partition("/")[0] for name in names if "/" in name))
    for task in tasks:
        curves = [series(train, name, name.partition("/")[2]) for name in names if name.startswith(f"{task}/")]
        figures.append(_figure("loss", f"Loss terms of {task}", curves, len(figures)))
    if "lr" in names:
        figures.append(_figure("learning rate", "Learning rate", [series(train, "lr", "learning rate")], len(figures)))
    return figures


def coverage_figures(train: Sequence[Record]) -> list[Figure]:
    """Return, per task, how pseudo-labels fare: the share above the threshold, their mean confidence, their number."""
    names = [name for name in _names(train) if "/" in name and _is_of_pseudo_labels(name)]
    figures: list[Figure] = []
    for task in dict.fromkeys(name.rpartition("/")[0] for name in names):
        mine = [(name, name.rpartition("/")[2]) for name in names if name.startswith(f"{task}/")]
        shares = [series(train, name, short) for name, short in mine if short in FRACTIONS]
        counts = [series(train, name, short.replace("_", "-")) for name, short in mine if short not in FRACTIONS]
        if shares:
            heading = f"Pseudo-labels of {task}"
            figures.append(_figure("fraction", heading, shares, 100 + len(figures), unit_range=True))
        if counts:
            figures.append(_figure("per image", f"Pseudo-labels of {task}, number", counts, 100 + len(figures)))
    return figures


def _is_of_pseudo_labels(name: str) -> bool:
    short = name.rpartition("/")[2]
    return short in FRACTIONS or short.startswith(COUNTS)


def metric_figures(validation: Sequence[Record]) -> list[Figure]:
    """Return, per task, its metrics in [0, 1] in one figure and any other in a second."""
    ways = list(dict.fromkeys((record.split, record.weights) for record in validation))
    tasks = list(dict.fromkeys(name.rpartition("/")[0] for name in _names(validation)))
    figures: list[Figure] = []
    for task in sorted(tasks, key=lambda task: task == ""):
        inside, outside = list[Curve](), list[Curve]()
        for name in (name for name in _names(validation) if name.rpartition("/")[0] == task):
            for way in ways:
                of_way = [record for record in validation if (record.split, record.weights) == way]
                label = title(name.rpartition("/")[2])
                curve = series(of_way, name, f"{label} ({', '.join(way)})" if len(ways) > 1 else label)
                if curve.steps.size:
                    (inside if _is_fraction(curve) else outside).append(curve)
        heading = f"Validation: {task}" if task else "Validation: all tasks together"
        if inside:
            figures.append(_figure("metric", heading, inside, 200 + len(figures), unit_range=True))
        if outside:
            figures.append(_figure("metric", f"{heading}, other scales", outside, 200 + len(figures)))
    return figures


def series(records: Iterable[Record], name: str, label: str) -> Curve:
    """Collect a named value over the steps; infinite values become NaN, which a line leaves out."""
    pairs = [(record.step, record.values[name]) for record in records if name in record.values]
    steps = np.array([step for step, _ in pairs], dtype=np.float64)
    values = np.array([value for _, value in pairs], dtype=np.float64)
    bad = int((~np.isfinite(values)).sum())
    return Curve(label, steps, np.where(np.isfinite(values), values, np.nan), bad)


def thin(curve: Curve, points: int = POINTS) -> Curve:
    """Return at most `points` means of equally long stretches; a stretch without any finite value stays NaN."""
    if curve.steps.size <= points:
        return curve
    step_parts = np.array_split(curve.steps, points)
    value_parts = np.array_split(curve.values, points)
    means = [float(part[np.isfinite(part)].mean()) if np.isfinite(part).any() else math.nan for part in value_parts]
    return curve._replace(steps=np.array([part.mean() for part in step_parts]), values=np.array(means))


def _names(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record.values))


def _is_fraction(curve: Curve) -> bool:
    finite = curve.values[np.isfinite(curve.values)]
    return bool((finite >= 0).all() and (finite <= 1).all())


def _figure(axis: str, title: str, curves: Sequence[Curve], number: int, *, unit_range: bool = False) -> Figure:
    legend = tuple(
        Legend(curve.label, PALETTE[i % len(PALETTE)], DASHES[i // len(PALETTE) % len(DASHES)])
        for i, curve in enumerate(curves)
    )
    notes = [f"{curve.label}: {curve.bad} value(s) were not finite and are left out" for curve in curves if curve.bad]
    last = "; ".join(f"{curve.label} {_last(curve)}" for curve in curves)
    svg = _draw(axis, [thin(curve) for curve in curves], legend, number, unit_range=unit_range)
    return Figure(title, svg, legend, ". ".join(notes), f"{title} over the steps. Last values: {last}.")


def _last(curve: Curve) -> str:
    finite = curve.values[np.isfinite(curve.values)]
    return f"{finite[-1]:.3g}" if finite.size else "not finite"


def _draw(axis: str, curves: Sequence[Curve], legend: Sequence[Legend], number: int, *, unit_range: bool) -> str:
    with rc_context(STYLE):
        canvas = Canvas(figsize=(5.6, 2.9), layout="constrained")
        axes = canvas.add_subplot()
        for curve, entry in zip(curves, legend, strict=True):
            marker = "o" if curve.steps.size <= 30 else ""
            axes.plot(curve.steps, curve.values, color=entry.color, ls=entry.style, lw=1.6, marker=marker, ms=3)
        axes.set(xlabel="step", ylabel=axis)
        if unit_range:
            axes.set_ylim(-0.02, 1.02)
        axes.grid(lw=0.6)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.savefig(buffer, format="svg", metadata=nothing)
    return _for_page(buffer.getvalue(), number)


def _for_page(svg: str, number: int) -> str:
    """Cut what only a file needs, make ids unique on the page, and hand ink and grid over to the style sheet."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>f{number}-", svg)
    svg = re.sub(r'^<svg ([^>]*?)\bwidth="[^"]*"', r"<svg \1", svg)
    svg = re.sub(r'^<svg ([^>]*?)\bheight="[^"]*"', r"<svg \1", svg)
    return svg.replace("*{", "svg *{").replace(INK, "currentColor").replace(GRID, "var(--line)")
