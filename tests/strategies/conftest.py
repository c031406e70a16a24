from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ssmtl.strategies.base import Look, Need
from ssmtl.task import Loss
from ssmtl.views.geometry import Geometry, View


class FakeStep:
    """One task's window on a step, with predictions, labels and moves made by hand."""

    number, steps = 0, 1

    def __init__(
        self,
        predictions: dict[Need, Any],
        target: Any,
        move: torch.Tensor | None = None,
        *,
        images: dict[Look, torch.Tensor] | None = None,
        network: Callable[[torch.Tensor], Any] | None = None,
    ) -> None:
        self.predictions, self.given_target, self.matrix = predictions, target, move
        self.given_images, self.network = images or {}, network
        self.audited: list[tuple[str, str, Any]] = []
        self.masks: list[tuple[str, torch.Tensor]] = []
        self.predicted: list[tuple[torch.Tensor, str, bool]] = []
        self.logged: dict[str, float] = {}
        self.asked: list[Need] = []
        self.moves: list[tuple[str, str, str]] = []

    def prediction(self, need: Need) -> Any:
        self.asked.append(need)
        pred = self.predictions[need]
        return pred if need.grad else pred.detach()

    def images(self, view: View, rows: str) -> torch.Tensor:
        return self.given_images[Look(view, rows)]

    def target(self, view: View) -> Any:
        assert view.policy == "weak"
        return self.given_target

    def move(self, source: View, into: View, rows: str) -> Geometry:
        self.moves.append((source.policy, into.policy, rows))
        matrix = torch.eye(3, dtype=torch.float64)[None] if self.matrix is None else self.matrix
        (pred,) = (p for need, p in self.predictions.items() if (need.view, need.rows) == (into, rows))
        size = tuple(pred.shape[2:]) if pred.ndim == 4 else (4, 4)
        return Geometry(matrix.expand(len(pred), 3, 3), size)

    def predict(self, images: torch.Tensor, *, bn: str = "batch") -> Any:
        assert self.network is not None, "this strategy was not expected to make images"
        self.predicted.append((images.detach().clone(), bn, torch.is_grad_enabled()))
        return self.network(images)

    def noise(self, rows: str, shape: tuple[int, ...]) -> torch.Tensor:
        (n,) = {len(images) for look, images in self.given_images.items() if look.rows == rows}
        return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))

    def random(self) -> np.random.Generator:
        return np.random.default_rng(0)

    def audit(self, view: View, rows: str, target: Any) -> None:
        self.audited.append((view.policy, rows, target))

    def audit_mask(self, rows: str, dropped: torch.Tensor) -> None:
        self.masks.append((rows, dropped))

    def log(self, name: str, value: Loss) -> None:
        assert not value.total.requires_grad
        assert not value.count.requires_grad
        self.logged[name] = (value.total.sum() / value.count.sum()).item()


@pytest.fixture
def fake_step() -> type[FakeStep]:
    return FakeStep


@pytest.fixture
def ratio() -> Callable[[Loss], float]:
    return lambda loss: (loss.total.sum() / loss.count.sum()).item()
