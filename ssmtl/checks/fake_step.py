"""A window on a training step whose predictions, labels and moves are made by hand, and which remembers what is asked.

For tests with numbers that can be computed on paper, and for the contract suite of strategies.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.strategies.base import Look, Need, Rows, Statistics
from ssmtl.task import Loss, Perturb, Prediction, Target
from ssmtl.views.geometry import Geometry, View

Network = Callable[..., Prediction]
"""Called with images in [0, 1], and with `features=` where a strategy changes feature maps."""
Move = Callable[[View, View, Rows], Geometry]


@final
class FakeStep:
    """One task's window on a step, made by hand.

    `predictions` answer `prediction`, detached unless the need has `grad`; `images` answer `images`. `target` are the
    labels of the weak view, or a function of the view. `positions` are the rows' places in the global batch, which
    `noise` depends on. `move` is one matrix [n or 1, 3, 3] from the source's pixels to
    those of the other view for all rows, a function, or None: nothing moves. `network` predicts images that the
    strategy makes. Everything that is asked for or reported is kept in lists and dicts.
    """

    def __init__(
        self,
        predictions: Mapping[Need, Prediction],
        target: Target | Callable[[View], Target],
        move: Float[Tensor, "n 3 3"] | Move | None = None,
        *,
        images: Mapping[Look, Float[Tensor, "n c h w"]] | None = None,
        network: Network | None = None,
        positions: Mapping[Rows, Sequence[int]] | None = None,
        number: int = 0,
        steps: int = 1,
    ) -> None:
        self.number, self.steps, self.positions = number, steps, positions or {}
        self.predictions, self.given_target, self.given_move = predictions, target, move
        self.given_images = {} if images is None else images
        self.network = network
        self.asked: list[Need] = []
        self.looked: list[Look] = []
        self.moves: list[tuple[str, str, Rows]] = []
        self.predicted: list[tuple[Tensor, Statistics, bool]] = []
        self.logs: dict[str, Loss] = {}
        self.audited: list[tuple[str, Rows, Target]] = []
        self.masks: list[tuple[Rows, Tensor]] = []

    @property
    def logged(self) -> dict[str, float]:
        """Return what was logged, as numbers."""
        return {name: (value.total.sum() / value.count.sum()).item() for name, value in self.logs.items()}

    def prediction(self, need: Need) -> Prediction:
        self.asked.append(need)
        pred = self.predictions[need]
        return pred if need.grad else tree_map(Tensor.detach, pred)

    def images(self, view: View, rows: Rows) -> Float[Tensor, "n c h w"]:
        self.looked.append(Look(view, rows))
        return self.given_images[Look(view, rows)]

    def target(self, view: View) -> Target:
        if callable(self.given_target):
            return self.given_target(view)
        if view.policy != "weak":
            raise ValueError(f"the labels of this step are those of the weak view, but {view} is asked for.")
        return self.given_target

    def move(self, source: View, into: View, rows: Rows) -> Geometry:
        self.moves.append((source.policy, into.policy, rows))
        if callable(self.given_move):
            return self.given_move(source, into, rows)
        matrix = torch.eye(3, dtype=torch.float64)[None] if self.given_move is None else self.given_move
        (pred,) = (p for need, p in self.predictions.items() if (need.view, need.rows) == (into, rows))
        size = tuple(pred.shape[2:]) if pred.ndim == 4 else (4, 4)
        return Geometry(matrix.expand(len(pred), 3, 3), size)

    def predict(
        self, images: Float[Tensor, "n c h w"], *, bn: Statistics = "batch", features: Perturb | None = None
    ) -> Prediction:
        if self.network is None:
            raise ValueError("this step has no network, because the strategy was not expected to make images.")
        self.predicted.append((images.detach().clone(), bn, torch.is_grad_enabled()))
        return self.network(images) if features is None else self.network(images, features=features)

    def noise(self, rows: Rows, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        places: Sequence[int] = self.positions.get(rows, ())
        if rows not in self.positions:
            (n,) = {len(images) for look, images in self.given_images.items() if look.rows == rows}
            places = range(n)
        normal = torch.empty(len(places), *shape)
        for row, place in zip(normal, places, strict=True):
            row.normal_(generator=torch.Generator().manual_seed(place))
        return normal

    def random(self) -> np.random.Generator:
        return np.random.default_rng(0)

    def log(self, name: str, value: Loss) -> None:
        self.logs[name] = value

    def audit(self, view: View, rows: Rows, target: Target) -> None:
        self.audited.append((view.policy, rows, target))

    def audit_mask(self, rows: Rows, dropped: Bool[Tensor, " n"]) -> None:
        self.masks.append((rows, dropped))
