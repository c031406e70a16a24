"""Who is labeled for what, and how many labeled rows of each task a batch will carry: known before training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from ssmtl.loader import OpenSources
from ssmtl.streams import Group

FEWEST_ROWS = 1.0
MOST_EMPTY = 0.5
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Holding:
    """The labels of a source, or of all together.

    `labeled` counts images that show the label of a task, `hidden` those whose label the budget or their source hides;
    tasks that the source doesn't serve are absent. `every` counts images that show the labels of all tasks of the
    recipe, `none` those without any.
    """

    source: str
    images: int
    labeled: Mapping[str, int]
    hidden: Mapping[str, int]
    every: int
    none: int


@dataclass(frozen=True)
class Share:
    """What one group of a batch draws: `rows` of `pool` images, `expected[task]` of them labeled on average."""

    group: str
    pool: int
    rows: int
    use_labels: bool
    expected: Mapping[str, float]


@dataclass(frozen=True)
class CoverageReport:
    """The task x label matrix of a recipe's sources, and what its batches carry.

    `expected[task]` labeled rows are in a batch on average, `empty[task]` is the probability that there is none. Both
    hold for the global batch of a micro-step, over all processes.
    """

    sources: tuple[Holding, ...]
    total: Holding
    shares: tuple[Share, ...]
    expected: Mapping[str, float]
    empty: Mapping[str, float]

    @property
    def warnings(self) -> dict[str, str]:
        """Return a sentence for each task that is starved.

        That is: less than one labeled row a batch on average, no row in more than half of the batches, or less than a
        tenth of the labels of another task.
        """
        found = {}
        richest = max(self.total.labeled, key=lambda task: self.total.labeled[task])
        for task, labels in self.total.labeled.items():
            reasons = []
            if self.expected[task] < FEWEST_ROWS or self.empty[task] > MOST_EMPTY:
                reasons.append(
                    f"a batch carries {self.expected[task]:.2f} labeled rows on average, and {self.empty[task]:.0%} of "
                    "the batches none"
                )
            if labels < LEAST_SHARE * self.total.labeled[richest]:
                reasons.append(f"it has {labels:,} labels, '{richest}' {self.total.labeled[richest]:,}")
            if reasons:
                found[task] = f"'{task}' is starved: {'; '.join(reasons)}."
        return found


def coverage_report(sources: OpenSources) -> CoverageReport:
    """Count labels and weigh streams, without opening an image; raises DataError for a stream with an empty pool."""
    coverage = sources.coverage
    groups, tasks = sources.groups(), tuple(coverage.visible)
    chances = {task: [_none_drawn(group, coverage.visible[task]) for group in groups] for task in tasks}
    shares = tuple(
        Share(
            group.name,
            len(group.pool),
            group.per_step,
            group.use_labels,
            {task: _expected(group, coverage.visible[task]) for task in tasks},
        )
        for group in groups
    )
    return CoverageReport(
        sources=tuple(_holding(sources, name, coverage.rows(name)) for name in coverage.sources),
        total=_holding(sources, "all", slice(0, len(coverage))),
        shares=shares,
        expected={task: sum(share.expected[task] for share in shares) for task in tasks},
        empty={task: math.prod(chances[task]) for task in tasks},
    )


def _holding(sources: OpenSources, name: str, rows: slice) -> Holding:
    coverage = sources.coverage
    visible = {task: mask[rows] for task, mask in coverage.visible.items()}
    served = [task for task in visible if coverage.served[task][rows].any()]
    shown = np.sum(list(visible.values()), axis=0)
    return Holding(
        source=name,
        images=len(shown),
        labeled={task: int(visible[task].sum()) for task in served},
        hidden={task: int((sources.annotated[task][rows] & ~visible[task]).sum()) for task in served},
        every=int((shown == len(visible)).sum()),
        none=int((shown == 0).sum()),
    )


def _labeled(group: Group, visible: Bool[np.ndarray, " n"]) -> int:
    return int(visible[group.pool].sum()) if group.use_labels else 0


def _expected(group: Group, visible: Bool[np.ndarray, " n"]) -> float:
    return group.per_step * _labeled(group, visible) / len(group.pool)


def _none_drawn(group: Group, visible: Bool[np.ndarray, " n"]) -> float:
    return none_drawn(len(group.pool), _labeled(group, visible), group.per_step)


def none_drawn(pool: int, labeled: int, rows: int) -> float:
    """Return the probability that a step draws none of the `labeled` images of a pool.

    Within an epoch rows are drawn without replacement: hypergeometric. A step at the end of an epoch draws the rest of
    it and the beginning of the next one, independently; the result is the mean over all places where a step can begin.
    """
    grid = math.gcd(pool, rows)
    at_the_end = range(grid, min(rows, pool + grid), grid)
    within = (pool // grid - len(at_the_end)) * _hypergeometric(pool, labeled, rows)
    across = 0.0
    for left in at_the_end:
        epochs, more = divmod(rows - left, pool)
        parts = (left, *(pool,) * epochs, more)
        across += math.prod(_hypergeometric(pool, labeled, part) for part in parts)
    return (within + across) / (pool // grid)


def _hypergeometric(pool: int, labeled: int, rows: int) -> float:
    """Return the probability of no labeled image among `rows` of a pool, drawn without replacement."""
    return math.comb(pool - labeled, rows) / math.comb(pool, rows) if rows <= pool else 0.0
