"""One real training step of a strategy on a few phantom films, with batch normalization everywhere."""

import functools

import torch

from ssmtl import (
    LabelBudget,
    LinearHead,
    Model,
    Objective,
    PerSource,
    Recipe,
    SmpUnetDecoder,
    Source,
    Supervised,
    TimmEncoder,
    Views,
)
from ssmtl.batch import Batch
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.loader import open_sources, training_loader
from ssmtl.train_step import TrainStep
from ssmtl.views.framing import ReflectCrop
from ssmtl.views.policy import Policy
from ssmtl.views.warps import HorizontalFlip
from ssmtl_tasks import Classification, Segmentation

DIAGNOSIS = Classification("task", classes=("normal", "pneumonia"), head=LinearHead())
LUNGS = Segmentation("task", classes=("lung",), head=SmpUnetDecoder(channels=(8, 8, 8, 8, 8)))


def recipe(task, strategy, **objective):
    return Recipe(
        name="small",
        objectives=(Objective(task, strategy, **objective),),
        sources=(Source("films", ChestPhantom(samples=16, canvas=(64, 64)), serves=("task",)),),
        budget=LabelBudget(counts=(("task", 4),), seed=0),
        streams=PerSource(labeled=2, unlabeled=3),
        model=Model(TimmEncoder("test_resnet")),
        views=Views(weak=Policy(always=(HorizontalFlip(), ReflectCrop()))),
        steps=10,
    )


@functools.cache
def _loaded(task):
    made = recipe(task, Supervised())
    (batch,) = training_loader(open_sources(made), start=0, stop=1, rank=0, world=1, workers=0, pin=False)
    return batch


def batch_of(task, rows="both"):
    """Return a batch with labeled and unlabeled rows, or only one kind of them."""
    batch = Batch(**vars(_loaded(task)))
    if rows == "labeled":
        batch.served = {"task": batch.labeled["task"].clone()}
    if rows == "unlabeled":
        batch.served = {"task": ~batch.labeled["task"]}
        batch.labeled = {"task": torch.zeros(len(batch), dtype=torch.bool)}
    return batch


def run(task, strategy, *, rows="both", before=None, **objective):
    """Return the step after backward, and all that it would log.

    `before` may change the step first.
    """
    torch.manual_seed(0)
    step = TrainStep(recipe(task, strategy, **objective)).train()
    if before is not None:
        before(step)
    loss, values = step(batch_of(task, rows), 5)
    loss.backward()
    return step, values


def encoder_gradient(step):
    return torch.cat([p.grad.flatten() for p in step.student.encoder.parameters() if p.grad is not None])


def running(model):
    return torch.cat([b.flatten() for name, b in model.named_buffers() if "running" in name])
