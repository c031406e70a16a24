"""Your own data: one model for every column of a manifest, from the labels that are there and all images.

Paper    none; FixMatch (Sohn et al. 2020) for classes, Dense FixMatch (Martí i Rabadán et al. 2022) for masks and boxes
Results  yours: the report of a run; run it with --method supervised too, and compare
Run      ssmtl run custom                                               street phantoms, minutes on two CPU cores
         ssmtl run custom --data photos/manifest.csv --size 224 --out runs/first
Differs  see `deviations`; to change more than the flags do, copy this file: ssmtl new recipe
"""

from collections.abc import Iterator
from pathlib import Path

from ssmtl import AdamW, Cosine, LabelBudget, LinearRamp, Objective, PerTask, Recipe, Source, Split, Teacher, Views
from ssmtl.views.presets import dense_strong, dense_weak
from ssmtl_tasks.own_data import Method, OwnData, model, own_data, strategy_for, task_for

ZOOM = (1.0, 1.5)
"""By how much images are enlarged before a part of them is cut out; below 1 most of a view would be empty."""


def recipe(
    *,
    data: Path | None = None,
    method: Method = "semi-supervised",
    size: int = 128,
    encoder: str = "resnet18",
    pretrained: bool = False,
    weights: Path | None = None,
    labeled: int = 4,
    unlabeled: int = 8,
    threshold: float = 0.95,
    lam: float = 1.0,
    lr: float = 1e-3,
    flip: bool = True,
    allow_outside: bool = False,
    remote: bool = False,
    seed: int = 0,
) -> Recipe:
    """Learn every annotated column of a manifest with one model.

    A column `label` becomes a classification, `labels` one of several classes per image, `mask` a segmentation and
    `boxes` a detection; `label:sex` is called sex. Write the manifest with `ssmtl data init FOLDER`, look at it with
    `ssmtl data check FILE`, and split it with `ssmtl data split FILE`. Without --data it trains on phantoms made in
    memory, of which 20 show their masks and 30 their boxes.

    Args:
        data: The manifest: a .csv, .jsonl or .parquet file beside your images.
        method: Learn from unlabeled images too, or from the labeled ones alone, which is the baseline.
        size: Side in pixels that images are brought to, keeping their shape; 224 or more shows small things.
        encoder: Any encoder of timm, such as resnet50 or convnext_tiny.
        pretrained: Download the encoder's ImageNet weights, which helps most where labels are few.
        weights: A file of such weights, where there is no network.
        labeled: Labeled images of each task in a batch.
        unlabeled: Images without some label in a batch.
        threshold: Probability from which a predicted class teaches; lower it where the log says that none does.
        lam: Weight of what is learned from unlabeled images; it rises in the first third of the steps.
        lr: Learning rate of AdamW; it falls to zero on a cosine.
        flip: Show images mirrored too; --no-flip where left and right mean something.
        allow_outside: Images and masks may lie outside of the manifest's folder, if it was checked so.
        remote: Fetch files behind protocols, such as s3://, into your cache, if it was checked so.
        seed: Seed of weights, batches and views.
    """
    own = own_data(data, size, allow_outside=allow_outside, remote=remote)
    tasks = [task_for(kind, classes, size) for kind, classes in own.kinds]
    names = tuple(task.name for task in tasks)
    shown = () if data else (("mask", 20), ("boxes", 30))
    objectives = [
        Objective(
            task,
            strategy_for(task, method, threshold, unlabeled=bool(shown) or own.unlabeled(task.reads)),
            lam=lam,
            ramp=LinearRamp(0.3),
        )
        for task in tasks
    ]
    splits = {"validation": own.validation, "test": own.test}
    scored = {name: own.scored(reader, tasks) for name, reader in splits.items()}
    validation, test = (
        (Split(name, reader, tasks=scored[name]),) if reader and scored[name] else () for name, reader in splits.items()
    )
    views = Views(weak=dense_weak(scale=ZOOM), strong=dense_strong(scale=ZOOM, crop="same"))
    return Recipe(
        name=f"custom {method}",
        objectives=tuple(objectives),
        sources=(Source("images", own.train, serves=names),),
        budget=LabelBudget(counts=shown, seed=seed),
        streams=PerTask(labeled=labeled, unlabeled=unlabeled if method == "semi-supervised" else 0),
        model=model(encoder, pretrained=pretrained, weights=weights),
        views=views if flip else without_flips(views),
        teacher=Teacher(decay=0.99, buffers="ema"),
        optimizer=AdamW(lr=lr, weight_decay=0.01),
        schedule=Cosine(),
        clip=1.0,
        steps=500,
        eval_every=100,
        checkpoint_every=100,
        validation=validation,
        test=test,
        evaluate="teacher",
        select="best" if validation else "last",
        data=str(data.expanduser().absolute().parent) if data else None,
        seed=seed,
        deviations=tuple(missing(own, validated=bool(validation), tested=bool(test))),
    )


def missing(own: OwnData, *, validated: bool, tested: bool) -> Iterator[str]:
    """Yield what the manifest can't give, a sentence each."""
    if not validated and not tested:
        yield "Nothing is scored: no image is labeled for validation or test; divide the images with ssmtl data split."
    if not validated:
        yield "No image is labeled for validation: the last weights are kept."
    for kind in own.unlearned:
        yield f"The column '{kind}' is not learned: no training image has it, only images for validation or test."


def without_flips(views: Views) -> Views:
    """Return views that mirror nothing."""
    weak, strong = (
        policy.replace(always=tuple(op for op in policy.always if op.kind != "HorizontalFlip"))
        for policy in (views.weak, views.strong)
    )
    return Views(weak=weak, strong=strong)
