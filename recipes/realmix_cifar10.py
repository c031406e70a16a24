"""RealMix on CIFAR-10 and SVHN: one classifier from few labels, under each method that the paper compares.

Paper    Nair, Alonso and Beltramelli, "RealMix: Towards Realistic Semi-Supervised Deep Learning Algorithms", 2019,
         Tables 2 to 5: errors with 250 labels, on SVHN, from pretrained weights, and without parts of the method
Results  docs/results/realmix.md: every number there with its command, seeds and machine
Run      ssmtl run realmix_cifar10                                            phantoms, minutes on two CPU cores
         ssmtl run realmix_cifar10 --method mixmatch --data CIFAR --labels 250
         ssmtl run realmix_cifar10 --data SVHN --dataset svhn
Differs  see `deviations`; every report lists them
"""

from pathlib import Path
from typing import Literal

from ssmtl import Published, Recipe
from ssmtl.datasets.base import Reader
from ssmtl.datasets.small_images import small_images
from ssmtl.datasets.subset import Subset
from ssmtl_tasks import small_images as common


def recipe(
    *,
    data: Path | None = None,
    dataset: Literal["cifar10", "svhn"] = "cifar10",
    method: common.MethodName = "realmix",
    labels: int | None = None,
    tsa: bool | None = None,
    gamma: float = 0.0,
    extend: common.Augmentation | None = None,
    extend_rounds: int | None = None,
    weights: Path | None = None,
    network: common.NetworkName | None = None,
    batch: int | None = None,
    lam: float | None = None,
    lr: float | None = None,
    ema: float | None = None,
    bn_momentum: float | None = None,
    test_last: int = 20,
    size: int = 32,
    seed: int = 0,
) -> Recipe:
    """Learn to classify small images from few labels and many images without.

    Without --data it trains on phantoms made in memory: ten classes of shapes and patterns. For the paper's setting
    add: --steps 500000 --bn-momentum 0.001.

    Args:
        data: Folder with CIFAR-10 (official batches, or JPEGs in class folders or a zip of them), or with SVHN.
        dataset: Which of them it is.
        method: A method of the paper's tables, or FixMatch.
        labels: Labeled images, the same number of every class; by default 250, or 40 phantoms.
        tsa: Training signal annealing; by default RealMix has it with 250 labels or fewer.
        gamma: Share of unlabeled images that a mask drops at every step, those the model is least sure of.
        extend: How RealMix's copies of the unlabeled images are made; other methods take the images as they are.
        extend_rounds: How many copies of each; by default 50.
        weights: Run that trained on other images (ssmtl run imagenet32_pretrain), whose encoder this one starts from.
        network: Wide residual network; by default WRN-28-2, on phantoms a small one.
        batch: Labeled images in a batch; as many unlabeled ones, for FixMatch seven times as many.
        lam: Weight of what unlabeled images teach; by default that of the method's paper, which may be too much for
            much shorter runs than the paper's.
        lr: Learning rate; by default that of the method's paper.
        ema: Decay of the moving average that is scored.
        bn_momentum: How fast running statistics of batch normalization move.
        test_last: Tested are the weights of that many last evaluations, --eval-every steps apart; the median counts.
        size: Side of the images in pixels.
        seed: Seed of weights, batches, views and of the choice of labeled images.
    """
    images = small_images(data, dataset, size)
    count = labels if labels is not None else 250 if data else 40
    each = common.per_class(count, len(images.classes))
    labeled = Subset(reader=images.train, stop=each, seed=seed)
    rest: Reader = images.train if method == "fixmatch" else Subset(reader=images.train, start=each, seed=seed)
    rest = common.copies(rest, images, method, extend, extend_rounds)
    annealed = tsa if tsa is not None else method == "realmix" and count <= 250
    chosen = common.method_for(method, images.name)
    chosen = chosen if lam is None else chosen._replace(lam=lam)
    scale = common.FILES if data else common.PHANTOMS
    scale = scale.but(network=network, batch=batch, ema=ema, bn_momentum=bn_momentum)
    base = common.study(
        images,
        f"realmix_{dataset} {method}",
        common.with_parts(chosen, tsa=annealed, gamma=gamma),
        classes=images.classes,
        labeled=labeled,
        unlabeled=rest,
        scale=scale,
        weights=weights,
        lr=lr,
        test_last=test_last,
        seed=seed,
        data=data,
    )
    method_name = _paper_name(method, count, extend or "cutout", extend_rounds or 50, pretrained=weights is not None)
    own_parts = annealed == (method == "realmix" and count <= 250) and (method == "realmix" or extend is None)
    if data is None or method_name is None or not own_parts or gamma or lam is not None or count not in (250, 4000):
        return base
    setting = (("dataset", images.name), ("n_labels", count))
    return base.replace(
        published=Published(paper=common.PAPER, method=method_name, setting=setting, same_data=images.original)
    )


def _paper_name(method: str, labels: int, extend: str, rounds: int, *, pretrained: bool) -> str | None:
    """Return what Tables 2 to 5 call a method with its parts, None where they don't have it."""
    if method == "realmix" and (extend, rounds) != ("cutout", 50):
        ablations = {("simple", 50): "RealMix w/ Simple Aug", ("cutout", 25): "RealMix w/ 25 Augs"}
        return ablations.get((extend, rounds)) if labels == 250 and not pretrained else None
    if pretrained:
        return {"supervised": "TL & Fine-Tuning", "realmix": "RealMix + TL"}.get(method)
    return common.PAPER_NAMES.get(method) if method != "supervised" else None
