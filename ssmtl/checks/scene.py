"""Steps that a strategy is tried on: a small task, networks that have learned a little of it, and rows of choice."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ssmtl.checks.fake_step import FakeStep
from ssmtl.checks.toy_network import SIZE, forward, memory, network_of
from ssmtl.checks.toy_task import ToyLabels, ToyMap
from ssmtl.component import kinds, resolve
from ssmtl.strategies.base import Look, Need, Rows, Strategy
from ssmtl.task import Loss, Perturb, Prediction, Target, Task
from ssmtl.views.geometry import WEAK, Geometry, View, between

POOL = 12
"""Images that there are; labeled rows are taken from the first half, unlabeled ones from the second."""
SHARPNESS = (1.0, 4.0, 16.0)
"""What predictions are multiplied by, so that some are unsure and others sure."""
TOYS: tuple[Task, ...] = (ToyLabels(name="toy"), ToyMap(name="toy"))
Key = TypeVar("Key")
Made = TypeVar("Made")


def tasks_for(strategy: Strategy) -> tuple[Task, ...]:
    """Return small tasks that have the strategy's abilities; where none has, an installed one, or none at all."""
    abilities = strategy.abilities()
    if not all(checkable(ability) for ability in abilities):
        return ()
    found = tuple(toy for toy in TOYS if has_all(toy, abilities))
    installed = (task for kind in kinds("tasks") for task in resolve("tasks", kind).examples())
    return found or tuple(
        islice((task for task in installed if isinstance(task, Task) and has_all(task, abilities)), 1)
    )


def checkable(ability: type[Any]) -> bool:
    """Tell whether it can be seen at run time if a task has an ability."""
    return bool(getattr(ability, "_is_runtime_protocol", False))


def has_all(task: Task, abilities: Iterable[type[Any]]) -> bool:
    """Tell whether a task has these abilities."""
    return all(isinstance(task, ability) for ability in abilities)


def unless(*reasons: Callable[[Strategy], str]) -> Callable[[Strategy], str]:
    """Return why a check that tries a strategy on tasks doesn't apply: there is no task, or one of `reasons`."""

    def why(strategy: Strategy) -> str:
        if not tasks_for(strategy):
            return "no task has what it requires, see check_some_task_fits"
        return next((reason for each in reasons if (reason := each(strategy))), "")

    return why


@dataclass(frozen=True)
class Scene:
    """A batch of chosen rows at a step. The same scene always makes the same step.

    `sharpness` multiplies predictions. With `turned`, views other than the weak one show every other image turned by a
    quarter, which is not its own inverse. `order` are the unlabeled rows in another order, in which labeled rows then
    are too, and `other` takes other unlabeled images.
    """

    task: Task
    labeled: int = 2
    unlabeled: int = 3
    sharpness: float = 1.0
    number: int = 0
    turned: bool = False
    order: tuple[int, ...] = ()
    other: bool = False

    def step(self) -> FakeStep:
        """Return the step, which remembers what is asked of it."""
        return FakeStep(
            _Made(self.predict),
            _Made(self.target).__getitem__,
            self.move,
            images=_Made(self._looked_at),
            network=self.network,
            positions={rows: self.places(rows) for rows in ("labeled", "unlabeled", "all")},
            number=self.number,
            steps=10,
        )

    def places(self, rows: Rows) -> list[int]:
        """Return which images of the pool are rows of the batch."""
        labeled = [(place + bool(self.order)) % self.labeled for place in range(self.labeled)]
        order = self.order or range(self.unlabeled)
        unlabeled = [POOL - 1 - place if self.other else POOL // 2 + place for place in order]
        return {"labeled": labeled, "unlabeled": unlabeled, "all": labeled + unlabeled}[rows]

    def images(self, view: View, rows: Rows) -> Float[Tensor, "n c h w"]:
        """Return images of a view: those of the pool with noise of the view's own."""
        pixels, _ = _pool(self.task)
        dice = torch.Generator().manual_seed(1 + view.draw + 100 * (view.policy != "weak"))
        shown = (pixels + 0.1 * torch.randn(pixels.shape, generator=dice)).clamp(0, 1)
        turned = torch.where(self._turned(view)[:, None, None, None], shown.rot90(1, (2, 3)), shown)
        return turned[self.places(rows)]

    def geometry(self, view: View, rows: Rows) -> Geometry:
        """Return the map from an image to its view."""
        quarter = torch.tensor([[0, 1, 0], [-1, 0, SIZE[0] - 1], [0, 0, 1]], dtype=torch.float64)
        still = torch.eye(3, dtype=torch.float64)
        matrix = torch.where(self._turned(view)[:, None, None], quarter, still)
        return Geometry(matrix[self.places(rows)], SIZE)

    def move(self, source: View, into: View, rows: Rows) -> Geometry:
        """Return the map from one view to another."""
        return between(self.geometry(source, rows), self.geometry(into, rows))

    def target(self, view: View) -> Target:
        """Return the labels of the labeled rows in a view."""
        _, targets = _pool(self.task)
        labels = self.task.collate([targets[place] for place in self.places("labeled")], SIZE)
        return self.task.warp(labels, self.geometry(view, "labeled"))

    def predict(self, need: Need) -> Prediction:
        """Return a prediction whose parts that a network learns are leaves of their own."""
        images = self.images(need.view, need.rows)

        def leaf(part: Tensor) -> Tensor:
            return (self.sharpness * part).detach().requires_grad_() if part.requires_grad else part

        return tree_map(leaf, forward(network_of(self.task, need.model), self.task, images))

    def network(self, images: Float[Tensor, "n c h w"], features: Perturb | None = None) -> Prediction:
        """Predict images that a strategy made, by the student."""
        found = forward(network_of(self.task, "student"), self.task, images, features)
        return tree_map(lambda part: self.sharpness * part if part.requires_grad else part, found)

    def _looked_at(self, look: Look) -> Float[Tensor, "n c h w"]:
        return self.images(look.view, look.rows)

    def _turned(self, view: View) -> Tensor:
        turned = self.turned and view != WEAK
        return (torch.arange(POOL) + view.draw) % 2 == (0 if turned else 2)


class _Made(dict[Key, Made], Generic[Key, Made]):
    """A dict that makes what isn't there, so that a check can tell what was asked for from what was announced."""

    def __init__(self, make: Callable[[Key], Made]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, key: Key) -> Made:
        return self.setdefault(key, self.make(key))


@cache
def _pool(task: Task) -> tuple[Float[Tensor, "n c h w"], list[Target]]:
    images, targets = task.fake_batch(POOL, 1, channels=3, size=SIZE)
    return images.float() / 255, targets


@dataclass(frozen=True)
class Tried:
    """A strategy's losses on a scene: the terms, the step that was asked, and the scene."""

    terms: dict[str, Loss]
    step: FakeStep
    scene: Scene

    def gradients(self, terms: list[str]) -> dict[Any, float]:
        """Return the largest gradient of the sum of some terms, by need, and of the network as "network"."""
        total = sum((self.terms[name].total.sum() for name in terms), torch.zeros(()))
        inputs: dict[Any, list[Tensor]] = {"network": list(network_of(self.scene.task, "student").parameters())}
        for need, pred in dict(self.step.predictions).items():
            inputs[need] = [leaf for leaf in tensors_of(pred) if leaf.requires_grad]
        flat = [tensor for tensors in inputs.values() for tensor in tensors]
        if not total.requires_grad:
            return dict.fromkeys(inputs, 0.0)
        each = torch.autograd.grad(total, flat, retain_graph=True, allow_unused=True)
        found = dict(zip(map(id, flat), each, strict=True))
        return {
            key: max((_largest(found[id(tensor)]) for tensor in tensors), default=0.0)
            for key, tensors in inputs.items()
        }


def tried(strategy: Strategy, scene: Scene, task: Task | None = None) -> Tried:
    """Return what a strategy makes of a scene, from the same random numbers; `task` stands in for the scene's own."""
    step = scene.step()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tried(strategy.losses(task or scene.task, step), step, scene)


@memory(100)
def remembered(strategy: Strategy, scene: Scene) -> Tried:
    """Return the same as `tried`, without trying it again for every check."""
    return tried(strategy, scene)


def mean(loss: Loss) -> Float[Tensor, ""]:
    """Return the term that a loss stands for, as the engine computes it."""
    return loss.total.sum() / loss.count.sum().clamp(min=max(loss.floor, 1e-8))


def several_scenes(task: Task) -> list[Scene]:
    """Return scenes of unsure and of sure predictions, early and late in training."""
    return [*(Scene(task, 3, 5, sharpness) for sharpness in SHARPNESS), replace(usual(task), number=9)]


def usual(task: Task) -> Scene:
    """Return a scene with labeled and unlabeled rows, some of them predicted surely."""
    return Scene(task, 3, 5, SHARPNESS[1])


def all_rows(task: Task) -> list[Scene]:
    """Return scenes with and without labeled and unlabeled rows."""
    return [Scene(task, *rows) for rows in ((2, 3), (1, 1), (0, 3), (2, 0), (0, 0))]


def announced(strategy: Strategy) -> set[Look]:
    """Return all rows that can be read of a batch's views: those asked for, also in parts and put together."""
    found = set(strategy.sees())
    for look in tuple(found):
        both = {Look(look.view, "labeled"), Look(look.view, "unlabeled")}
        if look.rows == "all" or both <= found:
            found |= {*both, Look(look.view, "all")}
    return found


def tensors_of(value: Any) -> list[Tensor]:
    """Return the tensors in a prediction, a target or the like."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _largest(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None or not gradient.numel() else float(gradient.abs().max())
