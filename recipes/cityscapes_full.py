"""Masks and boxes of Cityscapes with all of its labels, and frames without any: trainextra, and the whole sequences.

Paper    "Multi-task learning on partially labeled datasets via invariant/equivariant semi-supervised learning",
         Tables 4 to 6: three training sets, three methods, two ways to sample
Results  none yet: docs/results/partial_labels.md has those of cityscapes_partial
Run      ssmtl run cityscapes_full                                             phantoms, minutes on two CPU cores
         ssmtl run cityscapes_full --data CITYSCAPES --pretrained --train-set train+trainextra --precision bf16-mixed
Differs  see `deviations`; every report lists them
"""

from pathlib import Path
from typing import Literal

from ssmtl import LabelBudget, Published, Recipe, Source
from ssmtl.datasets.street import street_study
from ssmtl.errors import RecipeError
from ssmtl_tasks import partial_labels as common


def recipe(
    *,
    data: Path | None = None,
    method: Literal["supervised", "fixmatch-star", "dense-fixmatch"] = "dense-fixmatch",
    train_set: Literal["train", "train+trainextra", "train+trainextra+sequence"] = "train+trainextra",
    sampling: Literal["implicit", "explicit"] | None = None,
    lu_on: Literal["unlabeled", "all"] = "all",
    shared_flip: bool = True,
    size: int | None = None,
    batch: int = 8,
    pretrained: bool = False,
    weights: Path | None = None,
    seed: int = 0,
) -> Recipe:
    """Learn masks and boxes of street scenes from all of their labels, and from frames that have none.

    Without --data it trains on phantoms made in memory: 640 labeled scenes, and 2,560 for each further part. For a cell
    of the paper's tables add: --data CITYSCAPES --pretrained --steps 150000.

    Args:
        data: Folder with Cityscapes: leftImg8bit/ (with train_extra/), gtFine/, leftImg8bit_sequence/.
        method: The baseline; FixMatch*, whose views show the same place; or Dense FixMatch, which moves labels.
        train_set: Frames for training: the labeled ones, and which of those without labels.
        sampling: Batches of 16 frames from all, or of 8 labeled ones and 8 others, which is the default where there
            are others. The baseline takes 8 labeled ones.
        lu_on: Learn without labels from frames that lack them, or from all. Where all are labeled, it must be all.
        shared_flip: Flip in every method; otherwise in Dense FixMatch only, as in the paper.
        size: Height of the canvas in pixels; below 200 a small network is trained.
        batch: Labeled frames in a batch, half of it.
        pretrained: Download the encoder's ImageNet weights.
        weights: A file of them instead.
        seed: Seed of weights, batches and views.
    """
    study = street_study(data, size, train_set)
    network = common.network_for(study.train).longer(150_000)
    objectives = common.objectives(method, network, study.train, lu_on=lu_on)
    names = tuple(objective.task.name for objective in objectives)
    extra = () if method == "supervised" else study.extra
    drawn = sampling or ("explicit" if extra else "implicit")
    if method != "supervised" and not extra and (drawn == "explicit" or lu_on == "unlabeled"):
        raise RecipeError(
            "with --train-set train every frame is labeled, so that nothing is left to draw or to learn from without "
            "labels; use --sampling implicit and --lu-on all, or another --train-set."
        )
    used = train_set if extra else "train"
    where = (("train_set", used), ("sampling", common.sampling_name(method, drawn)))
    streams = common.streams(method, drawn, batch)
    base = common.base(
        study, method, network, objectives, streams, shared_flip=shared_flip, pretrained=pretrained, weights=weights
    )
    return base.replace(
        name=common.variant("cityscapes_full", used, method, drawn, lu_on, "both"),
        sources=tuple(Source(name, reader, serves=names) for name, reader in (("train", study.train), *extra)),
        budget=LabelBudget(seed=seed),
        data=None if data is None else str(data),
        seed=seed,
        published=Published(
            paper=common.PAPER,
            method=common.PAPER_NAMES[method],
            setting=where if method == "supervised" else (*where, ("lu_on", lu_on)),
            same_data=study.name == "Cityscapes" and size is None,
        ),
    )
