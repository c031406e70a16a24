"""The contract of a strategy: what it needs predicted, and the losses that it makes of that."""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ssmtl.component import Component
from ssmtl.task import Loss, Prediction, Target, Task
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


@runtime_checkable
class Step(Protocol):
    """One task's window on one training step. Rows keep the order of the batch.

    Views hold the rows that some need asks for; other rows of them raise ValueError.
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

    def log(self, name: str, value: Loss) -> None:
        """Record a ratio (global sum of totals over counts) under `<task>/<name>`; no gradient, no cost when unread."""


class Strategy(Component):
    """How a task learns from a batch. Abstract or final; holds no state."""

    group = "strategies"
    requires: ClassVar[tuple[type[Any], ...]] = ()
    """Abilities (Protocols of ssmtl.task) that the task must have."""
    aligned: ClassVar[bool] = False
    """True: both views have to show the same place, so that targets need not move from one to the other."""

    @abstractmethod
    def needs(self) -> frozenset[Need]:
        """Return every prediction that `losses` will read."""

    @abstractmethod
    def losses(self, task: Task, step: Step) -> dict[str, Loss]:
        """Return named terms, the same names at every step and on every process, also when there are no rows.

        The objective's lambda scales every term but the one named "supervised".
        """
