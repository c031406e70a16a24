"""Streams: what the batch of a step is made of, as a pure function of (seed, step).

Each group draws from its pool through a keyed permutation per epoch (a Feistel network with cycle-walking), so nothing
is stored, any step can be asked for first, and a resumed run sees the batches that an uninterrupted one would have.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field, model_validator
from torch.utils.data import Sampler

from ssmtl.component import Component
from ssmtl.errors import DataError, RecipeError, nearest
from ssmtl.keyed import key, splitmix64

ROUNDS = 6
Pool = Int64[np.ndarray, " n"]


class Ref(NamedTuple):
    """One place in a batch: a row of the pooled sources, its position in the global batch, and if labels show."""

    row: int
    position: int
    use_labels: bool


@dataclass(frozen=True)
class Coverage:
    """Labels of all sources laid end to end: N rows, `starts[s]` the first row of source s.

    `served[t]` says which rows belong to a source that serves task t, `visible[t]` which show a label of t.
    """

    sources: tuple[str, ...]
    starts: tuple[int, ...]
    served: dict[str, Bool[np.ndarray, " n"]]
    visible: dict[str, Bool[np.ndarray, " n"]]

    def __len__(self) -> int:
        return self.starts[-1]

    def rows(self, source: str) -> slice:
        """Return the rows of a source."""
        index = self.sources.index(source)
        return slice(self.starts[index], self.starts[index + 1])

    def labeled(self, rule: str = "any") -> Bool[np.ndarray, " n"]:
        """Return rows labeled for any task, for all tasks that are served, or for the task of that name."""
        anything: Bool[np.ndarray, " n"] = np.any(np.stack(list(self.visible.values())), axis=0)
        if rule == "any":
            return anything
        if rule == "all":
            return anything & np.all(np.stack([self.visible[t] | ~self.served[t] for t in self.visible]), axis=0)
        if rule not in self.visible:
            raise RecipeError(f"labeled_if='{rule}' names no task{nearest(rule, [*self.visible, 'any', 'all'])}")
        return self.visible[rule]


class Group(NamedTuple):
    """A pool of rows and how many of them every step draws; `use_labels` False hides their labels."""

    name: str
    pool: Pool
    per_step: int
    use_labels: bool


class Streams(Component):
    """What every batch is made of."""

    group = "streams"

    @abstractmethod
    def groups(self, coverage: Coverage) -> tuple[Group, ...]:
        """Return the groups of the global batch, in batch order; raises DataError for an empty pool."""


Size = Annotated[int, Field(ge=0)]


class PerSource(Streams):
    """From every source, `labeled` rows with a visible label and `unlabeled` rows without (MultiMix).

    `unlabeled_from` limits the unlabeled rows to some sources (None: all). A source whose labels are all visible lends
    its labeled images, labels hidden. `unlabeled_includes_labeled` adds the labeled images to every unlabeled pool.
    """

    labeled: Size = 10
    unlabeled: Size = 10
    unlabeled_from: tuple[str, ...] | None = None
    unlabeled_includes_labeled: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        _check_sizes(self.labeled, self.unlabeled)
        return self

    def groups(self, coverage: Coverage) -> tuple[Group, ...]:
        labeled, found = coverage.labeled(), []
        for name in self.unlabeled_from or ():
            if name not in coverage.sources:
                raise RecipeError(f"unlabeled_from names the source '{name}'{nearest(name, coverage.sources)}")
        for name in coverage.sources:
            rows = np.arange(len(coverage))[coverage.rows(name)]
            with_label, without = rows[labeled[rows]], rows[~labeled[rows]]
            lent = rows if self.unlabeled_includes_labeled or not len(without) else without
            if self.labeled:
                found.append(_group(f"{name} labeled", with_label, self.labeled, True))
            if self.unlabeled and (self.unlabeled_from is None or name in self.unlabeled_from):
                found.append(_group(f"{name} unlabeled", lent, self.unlabeled, False))
        return tuple(found)


class Implicit(Streams):
    """`batch` rows, uniform over everything: what they are labeled for is left to chance."""

    batch: Annotated[int, Field(ge=1)] = 16

    def groups(self, coverage: Coverage) -> tuple[Group, ...]:
        return (_group("all", np.arange(len(coverage)), self.batch, True),)


class Explicit(Streams):
    """`labeled` rows from the labeled pool and `unlabeled` rows from the rest.

    `labeled_if` says what counts as labeled: a label for "any" task, for "all" that are served, or for the task of that
    name. Rows of the unlabeled pool may carry labels of other tasks; `use_labels` says if these train. With `unlabeled`
    0 it is the uniform stream of a supervised baseline: labeled rows only, all equally often.
    `unlabeled_includes_labeled` adds the labeled images to the unlabeled pool, which then shows no label of any task.
    """

    labeled: Size = 8
    unlabeled: Size = 8
    labeled_if: str = "any"
    use_labels: bool = True
    unlabeled_includes_labeled: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        _check_sizes(self.labeled, self.unlabeled)
        if self.unlabeled_includes_labeled and self.use_labels:
            raise ValueError(
                "unlabeled_includes_labeled=True would show labels in the unlabeled rows too; set use_labels=False"
            )
        return self

    def groups(self, coverage: Coverage) -> tuple[Group, ...]:
        mask, found = coverage.labeled(self.labeled_if), []
        if self.unlabeled and mask.all() and not self.unlabeled_includes_labeled:
            raise DataError(
                f"every image is labeled (labeled_if='{self.labeled_if}'), which leaves none for the {self.unlabeled} "
                f"unlabeled rows of Explicit; take Explicit(labeled={self.labeled + self.unlabeled}, unlabeled=0) or "
                f"Implicit(batch={self.labeled + self.unlabeled}), or a label budget that hides some."
            )
        if self.labeled:
            found.append(_group("labeled", np.flatnonzero(mask), self.labeled, True))
        if self.unlabeled:
            pool = np.arange(len(mask)) if self.unlabeled_includes_labeled else np.flatnonzero(~mask)
            found.append(_group("unlabeled", pool, self.unlabeled, self.use_labels))
        return tuple(found)


class PerTask(Streams):
    """For every task, `labeled` rows with a visible label of it, and `unlabeled` rows that lack a label of some task.

    Every batch teaches every task, however few labels one of them has. Rows show whatever labels they have. Without any
    row that lacks a label, nothing takes the place of the unlabeled ones.
    """

    labeled: Size = 4
    unlabeled: Size = 8

    @model_validator(mode="after")
    def _something(self) -> Self:
        _check_sizes(self.labeled, self.unlabeled)
        return self

    def groups(self, coverage: Coverage) -> tuple[Group, ...]:
        found = []
        for name, visible in coverage.visible.items() if self.labeled else ():
            found.append(_group(f"{name} labeled", np.flatnonzero(visible), self.labeled, True))
        rest = np.flatnonzero(~coverage.labeled("all"))
        if self.unlabeled and len(rest):
            found.append(_group("unlabeled", rest, self.unlabeled, True))
        return tuple(found)


def _check_sizes(labeled: int, unlabeled: int) -> None:
    if not labeled + unlabeled:
        raise ValueError("labeled and unlabeled are both 0, so that batches would be empty; set one of them above 0")


def _group(name: str, pool: Pool, per_step: int, use_labels: bool) -> Group:
    if not len(pool):
        raise DataError(
            f"the stream '{name}' has nothing to draw from, but {per_step} rows a step were asked of it; "
            "check the label budget, or set that number to 0."
        )
    return Group(name, pool, per_step, use_labels)


def permute(places: Pool, n: int, key: int) -> Pool:
    """Map places in [0, n) to a pseudo-random permutation of [0, n), elementwise and without state.

    A balanced Feistel network of six splitmix64 rounds over the next even power of two, walked until inside [0, n).
    """
    half = max(1, (max(n - 1, 1).bit_length() + 1) // 2)
    mask, shift = np.uint64((1 << half) - 1), np.uint64(half)
    values = places.astype(np.uint64)
    outside = np.ones(len(values), dtype=bool)
    while outside.any():
        left, right = values[outside] >> shift, values[outside] & mask
        for round_ in range(ROUNDS):
            salt = np.uint64((key + 0x9E3779B97F4A7C15 * (round_ + 1)) % 2**64)
            left, right = right, left ^ (splitmix64(right ^ salt) & mask)
        values[outside] = (left << shift) | right
        outside = values >= np.uint64(n)
    return values.astype(np.int64)


def draw(n: int, per_step: int, step: int, seed: int) -> Pool:
    """Return the places in a pool of `n` that step `step` draws: every epoch visits each place exactly once."""
    places = np.arange(step * per_step, (step + 1) * per_step, dtype=np.int64)
    epochs, within = places // n, places % n
    result = np.empty_like(within)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        result[here] = permute(within[here], n, key("epoch", seed, int(epoch)))
    return result


class StepSampler(Sampler[list[Ref]]):
    """Yields one process's share of the batch of every step in [start, stop): the loader's `batch_sampler`.

    Each group is split evenly over `world` processes; an uneven split is refused with RecipeError.
    """

    def __init__(
        self, groups: Sequence[Group], seed: int, start: int, stop: int, rank: int = 0, world: int = 1
    ) -> None:
        for group in groups:
            if group.per_step % world:
                raise RecipeError(
                    f"the stream '{group.name}' draws {group.per_step} rows a step, which can't be split evenly over "
                    f"{world} processes; use a multiple of {world}, or another number of devices."
                )
        self.groups, self.seed, self.start, self.stop, self.rank, self.world = (
            tuple(groups), seed, start, stop, rank, world,
        )  # fmt: skip

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __iter__(self) -> Iterator[list[Ref]]:
        for step in range(self.start, self.stop):
            yield self.batch(step)

    def batch(self, step: int) -> list[Ref]:
        """Return the places of one step's batch that belong to this process."""
        refs: list[Ref] = []
        first = 0
        for group in self.groups:
            places = draw(len(group.pool), group.per_step, step, key("stream", self.seed, group.name))
            mine = range(self.rank, group.per_step, self.world)
            refs.extend(Ref(int(group.pool[places[i]]), first + i, group.use_labels) for i in mine)
            first += group.per_step
        return refs
