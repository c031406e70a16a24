"""WRN-28-2 on ImageNet at 32x32 pixels: the weights that RealMix's transfer study starts from.

Paper    Nair, Alonso and Beltramelli, "RealMix: Towards Realistic Semi-Supervised Deep Learning Algorithms", 2019,
         Section 4.2.3 and Table 4; the images are those of Chrabaszcz et al., "A Downsampled Variant of ImageNet", 2017
Results  none yet: training takes the whole of ImageNet
Run      ssmtl run imagenet32_pretrain                                        phantoms, minutes on two CPU cores
         ssmtl run imagenet32_pretrain --data IMAGENET32 --out PRETRAINED --precision bf16-mixed
         ssmtl run realmix_cifar10 --data CIFAR --weights PRETRAINED
Differs  see `deviations`; every report lists them
"""

from pathlib import Path

from ssmtl import (
    SGD,
    Cosine,
    Explicit,
    LinearHead,
    Model,
    Objective,
    Recipe,
    Source,
    Split,
    Supervised,
    Teacher,
    Views,
)
from ssmtl.datasets.base import Reader
from ssmtl.datasets.imagenet32 import ImageNet32
from ssmtl.datasets.shapes_phantom import ShapesPhantom
from ssmtl.views.presets import cifar_weak
from ssmtl_tasks import Classification
from ssmtl_tasks import small_images as common


def recipe(
    *,
    data: Path | None = None,
    network: common.NetworkName | None = None,
    batch: int | None = None,
    lr: float = 0.1,
    ema: float | None = None,
    bn_momentum: float | None = None,
    size: int = 32,
    seed: int = 0,
) -> Recipe:
    """Learn to classify many labeled small images, for an encoder that other recipes start from.

    Without --data it trains on phantoms made in memory, of which no other recipe uses an image.

    Args:
        data: Folder with ImageNet at 32x32 pixels: train_data_batch_1 to _10 and val_data, as pickles or .npz.
        network: Wide residual network; by default WRN-28-2, on phantoms a small one.
        batch: Images in a batch.
        lr: Learning rate of SGD, which falls along a cosine to 0.
        ema: Decay of the moving average, whose weights are handed on.
        bn_momentum: How fast running statistics of batch normalization move.
        size: Side of the images in pixels.
        seed: Seed of weights, batches and views.
    """
    scale = common.Scale("wrn-28-2", 256, 0.999, 0.01, 200_000, 5_000)
    if data is None:
        scale = common.Scale("wrn-10-1", 64, 0.99, 0.05, 300, 50)
    scale = scale.but(network=network, batch=batch, ema=ema, bn_momentum=bn_momentum)
    train, test = _readers(data, (size, size))
    task = Classification(name="object", classes=train.classes("label"), head=LinearHead(init="glorot"))
    return Recipe(
        name="imagenet32_pretrain",
        objectives=(Objective(task, Supervised()),),
        sources=(Source("images", train, serves=("object",)),),
        streams=Explicit(labeled=scale.batch, unlabeled=0),
        model=Model(scale.encoder(), channels=3),
        views=Views(weak=cifar_weak()),
        teacher=Teacher(decay=scale.ema),
        optimizer=SGD(lr=lr, weight_decay=5e-4),
        schedule=Cosine(),
        steps=scale.steps,
        eval_every=scale.eval_every,
        test=(Split("test", test, tasks=("object",)),),
        evaluate="teacher",
        seed=seed,
        data=None if data is None else str(data),
        deviations=DEVIATIONS,
    )


def _readers(data: Path | None, canvas: tuple[int, int]) -> tuple[Reader, Reader]:
    if data is None:
        train = ShapesPhantom(samples=2000, seed=1, canvas=canvas)
        return train, train.replace(samples=500, split="test")
    images = ImageNet32(root=data, canvas=canvas)
    return images, images.replace(split="val")


DEVIATIONS = (
    "The paper doesn't say how its network was trained on ImageNet: optimizer, schedule and length are our choice.",
    "The test images are ImageNet's validation images: the labels of its test images aren't public.",
)
