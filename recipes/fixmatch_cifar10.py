"""FixMatch on CIFAR-10: confident predictions on a weak view teach a strong one, beside what labels alone give.

Paper    Sohn et al., "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", NeurIPS 2020,
         Table 2: errors with 40, 250 and 4000 labels
Results  docs/results/realmix.md, beside the methods that RealMix compares
Run      ssmtl run fixmatch_cifar10                                           phantoms, minutes on two CPU cores
         ssmtl run fixmatch_cifar10 --data CIFAR --labels 250 --precision bf16-mixed
Differs  see `deviations`; every report lists them
"""

from pathlib import Path
from typing import Literal

from ssmtl import FixMatch, Recipe
from ssmtl.datasets.small_images import small_images
from ssmtl.datasets.subset import Subset
from ssmtl.errors import RecipeError
from ssmtl_tasks import small_images as common


def recipe(
    *,
    data: Path | None = None,
    method: Literal["supervised", "fixmatch"] = "fixmatch",
    labels: int | None = None,
    threshold: float = 0.95,
    mu: int = 7,
    lam: float = 1.0,
    pseudo_labels_from: Literal["student", "teacher"] = "student",
    gamma: float = 0.0,
    lr: float = 0.03,
    network: common.NetworkName | None = None,
    batch: int | None = None,
    ema: float | None = None,
    bn_momentum: float | None = None,
    test_last: int = 20,
    size: int = 32,
    seed: int = 0,
) -> Recipe:
    """Learn to classify small images from few labels by FixMatch, with its own optimizer and schedule.

    Without --data it trains on phantoms made in memory. For the paper's setting add: --steps 1048576 --bn-momentum
    0.001.

    Args:
        data: Folder with CIFAR-10: official batches, or JPEGs in class folders or a zip of them.
        method: FixMatch, or the labeled images alone with the same optimizer and schedule.
        labels: Labeled images, the same number of every class; by default 250, or 40 phantoms.
        threshold: Probability from which a prediction becomes a pseudo-label.
        mu: Unlabeled images in a batch for each labeled one.
        lam: Weight of the loss on unlabeled images.
        pseudo_labels_from: Who predicts them: the student, or its moving average.
        gamma: Share of unlabeled images that RealMix's mask drops besides, those the model is least sure of.
        lr: Learning rate of SGD.
        network: Wide residual network; by default WRN-28-2, on phantoms a small one.
        batch: Labeled images in a batch.
        ema: Decay of the moving average that is scored.
        bn_momentum: How fast running statistics of batch normalization move.
        test_last: Tested are the weights of that many last evaluations, --eval-every steps apart; the median counts.
        size: Side of the images in pixels.
        seed: Seed of weights, batches, views and of the choice of labeled images.
    """
    if mu < 1:
        raise RecipeError(f"--mu must be at least 1, got {mu}; for labeled images alone take --method supervised.")
    images = small_images(data, "cifar10", size)
    default = 250 if data else 40
    each = common.per_class(default if labels is None else labels, len(images.classes))
    fixmatch = FixMatch(threshold=threshold, pseudo_labels_from=pseudo_labels_from)
    chosen = common.METHODS["fixmatch"]._replace(strategy=fixmatch, lam=lam, unlabeled=mu)
    if method == "supervised":
        chosen = common.SUPERVISED._replace(optimizer=chosen.optimizer, decay=chosen.decay)
    scale = common.FILES if data else common.PHANTOMS.but(batch=16)
    scale = scale.but(network=network, batch=batch, ema=ema, bn_momentum=bn_momentum)
    return common.study(
        images,
        f"fixmatch_cifar10 {method}",
        common.with_parts(chosen, tsa=False, gamma=gamma),
        classes=images.classes,
        labeled=Subset(reader=images.train, stop=each, seed=seed),
        unlabeled=images.train,
        scale=scale,
        lr=lr,
        test_last=test_last,
        seed=seed,
        data=data,
    )
