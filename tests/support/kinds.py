"""A classifier of shapes from few labels, as a recipe file: unlabeled images in a source whose labels are hidden."""

from pathlib import Path

from ssmtl import SGD, Explicit, FixMatch, LinearHead, Model, Objective, Recipe, Source, Split, Views
from ssmtl.datasets.shapes_phantom import FIGURES, TEXTURES, ShapesPhantom
from ssmtl.datasets.subset import Subset
from ssmtl.models.wide_resnet import WideResNet
from ssmtl.strategies.base import Strategy
from ssmtl.views.presets import cifar_weak, fixmatch_strong
from ssmtl_tasks import Classification

SHAPES = ShapesPhantom(samples=60, canvas=(16, 16))


def study(strategy: Strategy, *, foreign: int = 0, **changes: object) -> Recipe:
    """Return a recipe of 8 steps for six figures; `foreign` of the four unlabeled classes are textures."""
    unlabeled = (*FIGURES[foreign:4], *TEXTURES[:foreign])
    images = {
        "labeled": Subset(reader=SHAPES, only=FIGURES, stop=2),
        "unlabeled": Subset(reader=SHAPES, only=unlabeled, start=2),
    }
    test = Subset(reader=SHAPES.replace(split="test", samples=20), only=FIGURES)
    return Recipe(
        name="kinds",
        objectives=(Objective(Classification("kind", classes=FIGURES, head=LinearHead()), strategy),),
        sources=(
            Source("labeled", images["labeled"], serves=("kind",)),
            Source("unlabeled", images["unlabeled"], serves=("kind",), hide_labels=True),
        ),
        streams=Explicit(labeled=6, unlabeled=8, use_labels=False),
        model=Model(WideResNet(depth=10, width=1), channels=3),
        views=Views(weak=cifar_weak(), strong=fixmatch_strong()),
        optimizer=SGD(lr=0.01),
        test=(Split("test", test, tasks=("kind",)),),
        steps=8,
        eval_every=2,
        checkpoint_every=3,
    ).replace(**changes)


def recipe(*, data: Path | None = None, seed: int = 0, test_last: int = 3) -> Recipe:
    """Learn shapes by FixMatch, and report the median of the last tests.

    Args:
        data: Not used.
        seed: Seed of everything.
        test_last: How many tests.
    """
    return study(FixMatch(threshold=0.0), foreign=2, seed=seed, test_last=test_last)
