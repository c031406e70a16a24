"""A small study on phantom films, as a recipe file: `ssmtl run tiny.py` in the tests of the engine and command line."""

from pathlib import Path
from typing import Literal

from ssmtl import (
    SGD,
    Adam,
    FixMatch,
    Implicit,
    LabelBudget,
    Model,
    MultiMixDecoder,
    MultiMixEncoder,
    Objective,
    PerSource,
    PredictionMatching,
    Recipe,
    SaliencyBridge,
    Source,
    Split,
    Supervised,
    Views,
)
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.views.presets import multimix_strong, multimix_weak
from ssmtl_tasks import Classification, Dice, Segmentation


def recipe(
    *,
    data: Path | None = None,
    seed: int = 0,
    dropout: float = 0.25,
    streams: Literal["per-source", "implicit"] = "per-source",
    lr: float = 1e-3,
    optimizer: Literal["adam", "sgd"] = "adam",
    matching: bool = True,
    accumulate: int = 1,
    select: Literal["last", "best"] = "last",
) -> Recipe:
    """Two tasks on 32-pixel phantoms, with every part of MultiMix.

    Args:
        data: Not used.
        seed: Seed of everything.
        dropout: Dropout of the encoder.
        streams: How batches are made.
        lr: Learning rate.
        optimizer: Adam magnifies rounding where a gradient is nearly zero; SGD does not.
        matching: Whether lung maps of labeled and unlabeled films are matched, within each process.
        accumulate: Micro-steps per step.
        select: Which checkpoint is tested.
    """
    films = ChestPhantom(samples=24, canvas=(32, 32))
    held_out = ChestPhantom(samples=8, split="val", canvas=(32, 32))
    return Recipe(
        name="tiny",
        objectives=(
            Objective(Classification("diagnosis", classes=("normal", "pneumonia")), FixMatch(threshold=0.5), lam=0.25),
            Objective(
                Segmentation("lungs", classes=("lung",), loss=Dice(), head=MultiMixDecoder(dropout=dropout)),
                PredictionMatching() if matching else Supervised(),
                gamma=5.0,
                lam=0.002,
            ),
        ),
        sources=(
            Source("films", films, serves=("diagnosis",)),
            Source("lung films", films.replace(first=1000), serves=("lungs",)),
        ),
        budget=LabelBudget(counts=(("diagnosis", 8), ("lungs", 4)), seed=seed),
        streams=PerSource(labeled=2, unlabeled=2) if streams == "per-source" else Implicit(batch=4),
        model=Model(MultiMixEncoder(dropout=dropout), bridge=SaliencyBridge("diagnosis", "lungs")),
        views=Views(weak=multimix_weak(), strong=multimix_strong()),
        optimizer=Adam(lr=lr) if optimizer == "adam" else SGD(lr=lr),
        steps=12,
        eval_every=5,
        checkpoint_every=4,
        accumulate=accumulate,
        validation=(Split("validation", held_out, tasks=("diagnosis", "lungs")),),
        test=(Split("test", held_out.replace(split="test"), tasks=("diagnosis", "lungs")),),
        select=select,
        seed=seed,
    )
