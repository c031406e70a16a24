"""The bench that a task is put on: a small encoder, the task's own head and images, and ways to compare what comes out.

Predictions and targets are trees of tensors whose first dimension counts rows, so that they can be cut, changed and
compared without knowing what they mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from ssmtl.checks.suite import Broken, require
from ssmtl.models.base import EncoderModule
from ssmtl.task import FeatureSpec, Loss, Prediction, Target, Task

SIZE = (32, 32)
"""Height and width of the canvas: square, so that a quarter turn has a place."""
OBLONG = (32, 48)
ROWS = 5
Tree: TypeAlias = Any


class PlainEncoder(EncoderModule):
    """Five 3x3 convolutions with ReLU at strides 1, 2, 4, 8 and 16: rows don't meet, and nothing is random."""

    def __init__(self, channels: tuple[int, ...] = (4, 8, 8, 16, 16)) -> None:
        super().__init__()
        self.spec = FeatureSpec(channels, tuple(2**level for level in range(len(channels))))
        steps = zip((3, *channels), channels, strict=False)
        levels = [
            nn.Conv2d(inputs, outputs, 3, stride=2 if level else 1, padding=1)
            for level, (inputs, outputs) in enumerate(steps)
        ]
        for level in levels:
            nn.init.kaiming_normal_(level.weight, nonlinearity="relu")
        self.levels = nn.ModuleList(levels)

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        maps = []
        for level in self.levels:
            images = level(images).relu()
            maps.append(images)
        return maps


@dataclass(frozen=True)
class Bench:
    """A task with a head on a small encoder, in evaluation mode, and a batch of its own fake data."""

    task: Task
    encoder: PlainEncoder
    head: nn.Module
    images: UInt8[Tensor, "n 3 h w"]
    targets: list[Target]
    target: Target
    size: tuple[int, int]

    def features(self) -> list[Tensor]:
        """Return the feature maps of the images, without gradient."""
        with torch.no_grad():
            return list(self.encoder(self.images.float() / 127.5 - 1))

    def predict(self, features: list[Tensor] | None = None) -> Prediction:
        """Return what the head says of feature maps, those of all images unless given."""
        return self.head(self.features() if features is None else features, self.size, None)


def bench(task: Task, *, rows: int = ROWS, size: tuple[int, int] = SIZE, seed: int = 0) -> Bench:
    """Put a task on the bench, with the weights that its head starts from."""
    encoder = PlainEncoder().eval()
    images, targets = task.fake_batch(rows, seed, size=size)
    head = task.build_head(encoder.spec).eval()
    return Bench(task, encoder, head, images, targets, task.collate(targets, size), size)


def shaken(task: Task, *, size: tuple[int, int] = SIZE) -> Bench:
    """Put a task on the bench with a head whose weights are drawn so that it is sure of some things and not of others.

    Fresh heads often say the same everywhere: nothing is ever kept, or all of it.
    """
    found = bench(task, size=size)
    with torch.no_grad():
        for weight in found.head.parameters():
            if weight.ndim > 1:
                weight.normal_(std=2 / weight[0].numel() ** 0.5)
            else:
                weight.add_(torch.randn_like(weight), alpha=0.5)
    return found


def prediction(task: Task, *, size: tuple[int, int] = SIZE) -> tuple[Prediction, Target]:
    """Return a varied prediction, with its gradient, and what is right."""
    found = shaken(task, size=size)
    return found.predict(), found.target


def leaves(tree: Tree, what: str) -> list[Tensor]:
    """Return the tensors of a tree; raises Broken, naming `what`, where one is no tensor."""
    found = tree_leaves(tree)
    strange = [type(leaf).__name__ for leaf in found if not isinstance(leaf, Tensor)]
    require(not strange, f"{what} holds {', '.join(strange)}; make it a tensor or a NamedTuple of tensors.")
    require(found, f"{what} holds no tensor; make it a tensor or a NamedTuple of tensors.")
    return found


def floating(tree: Tree) -> list[Tensor]:
    """Return the tensors of a tree that gradients could flow through."""
    return [leaf for leaf in tree_leaves(tree) if leaf.is_floating_point()]


def rows_of(tree: Tree) -> int:
    """Return how many rows a tree has."""
    return len(tree_leaves(tree)[0])


def take(tree: Tree, rows: Any) -> Tree:
    """Return rows of a tree, by index or slice."""
    return tree_map(lambda leaf: leaf[rows], tree)


def copied(tree: Tree) -> Tree:
    """Return a tree whose tensors are copies without gradient."""
    return tree_map(lambda leaf: leaf.detach().clone(), tree)


def as_leaves(tree: Tree) -> Tree:
    """Return a copy of a prediction whose tensors each collect a gradient of their own."""
    return tree_map(lambda leaf: copied(leaf).requires_grad_(leaf.requires_grad), tree)


def alike(one: Tree, other: Tree, *, tolerance: float = 0.0) -> bool:
    """Tell whether two trees have the same form and the same numbers, NaN where the other has it."""
    first, form = tree_flatten(one)
    second, other_form = tree_flatten(other)
    return form == other_form and all(close(a, b, tolerance) for a, b in zip(first, second, strict=True))


def close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Tell whether two tensors agree, relative to their size and absolutely; integers and masks exactly."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one.double(), other.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


def gradients(loss: Loss, of: list[Tensor]) -> list[Tensor]:
    """Return the gradient of the sum of a loss by tensors; 0 where it doesn't depend on one."""
    wanted = [tensor for tensor in of if tensor.requires_grad]
    if not loss.total.requires_grad:
        raise Broken("the loss has no gradient; compute `total` from the prediction, without detach or numpy.")
    found = torch.autograd.grad(loss.total.sum(), wanted, allow_unused=True)
    return [torch.zeros_like(tensor) if slope is None else slope for slope, tensor in zip(found, wanted, strict=True)]


def mean(loss: Loss) -> Tensor:
    """Return what a loss comes to over the rows of one batch."""
    return loss.total.sum() / loss.count.sum().clamp(min=max(loss.floor, 1e-6))


def check_parts(loss: Loss, rows: int, what: str) -> None:
    """Raise Broken unless a loss has a finite part per row and counts that carry no gradient."""
    require(isinstance(loss, Loss), f"{what} returns {type(loss).__name__}; return a Loss(total, count).")
    for name, part in (("total", loss.total), ("count", loss.count)):
        require(
            isinstance(part, Tensor) and part.shape == (rows,),
            f"{what} has a {name} of shape {list(getattr(part, 'shape', ()))} for {rows} rows; return one number per "
            "row, not their mean, so that rows of several processes can be put together.",
        )
        require(part.isfinite().all(), f"{what} has a {name} that isn't finite: {part.tolist()}; guard its divisions.")
    require(not loss.count.requires_grad, f"{what} has a count with a gradient; detach it.")
    require((loss.count >= 0).all(), f"{what} has a count below 0: {loss.count.tolist()}; count what takes part.")
    require(
        loss.floor > 0 or (loss.total[loss.count == 0] == 0).all(),
        f"{what} has rows that cost something and count nothing; count what takes part, or set `floor`.",
    )


def is_map(tree: Tree, size: tuple[int, int]) -> bool:
    """Tell whether every tensor of a tree belongs to the pixels of a canvas, such as [n, h, w] or [n, c, h, w]."""
    return all(size in (tuple(leaf.shape[1:3]), tuple(leaf.shape[-2:])) for leaf in tree_leaves(tree))


def has_maps(task: Task) -> bool:
    """Tell whether a task's targets are maps of the canvas."""
    _, targets = task.fake_batch(1, 0, size=OBLONG)
    return is_map(task.collate(targets, OBLONG), OBLONG)


def no_maps(task: Task) -> str:
    """Return why checks of maps don't apply, or ""."""
    return "" if has_maps(task) else "its targets are no maps of the canvas"


def unless_any(*reasons: Callable[[Task], str]) -> Callable[[Task], str]:
    """Return an `unless` of the first reason that there is."""
    return lambda task: next((text for reason in reasons if (text := reason(task))), "")
