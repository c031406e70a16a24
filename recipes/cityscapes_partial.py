"""Masks and boxes of street scenes, few of which are labeled, and not the same few for both tasks.

Paper    "Multi-task learning on partially labeled datasets via invariant/equivariant semi-supervised learning",
         Tables 1 to 3: label settings (a) to (e), one task or both, three methods, two ways to sample
Results  docs/results/partial_labels.md: every number there with its command, seeds and machine
Run      ssmtl run cityscapes_partial                                          phantoms, minutes on two CPU cores
         ssmtl run cityscapes_partial --method supervised --setting e          the baseline, in another setting
         ssmtl run cityscapes_partial --data CAMVID --size 96 --labels 46    real streets, reduced
         ssmtl run cityscapes_partial --data CITYSCAPES --pretrained --labels 93 --precision bf16-mixed
         ssmtl data coverage cityscapes_partial --setting e                    how many labels a batch will hold
Differs  see `deviations`; every report lists them
"""

from pathlib import Path
from typing import Literal

from ssmtl import LabelBudget, Published, Recipe
from ssmtl.datasets.street import street_study
from ssmtl_tasks import partial_labels as common


def recipe(
    *,
    data: Path | None = None,
    method: Literal["supervised", "fixmatch-star", "dense-fixmatch"] = "dense-fixmatch",
    setting: Literal["a", "b", "c", "d", "e"] = "b",
    labels: int = 40,
    box_labels: int | None = None,
    tasks: Literal["both", "segmentation", "detection"] = "both",
    sampling: Literal["implicit", "explicit"] = "explicit",
    lu_on: Literal["unlabeled", "all"] = "unlabeled",
    shared_flip: bool = True,
    size: int | None = None,
    batch: int = 8,
    pretrained: bool = False,
    weights: Path | None = None,
    seed: int = 0,
) -> Recipe:
    """Learn masks and boxes of street scenes, most of which lack one or both.

    Without --data it trains on phantoms made in memory: 640 scenes of 64 x 128 pixels, 40 of them labeled. For a cell
    of the paper's tables add: --data CITYSCAPES --pretrained --steps 89250.

    Args:
        data: Folder with Cityscapes (leftImg8bit/ and gtFine/), or with CamVid (train/, val/, test/, classes.json).
        method: The baseline; FixMatch*, whose views show the same place; or Dense FixMatch, which moves labels.
        setting: Frames with masks lie among the boxed, which are all (a) or --box-labels (d); they are the same (b);
            or both are drawn independently, as many (c) or not (e).
        labels: Frames whose mask is visible.
        box_labels: Frames whose boxes are visible: four times --labels in (d) and (e) unless given.
        tasks: One task alone, or both on one encoder.
        sampling: Batches of 16 frames from all, or of 8 labeled ones and 8 others. The baseline takes 8 labeled ones.
        lu_on: Learn without labels from frames that lack them, or from all.
        shared_flip: Flip in every method; otherwise in Dense FixMatch only, as in the paper.
        size: Height of the canvas in pixels; below 200 a small network is trained.
        batch: Labeled frames in a batch, half of it.
        pretrained: Download the encoder's ImageNet weights.
        weights: A file of them instead.
        seed: Seed of weights, batches, views and of the choice of labeled frames.
    """
    study = street_study(data, size)
    network = common.network_for(study.train)
    objectives = common.objectives(method, network, study.train, learned=tasks, lu_on=lu_on)
    names = tuple(objective.task.name for objective in objectives)
    boxed = {"a": "full", "b": labels, "c": labels}.get(setting, 4 * labels) if box_labels is None else box_labels
    budget = LabelBudget.setting(setting, (common.SEGMENTATION, labels), (common.DETECTION, boxed), seed=seed)
    budget = budget.replace(counts=tuple(pair for pair in budget.counts if pair[0] in names))
    labeled_if = common.SEGMENTATION if setting == "a" and tasks == "both" and method != "supervised" else "any"
    streams = common.streams(method, sampling, batch, labeled_if)
    in_tables = 2975 if boxed == "full" else boxed
    numbers = {common.SEGMENTATION: ("n_seg_labels", labels), common.DETECTION: ("n_det_labels", in_tables)}
    base = common.base(
        study, method, network, objectives, streams, shared_flip=shared_flip, pretrained=pretrained, weights=weights
    )
    return base.replace(
        name=common.variant("cityscapes_partial", f"{setting} {labels}-{boxed}", method, sampling, lu_on, tasks),
        budget=budget,
        data=None if data is None else str(data),
        seed=seed,
        published=Published(
            paper=common.PAPER,
            method=common.PAPER_NAMES[method],
            setting=(
                ("experiment", setting if tasks == "both" else "single-task"),
                ("sampling", common.sampling_name(method, sampling)),
                *(numbers[task] for task in names),
            ),
            same_data=study.name == "Cityscapes" and size is None,
        ),
    )
