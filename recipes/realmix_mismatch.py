"""RealMix where unlabeled images come from elsewhere: six classes to learn, unlabeled images of four, some foreign.

Paper    Nair, Alonso and Beltramelli, "RealMix: Towards Realistic Semi-Supervised Deep Learning Algorithms", 2019,
         Tables 1 and 6: errors on the six animals of CIFAR-10, with vehicles among the unlabeled images
Results  docs/results/realmix.md: every number there with its command, seeds and machine
Run      ssmtl run realmix_mismatch --mismatch 100                            phantoms, minutes on two CPU cores
         ssmtl run realmix_mismatch --mismatch 50 --method mixmatch --data CIFAR
Differs  see `deviations`; every report lists them
"""

from pathlib import Path
from typing import Literal

from ssmtl import Published, Recipe
from ssmtl.datasets.base import Reader
from ssmtl.datasets.small_images import small_images
from ssmtl.datasets.subset import Subset
from ssmtl_tasks import small_images as common

GAMMA = {0: 0.0, 25: 0.2, 50: 0.4, 75: 0.6, 100: 0.85}
"""Share of unlabeled images that RealMix drops at each level of mismatch (Section 4.2.2, untuned)."""


def recipe(
    *,
    data: Path | None = None,
    mismatch: Literal[0, 25, 50, 75, 100] = 100,
    method: common.MethodName = "realmix",
    labels: int | None = None,
    gamma: float | None = None,
    tsa: bool = False,
    extend: common.Augmentation | None = None,
    extend_rounds: int | None = None,
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
    """Learn six classes of small images when some of the unlabeled images show none of them.

    Without --data the six are figures, and what is foreign are textures, both made in memory. For the paper's setting
    add: --steps 500000 --bn-momentum 0.001.

    Args:
        data: Folder with CIFAR-10: official batches, or JPEGs in class folders or a zip of them.
        mismatch: Percent of the four unlabeled classes that are foreign.
        method: A method of the paper's tables, or another of its family.
        labels: Labeled images, the same number of every class; by default 2400, or 60 phantoms.
        gamma: Share of unlabeled images that RealMix's mask drops; by default the paper's for that mismatch.
        tsa: Training signal annealing, which the paper has with 250 labels or fewer.
        extend: How RealMix's copies of the unlabeled images are made; other methods take the images as they are.
        extend_rounds: How many copies of each; by default 50.
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
    images = small_images(data, "cifar10", size)
    default = 2400 if data else 60
    each = common.per_class(default if labels is None else labels, len(images.own))
    dropped = gamma if gamma is not None else GAMMA[mismatch] if method == "realmix" else 0.0
    shown = unlabeled_classes(images.own, images.foreign, mismatch)
    rest: Reader = Subset(reader=images.train, only=shown, start=each, seed=seed)
    rest = common.copies(rest, images, method, extend, extend_rounds)
    chosen = common.method_for(method, images.name)
    chosen = chosen if lam is None else chosen._replace(lam=lam)
    scale = common.FILES if data else common.PHANTOMS
    scale = scale.but(network=network, batch=batch, ema=ema, bn_momentum=bn_momentum)
    base = common.study(
        images,
        f"realmix_mismatch {mismatch} {method}",
        common.with_parts(chosen, tsa=tsa, gamma=dropped),
        classes=images.own,
        labeled=Subset(reader=images.train, only=images.own, stop=each, seed=seed),
        unlabeled=rest,
        scale=scale,
        lr=lr,
        test_last=test_last,
        seed=seed,
        data=data,
    )

    name = common.PAPER_NAMES.get(method)
    own_parts = extend is None and not dropped
    if method == "realmix":
        own_parts = (extend or "cutout", extend_rounds or 50) == ("cutout", 50)
    own_parts = own_parts and not tsa and lam is None
    if data is None or name is None or not own_parts or labels not in (None, 2400):
        return base
    if method == "realmix" and mismatch == 75 and not dropped:
        name = "RealMix w/o OODMask"
    setting: tuple[tuple[str, str | int], ...] = (
        ("dataset", "CIFAR-10, 6 animals"),
        ("n_labels", 2400),
        ("mismatch_pct", mismatch),
    )
    if name == "RealMix":
        setting = (*setting, ("gamma", f"{dropped:g}"))
    published = Published(paper=common.PAPER, method=name, setting=setting, same_data=images.original)
    return base.replace(published=published)


def unlabeled_classes(own: tuple[str, ...], foreign: tuple[str, ...], mismatch: int) -> tuple[str, ...]:
    """Return the four classes of unlabeled images: the last four to learn, exchanged from the front.

    Of CIFAR-10: deer, dog, frog, horse; airplane, dog, frog, horse; airplane, automobile, frog, horse; airplane,
    automobile, ship, horse; airplane, automobile, ship, truck.
    """
    exchanged = mismatch // 25
    return (*foreign[:exchanged], *own[len(own) - 4 + exchanged :])
