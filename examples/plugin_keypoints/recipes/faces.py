"""Points, expression and outline of faces on one encoder, when few faces are labeled: a plugin's task among others.

Paper    none: a demonstration of `ssmtl_keypoints`
Results  the README beside this folder: every number there with its command, seeds and machine
Run      ssmtl run recipes/faces.py                                        phantoms, minutes on two CPU cores
         ssmtl run recipes/faces.py --method supervised                    the baseline
         ssmtl run recipes/faces.py --no-flips                             what flips are worth
Differs  from the papers behind its methods by size and length; see `deviations`
"""

from pathlib import Path
from typing import Literal

from ssmtl import (
    Adam,
    DeepLabV3Plus,
    DenseFixMatch,
    Explicit,
    FixMatch,
    LabelBudget,
    Milestones,
    Model,
    Objective,
    Policy,
    Recipe,
    SigmoidRamp,
    Source,
    Split,
    Supervised,
    Teacher,
    TimmEncoder,
    Views,
)
from ssmtl.errors import RecipeError
from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import ScaleCrop
from ssmtl.views.presets import POOL_DENSE
from ssmtl.views.warps import HorizontalFlip
from ssmtl_keypoints import FacePhantom, Keypoints
from ssmtl_keypoints.phantom import MIRRORED
from ssmtl_tasks import Classification, Segmentation

DEVIATIONS = (
    "A small network and some hundred steps on 48-pixel phantoms; the methods' programs were made for photos.",
    "Scored are the last weights of the moving average.",
)


def recipe(
    *,
    data: Path | None = None,
    method: Literal["semi-supervised", "supervised"] = "semi-supervised",
    point_labels: int = 30,
    labels: int = 120,
    tasks: Literal["all", "points"] = "all",
    flips: bool = True,
    threshold: float = 0.5,
    seed: int = 0,
) -> Recipe:
    """Find points, expression and outline of faces.

    It trains on 600 faces made in memory.

    Args:
        data: Not used: there is no folder to read.
        method: Dense FixMatch for points and masks with FixMatch for expressions, or labeled faces alone.
        point_labels: Faces whose points are visible.
        labels: Faces whose expression is visible, and whose mask is.
        tasks: All three, or the points alone.
        flips: Flip faces, which exchanges the names of left and right points.
        threshold: Probability from which a found point teaches.
        seed: Seed of weights, batches, views and of the choice of labeled faces.
    """
    if data is not None:
        raise RecipeError(f"faces are made in memory, but --data names {data}; leave it out.")
    train = FacePhantom(samples=600, canvas=(48, 48))
    semi = method == "semi-supervised"
    dense = DeepLabV3Plus(channels=64, low_level_channels=64, norm="groupnorm")
    points = Keypoints(
        "points", points=train.classes("keypoints"), mirrored=MIRRORED if flips else None, sigma=1.2, head=dense
    )
    expression = Classification("expression", classes=train.classes("label"))
    outline = Segmentation("outline", classes=train.classes("mask"), head=dense)
    ramp = SigmoidRamp(0.4)
    objectives = (
        Objective(points, DenseFixMatch(threshold) if semi else Supervised(), ramp=ramp),
        Objective(expression, FixMatch(0.9) if semi else Supervised(), ramp=ramp),
        Objective(outline, DenseFixMatch(0.8) if semi else Supervised(), ramp=ramp),
    )[: 3 if tasks == "all" else 1]
    names = tuple(objective.task.name for objective in objectives)
    counts = (("points", point_labels), ("expression", labels), ("outline", labels))
    held_out = train.replace(split="val", samples=60)
    return Recipe(
        name=f"faces {method} {point_labels}-{labels} {tasks}{'' if flips else ' unflipped'}",
        objectives=objectives,
        sources=(Source("faces", train, serves=names),),
        budget=LabelBudget(counts=counts[: len(names)], rule="nested", seed=seed),
        streams=Explicit(labeled=8, unlabeled=8 if semi else 0),
        model=Model(TimmEncoder("test_resnet", output_stride=16), channels=3),
        views=_views(flips=flips),
        teacher=Teacher(decay=0.99, buffers="ema"),
        optimizer=Adam(lr=3e-3),
        schedule=Milestones((0.6, 0.85), factor=0.2),
        steps=300,
        eval_every=300,
        checkpoint_every=300,
        validation=(Split("validation", held_out, tasks=names),),
        test=(Split("test", train.replace(split="test", samples=200), tasks=names),),
        evaluate="teacher",
        seed=seed,
        deviations=DEVIATIONS,
    )


def _views(*, flips: bool) -> Views:
    """Return a weak view that scales and flips, and a strong one that also turns, shears and changes colors."""
    frame = ScaleCrop(scale=(0.8, 1.25))
    mirror = (HorizontalFlip(),) * flips
    return Views(
        weak=Policy(always=(frame, *mirror)),
        strong=Policy(always=(frame, *mirror, Cutout((0.1, 0.3))), pool=POOL_DENSE, num_ops=2, distinct=True),
    )
