"""Depth and objects of phantom scenes from few labels: a task of this package beside one of ssmtl, on one encoder.

Paper    Eigen et al. 2014, the loss of depth; Martí i Rabadán et al. 2022, Dense FixMatch
Results  README.md: every number there with its command and seeds
Run      ssmtl run recipes/depth_and_objects.py                           phantoms, minutes on two CPU cores
         ssmtl run recipes/depth_and_objects.py --method supervised       the baseline: the labeled scenes alone
         ssmtl views recipes/depth_and_objects.py --out views.png         what the model sees, and where labels go
Differs  a study of this package's own on phantoms, and no replica of a paper's results
"""

from pathlib import Path
from typing import Literal

from ssmtl import (
    AdamW,
    DenseFixMatch,
    Explicit,
    LabelBudget,
    Model,
    MultiMixDecoder,
    MultiMixEncoder,
    Objective,
    Policy,
    Poly,
    Recipe,
    SigmoidRamp,
    Source,
    Split,
    Supervised,
    Teacher,
    Views,
)
from ssmtl.views.presets import default_strong
from ssmtl.views.warps import HorizontalFlip
from ssmtl_tasks import Segmentation

from ssmtl_depth import Depth, DepthPhantom


def recipe(
    *,
    data: Path | None = None,  # noqa: ARG001 - every recipe takes it
    method: Literal["supervised", "dense-fixmatch"] = "dense-fixmatch",
    depth_labels: int = 12,
    mask_labels: int = 12,
    threshold: float = 0.8,
    batch: int = 4,
    lr: float = 2e-3,
    seed: int = 0,
) -> Recipe:
    """Learn how far things are and which things they are, from few scenes with depth and few others with masks.

    Args:
        data: Not used: the scenes are made in memory.
        method: The labeled scenes alone, or Dense FixMatch for both tasks: the moving average labels the others.
        depth_labels: Scenes whose depth is visible.
        mask_labels: Scenes whose mask is visible, drawn independently.
        threshold: Probability from which a pixel is a pseudo-label: of its class, or of depth within a factor of 1.25.
        batch: Labeled scenes in a batch, and as many others.
        lr: Learning rate of AdamW.
        seed: Seed of weights, batches, views and of the choice of labeled scenes.
    """
    scenes = DepthPhantom(canvas=(48, 64), depth_every=2)
    depth = Depth("depth", head=MultiMixDecoder(dropout=0.0))
    objects = Segmentation("objects", classes=scenes.classes("mask"), head=MultiMixDecoder(dropout=0.0))
    learns = method == "dense-fixmatch"
    strategy = DenseFixMatch(threshold) if learns else Supervised()
    held_out = scenes.replace(split="val", samples=60, depth_every=1)
    both = ("depth", "objects")
    return Recipe(
        name=f"depth and objects {method}",
        objectives=tuple(Objective(task, strategy, ramp=SigmoidRamp(0.5)) for task in (depth, objects)),
        sources=(Source("scenes", scenes, serves=both),),
        budget=LabelBudget(counts=(("depth", depth_labels), ("objects", mask_labels)), rule="independent", seed=seed),
        streams=Explicit(labeled=batch, unlabeled=batch if learns else 0),
        model=Model(MultiMixEncoder(channels=(12, 24, 48, 96), dropout=0.0), channels=3),
        views=Views(weak=Policy(always=(HorizontalFlip(),)), strong=default_strong()),
        teacher=Teacher(decay=0.98),
        optimizer=AdamW(lr=lr),
        schedule=Poly(0.9),
        steps=500,
        eval_every=500,
        checkpoint_every=250,
        validation=(Split("validation", held_out, tasks=both),),
        test=(Split("test", held_out.replace(split="test", samples=200), tasks=both),),
        evaluate="teacher",
        seed=seed,
    )
