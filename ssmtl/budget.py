"""LabelBudget: which sample keeps which task's label, so that a fully labeled set can stand in for a sparse one."""

from typing import Annotated, Literal, Self

import numpy as np
from jaxtyping import Bool, Int32
from pydantic import Field, model_validator

from ssmtl.component import Component
from ssmtl.errors import DataError
from ssmtl.keyed import key, uniform

Count = Annotated[int, Field(ge=1)] | Literal["full"]


class LabelBudget(Component):
    """How many labels of each task stay visible; tasks that aren't listed keep all of theirs.

    Where labels are classes, any number of them is spread over the classes in proportion. `rule` says how the subsets
    of several tasks on the same images relate: "nested" (the smaller inside the larger), "identical" (equal counts, the
    same images) or "independent". A larger count always contains a smaller one of the same seed.
    """

    counts: tuple[tuple[str, Count], ...] = ()
    rule: Literal["nested", "identical", "independent"] = "nested"
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [name for name, _ in self.counts]
        if len(set(names)) < len(names):
            raise ValueError(f"each task may stand in a budget once, got {names}")
        if self.rule == "identical" and len({count for _, count in self.counts}) > 1:
            raise ValueError(f"rule='identical' needs the same count for every task, got {dict(self.counts)}")
        return self

    def count(self, task: str) -> int | Literal["full"]:
        """Return the number of visible labels for a task, or "full"."""
        return dict(self.counts).get(task, "full")

    def visible(
        self,
        task: str,
        annotated: Bool[np.ndarray, " n"],
        labels: Int32[np.ndarray, " n"] | None,
        classes: tuple[str, ...],
    ) -> Bool[np.ndarray, " n"]:
        """Return which rows keep their label of `task`.

        `annotated` says which rows have one; `labels` are indices into `classes` (-1: none), None for tasks without
        classes. Raises DataError when the budget exceeds the set, or leaves a class without a label.
        """
        count, available = self.count(task), int(annotated.sum())
        if count != "full" and count > available:
            raise DataError(
                f"the budget asks for {count} labels of '{task}', but its sources have only {available}; "
                "lower the number or use 'full'."
            )
        order = np.argsort(self._priority(task, annotated, labels), kind="stable")
        keep = np.zeros(len(annotated), dtype=bool)
        keep[order[: available if count == "full" else count]] = True
        if labels is not None:
            missing = [name for index, name in enumerate(classes) if not (labels[keep] == index).any()]
            if missing:
                raise DataError(
                    f"the budget of {count} label(s) of '{task}' leaves the class '{missing[0]}' without a labeled "
                    "example; use a larger budget, or take a class that the sources never show out of the task."
                )
        return keep

    def _priority(
        self, task: str, annotated: Bool[np.ndarray, " n"], labels: Int32[np.ndarray, " n"] | None
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Rank rows so that every prefix is a fair sample; rows without a label rank last."""
        name = task if self.rule == "independent" else "all tasks"
        noise = uniform(key("budget", self.seed, name), np.arange(len(annotated)), 1)[:, 0]
        priority = np.where(annotated, noise, np.inf)
        if labels is None:
            return priority
        for index in np.unique(labels[annotated]):
            rows = np.flatnonzero(annotated & (labels == index))
            ranked = rows[np.argsort(noise[rows], kind="stable")]
            priority[ranked] = (np.arange(len(ranked)) + 0.5) / len(ranked)
        return priority
