"""Street scenes with few labels: segmentation under the views of Dense FixMatch, or of FixMatch*.

Paper    Martí i Rabadán et al. 2022, Dense FixMatch; Sohn et al. 2020, FixMatch
Run      ssmtl views examples/views_street.py --out street.png             look at what the model would see
         ssmtl views examples/views_street.py --method fixmatch-star       the same scenes under FixMatch*
         ssmtl run examples/views_street.py --steps 100                    phantoms, minutes on two CPU cores
Differs  phantoms made in memory and a small network: this shows views, and is no replica of the paper's results
"""

from pathlib import Path
from typing import Literal

from ssmtl import (
    DenseFixMatch,
    Explicit,
    FixMatchStar,
    LabelBudget,
    Model,
    Objective,
    Recipe,
    SmpUnetDecoder,
    Source,
    Split,
    TimmEncoder,
    Views,
)
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.views.presets import dense_strong, dense_weak
from ssmtl_tasks import Segmentation

CANVAS = (128, 256)


def recipe(
    *,
    data: Path | None = None,  # noqa: ARG001 - every recipe takes it
    method: Literal["dense-fixmatch", "fixmatch-star"] = "dense-fixmatch",
    labels: int = 60,
    seed: int = 0,
) -> Recipe:
    """Learn which class each pixel of a street scene has, from few labeled scenes and many others.

    Args:
        data: Not used: the scenes are made in memory.
        method: With Dense FixMatch labels move with flips, turns, shears and shifts of the strong view; FixMatch* has
            none of them, and crops both views alike.
        labels: Scenes whose mask is visible.
        seed: Seed of weights, batches, views and of the choice of labeled scenes.
    """
    scenes = StreetPhantom(canvas=CANVAS)
    task = Segmentation("scene", classes=scenes.classes("mask"), head=SmpUnetDecoder())
    strategy = DenseFixMatch() if method == "dense-fixmatch" else FixMatchStar()
    return Recipe(
        name=f"street {method}",
        objectives=(Objective(task, strategy),),
        sources=(Source("scenes", scenes, serves=("scene",)),),
        budget=LabelBudget(counts=(("scene", labels),), seed=seed),
        streams=Explicit(labeled=4, unlabeled=4),
        model=Model(TimmEncoder("resnet18"), channels=3),
        views=Views(weak=dense_weak(CANVAS), strong=dense_strong(CANVAS)),
        validation=(Split("validation", scenes.replace(split="val", samples=50), tasks=("scene",)),),
        steps=600,
        seed=seed,
    )
