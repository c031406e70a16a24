"""The contract of a strategy: what it needs predicted, and the losses that it makes of that."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from ssmtl.component import Component
from ssmtl.task import Loss, Perturb, Prediction, Target, Task
from ssmtl.views.geometry import WEAK, Geometry, View

Model = Literal["student", "teacher"]
Statistics = Literal["update", "batch", "eval"]
Rows = Literal["labeled", "unlabeled", "all"]
"""Rows of the batch, among those whose source serves the task: label visible, label absent or hidden, or both."""


class Need(NamedTuple):
    """A prediction that a strategy asks for.

    `bn` says what happens to running statistics: updated, left alone with the batch's statistics in use ("batch"), or
    used ("eval"). The teacher always runs without gradients.
    """

    model: Model = "student"
    view: View = WEAK
    rows: Rows = "labeled"
    grad: bool = True
    bn: Statistics = "update"


class Look(NamedTuple):
    """Images that a strategy reads without a prediction of them, to make others from."""

    view: View = WEAK
    rows: Rows = "labeled"


@runtime_checkable
class Step(Protocol):
    """One task's window on one training step. Rows keep the order of the batch.

    Views hold the rows that some need or look asks for; other rows of them raise ValueError.
    """

    number: int
    steps: int

    def prediction(self, need: Need) -> Prediction:
        """Return the prediction asked for in `needs`, detached unless `need.grad`."""

    def images(self, view: View, rows: Rows) -> Float[Tensor, "n c h w"]:
        """Return rendered images in [0, 1]."""

    def target(self, view: View) -> Target:
        """Return the labels of the labeled rows, moved into the view."""

    def move(self, source: View, into: View, rows: Rows) -> Geometry:
        """Return the map from one view's pixels to another's, with the source view's valid pixels."""

    def predict(
        self, images: Float[Tensor, "n c h w"], *, bn: Statistics = "batch", features: Perturb | None = None
    ) -> Prediction:
        """Return the student's prediction of images in [0, 1] that the strategy made: the one door for those.

        `features` changes the encoder's feature maps, finest first, on their way to the task's head; it may get the
        rows a few at a time.

        Gradients flow unless they are switched off around it. Every process has to call it equally often, also for no
        images. One image alone, which has no statistics, is normalized by the running ones.
        """

    def noise(self, rows: Rows, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        """Return standard normal numbers for rows, the same for an image on any number of processes."""

    def random(self) -> np.random.Generator:
        """Return a generator for draws that couple the rows of a batch; each process has its own."""

    def log(self, name: str, value: Loss) -> None:
        """Record a ratio (global sum of totals over counts) under `<task>/<name>`; no gradient, no cost when unread."""

    def audit(self, view: View, rows: Rows, target: Target) -> None:
        """Have pseudo-targets in a view compared with hidden labels, where there are any; only the log sees more."""

    def audit_mask(self, rows: Rows, dropped: Bool[Tensor, " n"]) -> None:
        """Have it logged how much of what a mask drops is foreign.

        The mask may hold several copies of the rows, one after the other.
        """


class Strategy(Component):
    """How a task learns from a batch. Abstract or final; holds no state."""

    group = "strategies"
    requires: ClassVar[tuple[type[Any], ...]] = ()
    """Abilities (Protocols of ssmtl.task) that the task must have."""
    aligned: ClassVar[bool] = False
    """True: both views have to show the same place, so that targets need not move from one to the other."""
    unscaled: ClassVar[frozenset[str]] = frozenset({"supervised"})
    """Terms that the objective's lambda does not scale."""
    batch_coupled: ClassVar[bool] = False
    """True: rows of a batch meet each other, so that the terms depend on how rows are dealt and ordered."""

    @classmethod
    def examples(cls) -> "tuple[Strategy, ...]":
        """Return values that stand for all that this class can be: the contract suite runs on each of them."""
        return (cls(),)

    @abstractmethod
    def needs(self) -> frozenset[Need]:
        """Return every prediction that `losses` will read."""

    def looks(self) -> frozenset[Look]:
        """Return the images that `losses` will read beside those that are predicted for it."""
        return frozenset()

    def sees(self) -> frozenset[Look]:
        """Return all that it reads of the batch's images, predicted or not."""
        return self.looks() | {Look(need.view, need.rows) for need in self.needs()}

    def abilities(self) -> tuple[type[Any], ...]:
        """Return the abilities that the task must have, those of the strategy's parts included."""
        return self.requires

    @abstractmethod
    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        """Return named terms, the same names at every step and on every process, also when there are no rows.

        The objective's lambda scales every term that isn't `unscaled`.
        """
