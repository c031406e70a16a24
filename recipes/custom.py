"""Your own data: one model for every column of a manifest, from the labels that are there and all images.

Paper    none; FixMatch (Sohn et al. 2020) for classes, Dense FixMatch (Martí i Rabadán et al. 2022) for masks and boxes
Results  yours: the report of a run; run it with --method supervised too, and compare
Run      ssmtl run custom                                               street phantoms, minutes on two CPU cores
         ssmtl run custom --data photos/manifest.csv --size 224 --out runs/first
Differs  see `deviations`; to change more than the flags do, copy this file: ssmtl new recipe
"""

from pathlib import Path

from ssmtl import AdamW, Cosine, LabelBudget, LinearRamp, Objective, PerTask, Recipe, Source, Split, Teacher, Views
from ssmtl.views.presets import dense_strong, dense_weak
from ssmtl_tasks.own_data import Method, model, own_data, strategy_for, task_for


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
    lam: float = 1.0,
    lr: float = 1e-3,
    flip: bool = True,
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
        lam: Weight of what is learned from unlabeled images; it rises in the first third of the steps.
        lr: Learning rate of AdamW; it falls to zero on a cosine.
        flip: Show images mirrored too; --no-flip where left and right mean something.
        seed: Seed of weights, batches and views.
    """
    own = own_data(data, size)
    tasks = [task_for(kind, classes, size) for kind, classes in own.kinds]
    names = tuple(task.name for task in tasks)
    shown = () if data else (("mask", 20), ("boxes", 30))
    objectives = [
        Objective(
            task,
            strategy_for(task, unlabeled=bool(shown) or own.unlabeled(task.reads), method=method),
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
    views = Views(weak=dense_weak(scale=(0.75, 1.5)), strong=dense_strong(scale=(0.75, 1.5)))
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
        data=str(data.parent) if data else None,
        seed=seed,
        deviations=() if validation else ("No image is labeled for validation: the last weights are kept.",),
    )


def without_flips(views: Views) -> Views:
    """Return views that mirror nothing."""
    weak, strong = (
        policy.replace(always=tuple(op for op in policy.always if op.kind != "HorizontalFlip"))
        for policy in (views.weak, views.strong)
    )
    return Views(weak=weak, strong=strong)
