"""LabelBudget: which sample keeps which task's label, so that a fully labeled set can stand in for a sparse one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import numpy as np
from jaxtyping import Bool, Int32, Int64
from pydantic import Field, field_validator, model_validator

from ssmtl.component import Component
from ssmtl.errors import DataError, RecipeError
from ssmtl.keyed import key, uniform

Count = Annotated[int, Field(ge=1)] | Literal["full"]
Rule: TypeAlias = Literal["nested", "identical", "independent"]
Mask: TypeAlias = Bool[np.ndarray, " n"]

SETTINGS: dict[str, Rule] = {
    "a": "nested",
    "b": "identical",
    "c": "independent",
    "d": "nested",
    "e": "independent",
}


@dataclass(frozen=True, eq=False)
class Labels:
    """Which of n rows carry a label of a task, and its class: an index into `classes` (-1: none), or None.

    `sources` says, for messages, how many of the labels each source has. `known` are classes that the sources have a
    name for, whether or not an image shows them.
    """

    annotated: Mask
    index: Int32[np.ndarray, " n"] | None = None
    classes: tuple[str, ...] = ()
    sources: tuple[tuple[str, int], ...] = ()
    known: tuple[str, ...] = ()


class LabelBudget(Component):
    """How many labels of each task stay visible; tasks that aren't listed keep all of theirs.

    Of images that carry the labels of several listed tasks, `rule` says how the visible ones relate. "nested": whatever
    shows the label of the task with fewer shows the other's too; images with more labels come first. "identical": only
    images that carry all of them are drawn, the same for every task, "full" being all of those. "independent": a draw
    of its own for each task; between two tasks, `overlap` fixes how many images show both.

    Where labels are classes, any number of them is spread over the classes in proportion. Without `overlap`, a larger
    count always contains a smaller one of the same seed. With `record`, the `labels.json` of a run, the labels that
    are visible there are visible here, and nothing is drawn.
    """

    counts: tuple[tuple[str, Count], ...] = ()
    rule: Rule = "nested"
    seed: int = 0
    overlap: Annotated[int, Field(ge=0)] | None = None
    record: Path | None = None

    @staticmethod
    def setting(letter: str, first: tuple[str, Count], second: tuple[str, Count], *, seed: int = 0) -> "LabelBudget":
        """Return one of the five settings of the partially labeled study on Cityscapes, for any two tasks.

        (a) n of the first, within all ("full") of the second; (b) n of both, the same images; (c) n of both,
        independent; (d) two numbers, the first's images within the second's; (e) two numbers, independent. Settings (c)
        and (e) draw other images than (a), (b) and (d). Raises RecipeError for numbers that aren't the setting's.
        """
        if letter not in SETTINGS:
            raise RecipeError(f"there is no label setting '{letter}'; take one of {', '.join(SETTINGS)}.")
        (one, n), (other, m) = first, second
        given = f"setting '{letter}' got {n} of '{one}' and {m} of '{other}'"
        if letter == "a" and m != "full":
            raise RecipeError(f"{given}, but it shows every label of the second; give it 'full', or take setting 'd'.")
        if letter in "bc" and n != m:
            instead = "d' or 'e" if letter == "b" else "e"
            raise RecipeError(f"{given}, but it takes the same number of both; take setting '{instead}' for two.")
        if letter == "d" and m != "full" and (n == "full" or n > m):
            raise RecipeError(f"{given}, but the first lie within the second; exchange the tasks.")
        return LabelBudget(counts=(first, second), rule=SETTINGS[letter], seed=seed)

    @field_validator("record")
    @classmethod
    def _outlive_the_working_directory(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [name for name, _ in self.counts]
        if len(set(names)) < len(names):
            raise ValueError(f"each task may stand in a budget once, got {names}")
        if self.rule == "identical" and len({count for _, count in self.counts}) > 1:
            raise ValueError(f"rule='identical' needs the same count for every task, got {dict(self.counts)}")
        if self.overlap is not None and (self.rule != "independent" or len(names) != 2):
            raise ValueError(
                f"overlap={self.overlap} needs rule='independent' and the counts of two tasks, got rule='{self.rule}' "
                f"and {len(names)} task(s)"
            )
        if self.record is not None and (names or self.overlap is not None):
            raise ValueError("a budget takes its labels from `record` or draws `counts` of them; leave out one")
        return self

    def count(self, task: str) -> int | Literal["full"]:
        """Return the number of visible labels for a task, or "full"."""
        return dict(self.counts).get(task, "full")

    def visible(self, tasks: Mapping[str, Labels]) -> dict[str, Mask]:
        """Return which rows keep their label of each task.

        Raises DataError when the budget exceeds the set, leaves a class without a label, or can't be met as its rule
        and overlap say. Where all labels are visible, only a class that the sources have no name for is refused: one
        that they know, but show nowhere, is not learned.
        """
        listed = {name: tasks[name] for name, _ in self.counts}
        for name, labels in listed.items():
            available = int(labels.annotated.sum())
            each = ", ".join(f"{source}: {count}" for source, count in labels.sources)
            self._check_count(name, available, f"its sources have only {available}{f' ({each})' * bool(each)}")
        if self.overlap is not None:
            keep = self._overlapping(listed, self.overlap)
        elif self.rule == "independent":
            keep = {
                name: self._first(name, labels.annotated, self._order(name, [labels]))
                for name, labels in listed.items()
            }
        else:
            keep = self._related(listed)
        keep = {name: keep.get(name, labels.annotated) for name, labels in tasks.items()}
        for name, labels in tasks.items():
            self._check_classes(name, labels, keep[name])
        return keep

    def _related(self, listed: Mapping[str, Labels]) -> dict[str, Mask]:
        """Draw nested or identical subsets: prefixes of one order, in which images with most labels come first."""
        if not listed:
            return {}
        masks = {name: labels.annotated for name, labels in listed.items()}
        if self.rule == "identical":
            every: Mask = np.all(np.stack(list(masks.values())), axis=0)
            masks = dict.fromkeys(masks, every)
            complete = int(every.sum())
            for name in masks:
                self._check_count(name, complete, f"only {complete} images carry the labels of every listed task")
        labels = list(listed.values())
        order = self._order("all tasks", labels, tier=-np.sum([one.annotated for one in labels], axis=0))
        keep = {name: self._first(name, mask, order) for name, mask in masks.items()}
        by_size = sorted(keep, key=lambda name: int(keep[name].sum()))
        for place, few in enumerate(by_size):
            for many in by_size[place + 1 :]:
                if (keep[few] & ~keep[many] & masks[many]).any():
                    raise DataError(
                        f"the labels of '{few}' can't be nested in those of '{many}', because too few images carry the "
                        "labels of every listed task; use rule='independent', or list fewer tasks."
                    )
        return keep

    def _overlapping(self, listed: Mapping[str, Labels], shared: int) -> dict[str, Mask]:
        """Draw two subsets that share exactly so many rows: shared ones first, then the first task's, then the rest."""
        (one, a), (other, b) = ((name, labels.annotated) for name, labels in listed.items())
        n, m = self._number(one, a), self._number(other, b)
        both, only_a, only_b = int((a & b).sum()), int((a & ~b).sum()), int((b & ~a).sum())
        tried = np.arange(min(n, m, both) + 1)
        needed = tried + np.maximum(0, n - tried - only_a) + np.maximum(0, m - tried - only_b)
        possible = tried[needed <= both]
        if shared not in possible:
            raise DataError(
                f"{n} labels of '{one}' and {m} of '{other}' can't share {shared} images; take an overlap from "
                f"{possible[0]} to {possible[-1]}."
            )
        order = self._order("overlap", list(listed.values()))
        common = _prefix(order, a & b, shared)
        left = order[(a & ~common)[order]]
        spare = both - shared - max(0, m - shared - only_b)  # rows of both that the second task can do without
        left = left[~b[left] | (np.cumsum(b[left]) <= spare)]
        first = _prefix(left, a, n - shared)
        second = _prefix(order, b & ~common & ~first, m - shared)
        return {one: common | first, other: common | second}

    def _number(self, task: str, annotated: Mask) -> int:
        count = self.count(task)
        return int(annotated.sum()) if count == "full" else count

    def _first(self, task: str, annotated: Mask, order: Int64[np.ndarray, " n"]) -> Mask:
        return _prefix(order, annotated, self._number(task, annotated))

    def _order(
        self, name: str, tasks: Sequence[Labels], tier: Int64[np.ndarray, " n"] | None = None
    ) -> Int64[np.ndarray, " n"]:
        """Return the rows in the order of being drawn, low tiers first; every prefix of a tier shows classes fairly."""
        n = len(tasks[0].annotated)
        noise = uniform(key("budget", self.seed, name), np.arange(n), 1)[:, 0]
        tier = np.zeros(n, np.int64) if tier is None else tier
        cell = np.zeros(n, np.int64)
        for column in (tier, *(np.where(one.annotated, one.index, -1) for one in tasks if one.index is not None)):
            values, index = np.unique(column, return_inverse=True)
            _, cell = np.unique(cell * len(values) + index, return_inverse=True)
        by_cell = np.lexsort((noise, cell))
        sizes = np.bincount(cell)
        rank = np.empty(n)
        rank[by_cell] = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.lexsort(((rank + 0.5) / sizes[cell], tier))

    def _check_count(self, task: str, available: int, found: str) -> None:
        count = self.count(task)
        if count != "full" and count > available:
            raise DataError(
                f"the budget asks for {count} labels of '{task}', but {found}; lower the number or use 'full'."
            )

    def _check_classes(self, task: str, labels: Labels, keep: Mask) -> None:
        if labels.index is None:
            return
        shown = set(labels.index[keep].tolist())
        missing = [name for index, name in enumerate(labels.classes) if index not in shown]
        unknown = [name for name in missing if name not in labels.known]
        if self.count(task) == "full" and unknown:
            raise DataError(
                f"what the sources show of '{task}' leaves the class '{unknown[0]}' without a labeled example; label "
                "one, or take the class out of the task."
            )
        if self.count(task) != "full" and missing:
            raise DataError(
                f"the budget of {self.count(task)} label(s) of '{task}' leaves the class '{missing[0]}' without a "
                "labeled example; use a larger budget, or take a class that the sources never show out of the task."
            )


def _prefix(order: Int64[np.ndarray, " m"], among: Mask, count: int) -> Mask:
    """Return the first rows of an order that are among some."""
    keep = np.zeros(len(among), dtype=bool)
    keep[order[among[order]][:count]] = True
    return keep
