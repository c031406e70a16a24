"""One training step of the engine on a batch made in memory, by a network with batch normalization."""

from dataclasses import dataclass
from typing import Literal, NoReturn

import torch
from torch import Tensor

from ssmtl.batch import Batch
from ssmtl.checks.toy_network import SIZE, PixelEncoder, memory
from ssmtl.datasets.base import Reader, Side
from ssmtl.errors import DataError
from ssmtl.models.multitask import Model
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source
from ssmtl.strategies.base import Strategy
from ssmtl.task import Task
from ssmtl.train_step import TrainStep

LABELED, UNLABELED = 3, 4
Served = Literal["both", "labeled", "unlabeled"]


class NoReader(Reader):
    """A reader that stands in a recipe whose batches are made by hand; it can't be opened."""

    canvas: tuple[Side, Side] = SIZE
    channels: int = 3

    def annotates(self, kind: str) -> bool:
        return True

    def classes(self, kind: str) -> tuple[str, ...]:
        return ()

    def open(self) -> NoReturn:
        """Raise DataError, always."""
        raise DataError("NoReader holds no images; make batches by hand, or use another reader.")


def recipe_of(strategy: Strategy, task: Task, *, lam: float = 1.0) -> Recipe:
    """Return a recipe of one objective; raises RecipeError where the strategy doesn't fit the task."""
    return Recipe(
        name="check",
        objectives=(Objective(task, strategy, lam=lam),),
        sources=(Source("images", NoReader(), serves=(task.name,)),),
        model=Model(PixelEncoder(norm=True), channels=3),
        steps=10,
    )


def batch_of(task: Task, served: Served = "both") -> Batch:
    """Return a batch of labeled and unlabeled rows, of which only some may serve the task."""
    images, targets = task.fake_batch(LABELED + UNLABELED, 0, channels=3, size=SIZE)
    labeled = torch.arange(len(images)) < LABELED
    shown = [target if show else None for target, show in zip(targets, labeled.tolist(), strict=True)]
    serves = {"both": torch.ones_like(labeled), "labeled": labeled, "unlabeled": ~labeled}[served]
    return Batch(
        images=images,
        size=torch.tensor(SIZE).repeat(len(images), 1),
        targets={task.name: task.collate(shown, SIZE)},
        audit={},
        served={task.name: serves},
        labeled={task.name: labeled & serves},
        sources=torch.zeros(len(images), dtype=torch.int64),
        positions=torch.arange(len(images)),
        names=tuple(f"image {row}" for row in range(len(images))),
    )


@dataclass(frozen=True)
class Trained:
    """A step after backward, with what it logged, the teacher as it was before, and the student's gradients by name."""

    step: TrainStep
    teacher_before: dict[str, Tensor]
    loss: float
    values: dict[str, float]
    gradients: dict[str, Tensor]


@memory(8)
def trained(
    strategy: Strategy, task: Task, served: Served = "both", *, lam: float = 1.0, bf16: bool = False
) -> Trained:
    """Run the sixth of ten steps, forward and backward, always from the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        step = TrainStep(recipe_of(strategy, task, lam=lam), pretrained=False).train()
        before = {name: value.clone() for name, value in step.teacher.state_dict().items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, values = step(batch_of(task, served), 5)
        loss.backward()
    found = {name: p.grad for name, p in step.student.named_parameters() if p.grad is not None}
    return Trained(step, before, float(loss.detach()), {name: float(value) for name, value in values.items()}, found)
