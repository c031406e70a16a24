"""Masks and boxes of BDD100K: most training frames have boxes, few have masks, and hardly any has both.

Paper    "Multi-task learning on partially labeled datasets via invariant/equivariant semi-supervised learning",
         Tables 7 to 9: one task or both, all labels or those of fully labeled frames, three methods
Results  none yet: docs/results/partial_labels.md has those of cityscapes_partial
Run      ssmtl run bdd100k                                                     phantoms, minutes on two CPU cores
         ssmtl run bdd100k --data BDD100K --pretrained --precision bf16-mixed
         ssmtl data coverage bdd100k                                           how many labels a batch will hold
Differs  see `deviations`; every report lists them
"""

from pathlib import Path
from typing import Literal

from ssmtl import LabelBudget, Published, Recipe
from ssmtl.datasets.street import bdd100k_study
from ssmtl.errors import RecipeError
from ssmtl_tasks import partial_labels as common

PHANTOM_LABELS = LabelBudget(
    counts=((common.SEGMENTATION, 60), (common.DETECTION, 600)), rule="independent", overlap=26
)
"""Of 640 scenes, about the shares of BDD100K's 73,570 frames: 6,546 have masks, 69,853 boxes, 2,972 both."""


def recipe(
    *,
    data: Path | None = None,
    method: Literal["supervised", "fixmatch-star", "dense-fixmatch"] = "dense-fixmatch",
    tasks: Literal["both", "segmentation", "detection"] = "both",
    train_on: Literal["partially-labeled", "fully-labeled"] = "partially-labeled",
    sampling: Literal["implicit", "explicit"] = "explicit",
    lu_on: Literal["unlabeled", "all"] = "unlabeled",
    shared_flip: bool = True,
    size: int | None = None,
    batch: int = 8,
    pretrained: bool = False,
    weights: Path | None = None,
    seed: int = 0,
) -> Recipe:
    """Learn masks and boxes of street scenes, when most frames have boxes only.

    Without --data it trains on phantoms made in memory: 640 scenes with 60 masks and 600 lists of boxes, 26 with both.
    For a cell of the paper's tables add: --data BDD100K --pretrained --steps 300000.

    Args:
        data: Folder with BDD100K: images/ (100k and 10k) and labels/.
        method: The baseline; FixMatch*, whose views show the same place; or Dense FixMatch, which moves labels.
        tasks: One task alone, or both on one encoder.
        train_on: Which frames the baseline learns from: those with any label, or with both.
        sampling: Batches of 16 frames from all, or of 8 with both labels and 8 others. The baseline takes 8.
        lu_on: Learn without labels from frames that lack them, or from all.
        shared_flip: Flip in every method; otherwise in Dense FixMatch only, as in the paper.
        size: Height of the canvas in pixels; below 200 a small network is trained.
        batch: Labeled frames in a batch, half of it.
        pretrained: Download the encoder's ImageNet weights.
        weights: A file of them instead.
        seed: Seed of weights, batches and views.
    """
    study = bdd100k_study(data, size)
    network = common.network_for(study.train).longer(300_000)
    objectives = common.objectives(method, network, study.train, learned=tasks, lu_on=lu_on)
    names = tuple(objective.task.name for objective in objectives)
    if method != "supervised" and train_on == "fully-labeled":
        raise RecipeError("--train-on fully-labeled is for --method supervised: the others learn from every frame.")
    labeled_if = "any" if method == "supervised" and train_on == "partially-labeled" else "all"
    streams = common.streams(method, sampling, batch, labeled_if)
    base = common.base(
        study, method, network, objectives, streams, shared_flip=shared_flip, pretrained=pretrained, weights=weights
    )
    return base.replace(
        name=common.variant("bdd100k", train_on, method, sampling, lu_on, tasks),
        budget=LabelBudget(seed=seed) if data else _budget(names, seed),
        data=None if data is None else str(data),
        seed=seed,
        published=_published(method, tasks, train_on, sampling, lu_on, same_data=data is not None and size is None),
    )


def _budget(names: tuple[str, ...], seed: int) -> LabelBudget:
    """Return what the phantoms show; of one task its own labels."""
    if len(names) == 2:
        return PHANTOM_LABELS.replace(seed=seed)
    return LabelBudget(counts=tuple(pair for pair in PHANTOM_LABELS.counts if pair[0] in names), seed=seed)


def _published(
    method: str, tasks: str, train_on: str, sampling: str, lu_on: str, *, same_data: bool
) -> Published | None:
    """Return the row of Table 7 that a run compares with, if there is one."""
    if method != "supervised" and tasks != "both":
        return None
    if method != "supervised":
        name, setting = common.PAPER_NAMES[method], (("sampling", sampling), ("lu_on", lu_on))
    elif tasks == "both":
        frames = {"partially-labeled": "partially-labeled (73427)", "fully-labeled": "fully-labeled (2972)"}[train_on]
        name, setting = "Supervised multi-task", (("sampling", "uniform"), ("train_on", frames))
    else:
        name, setting = "Supervised single-task", (("sampling", "uniform"), ("train_on", f"{tasks}-labeled"))
    return Published(paper=common.PAPER, method=name, setting=(("dataset", "BDD100K"), *setting), same_data=same_data)
