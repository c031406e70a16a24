"""Which curves a run's report shows: losses, metrics, and what strategies log beside them, told apart by name."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ssmtl.report.drawing import Curve, Figure, areas, lines, series
from ssmtl.report.records import Record
from ssmtl.report.tables import PERCENT, title

FRACTIONS = ("coverage", "confidence", "precision")
"""Names that strategies log beside their loss terms, all in [0, 1]."""
COUNTS = "pseudo_"
"""What the names of other such numbers begin with."""
BINS: Mapping[str, str] = MappingProxyType(
    {
        f"confidence_to_{end}": f"{start / 100:g} to {end / 100:g}"
        for start, end in ((0, 20), (20, 40), (40, 60), (60, 80), (80, 90), (90, 95), (95, 99), (99, 100))
    }
)
"""The confidence histogram: shares of rows whose largest probability lies in a bin, with the bin in words."""
MASKED: Mapping[str, str] = MappingProxyType(
    {
        "ood_masked": "masked, of the unlabeled rows",
        "ood_hits": "foreign, of the masked rows",
        "foreign": "foreign, of the unlabeled rows (what chance would hit)",
    }
)
"""What is logged of a mask over unlabeled rows, all in [0, 1]."""
SIGNAL: Mapping[str, str] = MappingProxyType(
    {"tsa_kept": "labeled rows that still train", "tsa_threshold": "threshold of their probability"}
)
"""What training signal annealing logs, all in [0, 1]."""
CHECKPOINTS = "checkpoint_test"
"""The phase of tests of single checkpoints during training."""
ERROR = "error_pct"


def loss_figures(train: Sequence[Record]) -> list[Figure]:
    """Return the total loss, then the loss terms of every task, then the learning rate."""
    names = [name for name in _names(train) if _is_loss(name)]
    figures = [lines("loss", "Loss", [series(train, "loss", "total loss")], 0)] if "loss" in names else []
    tasks = list(dict.fromkeys(name.partition("/")[0] for name in names if "/" in name))
    for task in tasks:
        curves = [series(train, name, name.partition("/")[2]) for name in names if name.startswith(f"{task}/")]
        figures.append(lines("loss", f"Loss terms of {task}", curves, len(figures)))
    if "lr" in names:
        figures.append(lines("learning rate", "Learning rate", [series(train, "lr", "learning rate")], len(figures)))
    return figures


def coverage_figures(train: Sequence[Record]) -> list[Figure]:
    """Return, per task, how pseudo-labels fare: share above the threshold, confidence, its histogram, their number."""
    figures: list[Figure] = []
    for task, names in _by_task(train).items():
        shares = [_share(train, task, name, name) for name in names if name in FRACTIONS]
        counts = [series(train, f"{task}/{name}", name.replace("_", "-")) for name in names if name.startswith(COUNTS)]
        bins = [_share(train, task, name, label) for name, label in BINS.items() if name in names]
        if shares:
            heading = f"Pseudo-labels of {task}"
            figures.append(lines("fraction", heading, shares, 100 + len(figures), unit_range=True))
        if bins:
            heading = f"Confidence of {task}"
            note = "Share of rows by their largest probability, the least sure at the bottom"
            figures.append(areas("share of rows", heading, bins, 100 + len(figures), note=note))
        if counts:
            figures.append(lines("per image", f"Pseudo-labels of {task}, number", counts, 100 + len(figures)))
    return figures


def mask_figures(train: Sequence[Record]) -> list[Figure]:
    """Return, per task, which unlabeled rows a mask hides, and which labeled rows still train."""
    figures: list[Figure] = []
    for task, names in _by_task(train).items():
        masked = [_share(train, task, name, label) for name, label in MASKED.items() if name in names]
        signal = [_share(train, task, name, label) for name, label in SIGNAL.items() if name in names]
        if masked:
            heading = f"What the mask hides of {task}" if "ood_masked" in names else f"Foreign rows of {task}"
            figures.append(lines("fraction", heading, masked, 200 + len(figures), unit_range=True))
        if signal:
            heading = f"Training signal of {task}"
            figures.append(lines("fraction", heading, signal, 200 + len(figures), unit_range=True))
    return figures


def metric_figures(validation: Sequence[Record]) -> list[Figure]:
    """Return, per task, its metrics in [0, 1] in one figure and any other in a second."""
    figures: list[Figure] = []
    tasks = list(dict.fromkeys(name.rpartition("/")[0] for name in _names(validation)))
    for task in sorted(tasks, key=lambda task: task == ""):
        inside, outside = list[Curve](), list[Curve]()
        for name in (name for name in _names(validation) if name.rpartition("/")[0] == task):
            for curve in _per_way(validation, name, title(name.rpartition("/")[2])):
                (inside if _is_fraction(name, curve) else outside).append(curve)
        heading = f"Validation: {task}" if task else "Validation: all tasks together"
        if inside:
            figures.append(lines("metric", heading, inside, 300 + len(figures), unit_range=True))
        if outside:
            figures.append(lines("metric", f"{heading}, other scales", outside, 300 + len(figures)))
    return figures


def checkpoint_figures(tests: Sequence[Record]) -> list[Figure]:
    """Return the test error of single checkpoints, where tasks have one."""
    names = [name for name in _names(tests) if name.rpartition("/")[2] == ERROR]
    curves = [curve for name in names for curve in _per_way(tests, name, name.rpartition("/")[0] or title(ERROR))]
    if not curves:
        return []
    note = "How much the error moves from one checkpoint to the next; none is chosen by it"
    return [lines(title(ERROR), "Test error over the last checkpoints", curves, 400, note=note)]


def _names(records: Iterable[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record.values))


def _by_task(train: Iterable[Record]) -> dict[str, list[str]]:
    """Return, per task, the short names of what is logged of it and is no loss term."""
    found: dict[str, list[str]] = {}
    for name in _names(train):
        task, _, short = name.rpartition("/")
        if task and not _is_loss(name):
            found.setdefault(task, []).append(short)
    return found


def _is_loss(name: str) -> bool:
    short = name.rpartition("/")[2]
    return not (short in {*FRACTIONS, *BINS, *MASKED, *SIGNAL} or short.startswith(COUNTS))


def _share(train: Iterable[Record], task: str, name: str, label: str) -> Curve:
    return series(train, f"{task}/{name}", label, gaps=True)


def _per_way(records: Sequence[Record], name: str, label: str) -> list[Curve]:
    """Return a curve per split and weights that have the metric, named with both where there are several."""
    ways = list(dict.fromkeys((record.split, record.weights) for record in records))
    found = []
    for way in ways:
        of_way = [record for record in records if (record.split, record.weights) == way]
        curve = series(of_way, name, f"{label} ({', '.join(filter(None, way))})" if len(ways) > 1 else label)
        found += [curve] if curve.steps.size else []
    return found


def _is_fraction(name: str, curve: Curve) -> bool:
    finite = curve.values[np.isfinite(curve.values)]
    return not name.endswith(PERCENT) and bool((finite >= 0).all() and (finite <= 1).all())
