"""Dividing images into train, val and test: whole groups, and for every task and class its share.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), on groups instead of images: what is rarest is divided
first. Groups that carry exactly the same are divided at once, so that a million images take seconds; few images are
divided several times over, and the division that leaves least out is taken.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64
from scipy.sparse import csr_array

from ssmtl.keyed import key, splitmix64, uniform

SPLITS = ("train", "val", "test")
FREE = -1
"""The split of a row that has none yet."""

_TRIES = 20
_FEW_GROUPS = 10_000


class Traits(NamedTuple):
    """What rows carry: column k of `carried` [n, k] is 1 where the row has trait k.

    The first `tasks` traits are annotations ("is labeled"), the others classes and sources.
    """

    names: tuple[str, ...]
    tasks: int
    carried: csr_array


class Gap(NamedTuple):
    """A task without any label in a split, and how many groups carry its labels at all."""

    task: str
    split: str
    groups: int


def divide(
    traits: Traits,
    groups: Int64[np.ndarray, " n"],
    fixed: Int8[np.ndarray, " n"],
    shares: tuple[float, float, float],
    seed: int,
) -> Int8[np.ndarray, " n"]:
    """Return an index into SPLITS per row; rows of a group get the same, and rows that are `fixed` keep theirs.

    `shares` are those of train, val and test among all rows, fixed ones included: a split that has enough of them gets
    no more. Every trait is in train if any row without a fixed split has it. Every task is in val and test too, unless
    their share is 0, or no way was found that leaves train every task and class, and the other every task. Depends on
    nothing but the arguments. The fixed rows of a group must agree.
    """
    start = _State.of(traits, groups, fixed, np.asarray(shares))
    best, least = start, (len(SPLITS) * len(traits.names),) * 2
    for attempt in range(_TRIES if len(start.counts) <= _FEW_GROUPS else 1):
        state = start.shuffled(seed, attempt)
        state.share_out_equals()
        state.share_out_rest()
        state.fill_train()
        state.fill_held_out()
        missing = state.missing()
        if missing < least:
            best, least = state, missing
        if least == (0, 0):
            break
    return best.split[best.codes]


def gaps(
    traits: Traits,
    groups: Int64[np.ndarray, " n"],
    split: Int8[np.ndarray, " n"],
    shares: tuple[float, float, float] = (0, 0, 0),
) -> list[Gap]:
    """Return which tasks have no label in a split that has rows, or should have a share of them."""
    wanted = [part for part, share in enumerate(shares) if share > 0 or (split == part).any()]
    found = []
    for place, task in enumerate(traits.names[: traits.tasks]):
        rows = traits.carried[:, [place]].nonzero()[0]
        missing = [part for part in wanted if not (split[rows] == part).any()]
        found += [Gap(task, SPLITS[part], len(np.unique(groups[rows]))) for part in missing]
    return found


@dataclass
class _State:
    """Groups on their way into splits; the last column of `counts` is their number of images."""

    codes: Int64[np.ndarray, " n"]
    counts: Int64[np.ndarray, "g k"]
    tasks: int
    split: Int8[np.ndarray, " g"]
    free: Bool[np.ndarray, " g"]
    shares: Float64[np.ndarray, "3"]
    order: Int64[np.ndarray, " g"]
    rarest_first: bool = True

    @classmethod
    def of(
        cls,
        traits: Traits,
        groups: Int64[np.ndarray, " n"],
        fixed: Int8[np.ndarray, " n"],
        shares: Float64[np.ndarray, "3"],
    ) -> "_State":
        _, codes = np.unique(groups, return_inverse=True)
        n, count = len(codes), int(codes.max(initial=-1)) + 1
        members = csr_array((np.ones(n, dtype=np.int64), (codes, np.arange(n))), shape=(count, n))
        counts = np.concatenate([(members @ traits.carried).toarray(), members.sum(axis=1)[:, None]], axis=1)
        split = np.full(count, FREE, dtype=np.int8)
        np.maximum.at(split, codes, fixed)
        sizes = counts[:, -1]
        taken = np.bincount(split[split != FREE], weights=sizes[split != FREE], minlength=len(SPLITS))
        left = np.maximum(shares * sizes.sum() - taken, 0)
        wanted = left / left.sum() if left.any() else shares
        return cls(codes, counts, traits.tasks, split, split == FREE, wanted, np.arange(count))

    def shuffled(self, seed: int, attempt: int) -> "_State":
        """Return the state before anything was divided, groups in another order.

        Every other attempt takes them as they come: what is rarest first often ends in the same corner.
        """
        noise = uniform(key("split", seed, attempt), self.order, 1)[:, 0]
        order = np.argsort(noise, kind="stable")
        return replace(self, split=self.split.copy(), order=order, rarest_first=attempt % 2 == 0)

    def share_out_equals(self) -> None:
        """Divide the groups that carry exactly the same among each other, as far as whole numbers go."""
        alike = np.zeros(len(self.counts), dtype=np.uint64)
        for column in self.counts.T:
            alike = splitmix64(alike ^ column.astype(np.uint64))
        _, kind = np.unique(alike, return_inverse=True)
        rows = self.order[self.free[self.order]]
        rows = rows[np.argsort(kind[rows], kind="stable")]
        sizes = np.bincount(kind[rows], minlength=int(kind.max(initial=-1)) + 1)
        rank = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        bounds = np.cumsum(np.floor(sizes[:, None] * self.shares + 1e-9).astype(np.int64), axis=1)[kind[rows]]
        place = (rank[:, None] >= bounds).sum(axis=1)
        self.split[rows] = np.where(place < len(SPLITS), place, FREE)

    def share_out_rest(self) -> None:
        """Give the groups that are left to the split that lacks most of the rarest thing that they carry."""
        totals = self.counts[self.free].sum(axis=0)
        wanted = self.shares[:, None] * totals - np.stack(
            [self.counts[self.free & (self.split == part)].sum(axis=0) for part in range(len(SPLITS))]
        )
        rows = self.order[self.split[self.order] == FREE]
        rarest = np.where(self.counts[rows] > 0, totals, np.iinfo(np.int64).max).argmin(axis=1)
        in_turn = np.lexsort((-self.counts[rows, -1], totals[rarest])) if self.rarest_first else np.arange(len(rows))
        for place in in_turn.tolist():
            row, trait = rows[place], rarest[place]
            part = int(np.lexsort((self.shares, wanted[:, -1], wanted[:, trait]))[-1])
            self.split[row] = part
            wanted[part] -= self.counts[row]

    def fill_train(self) -> None:
        """Bring one group of every trait that train lacks there; nobody leaves train."""
        for trait in np.argsort(self.counts.sum(axis=0), kind="stable").tolist():
            has = self.counts[:, trait] > 0
            if not (has & (self.split == 0)).any() and (has & self.free).any():
                candidates = np.flatnonzero(has & self.free)
                self.split[self._smallest(candidates)] = 0

    def fill_held_out(self) -> None:
        """Bring one group of every task that val or test lacks there, where its split can do without it."""
        for part in (1, 2):
            for task in np.argsort(self.counts[:, : self.tasks].sum(axis=0), kind="stable").tolist():
                has = self.counts[:, task] > 0
                if self.shares[part] > 0 and not (has & (self.split == part)).any():
                    candidates = np.flatnonzero(has & self.free & self._can_leave())
                    if len(candidates):
                        self.split[self._smallest(candidates)] = part

    def missing(self) -> tuple[int, int]:
        """Count the splits that lack tasks, and those that lack classes which have a group for each of them."""
        has = self.counts[:, :-1] > 0
        lacks = np.stack([~has[self.split == part].any(axis=0) for part in np.flatnonzero(self.shares)])
        tasks = np.arange(has.shape[1]) < self.tasks
        return int(lacks[:, tasks].sum()), int(lacks[:, ~tasks & (has.sum(axis=0) >= len(SPLITS))].sum())

    def _can_leave(self) -> Bool[np.ndarray, " g"]:
        """Return which groups leave nothing empty behind: of train no trait, of val and test no task."""
        able = np.ones(len(self.counts), dtype=np.bool_)
        for part in range(len(SPLITS)):
            inside = self.split == part
            has = self.counts[:, : None if part == 0 else self.tasks] > 0
            only = has[inside].sum(axis=0) == 1
            able[inside] = ~(has[inside] & only).any(axis=1)
        return able

    def _smallest(self, candidates: Int64[np.ndarray, " m"]) -> int:
        return int(candidates[np.lexsort((candidates, self.counts[candidates, -1]))[0]])
