"""What a task declares, makes and returns has the form that its contract says."""

import re

import torch
from torch import Tensor
from torch.utils._pytree import tree_structure

from ssmtl.checks.bench import OBLONG, ROWS, SIZE, alike, bench, is_map, leaves, no_maps, take
from ssmtl.checks.suite import Broken, check, lacks, require
from ssmtl.errors import RecipeError
from ssmtl.task import NAME, Classified, PseudoLabels, Task
from ssmtl.views.declared import check_names
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import PHOTOMETRIC


@check()
def check_declarations_make_sense(task: Task) -> None:
    """What it is invariant and equivariant to, and what it reads, are things that exist."""
    try:
        check_names(task, ())
    except RecipeError as error:
        raise Broken(str(error)) from None
    still = sorted({*PHOTOMETRIC} & {*task.equivariant_to})
    require(not still, f"equivariant_to names {', '.join(still)}, which move nothing; name them in invariant_to.")
    require(
        isinstance(task.annotation, str) and re.match(NAME, task.annotation),
        f"its annotation is {task.annotation!r}; give the word for what is annotated, such as 'mask'.",
    )


@check(unless=lacks(Classified, because="it tells no classes apart"))
def check_classes_have_names(task: Task) -> None:
    """Classes are named, each by a name of its own."""
    assert isinstance(task, Classified)
    names = task.classes
    require(
        isinstance(names, tuple) and names and all(isinstance(name, str) and name.strip() for name in names),
        f"its classes are {names!r}; return a tuple of names.",
    )
    require(len({name.casefold() for name in names}) == len(names), f"its classes name one twice: {names}.")


@check()
def check_fake_batch_is_what_was_asked_for(task: Task) -> None:
    """Fake images are uint8 [n, c, h, w] of any size and number of channels, with a target each; also none at all."""
    for n, channels, size in ((3, 1, OBLONG), (2, 3, SIZE), (0, 3, SIZE)):
        images, targets = task.fake_batch(n, 0, channels=channels, size=size)
        wanted = (n, channels, *size)
        require(
            isinstance(images, Tensor) and images.dtype == torch.uint8 and images.shape == wanted,
            f"fake_batch returns images of {getattr(images, 'dtype', None)} {list(getattr(images, 'shape', ()))}; "
            f"expected torch.uint8 {list(wanted)}: use n, channels and size.",
        )
        require(len(targets) == n, f"fake_batch returns {len(targets)} targets for n={n}; return a list of one each.")


@check()
def check_fake_batch_is_deterministic(task: Task) -> None:
    """One seed makes one batch, another seed another."""
    torch.manual_seed(1)
    first = task.fake_batch(3, 3)
    torch.manual_seed(2)
    require(alike(first, task.fake_batch(3, 3)), "fake_batch differs for one seed; draw from the seed alone.")
    require(not torch.equal(first[0], task.fake_batch(3, 4)[0]), "fake_batch makes the same images for every seed.")


@check()
def check_collate_stacks_rows(task: Task) -> None:
    """Every tensor of a batch of targets has a row per sample, of one form and type, labeled or not."""
    found = bench(task)
    mixed = [found.targets[0], None, *found.targets[1:3]]
    whole = task.collate(found.targets[:3], SIZE)
    for given in (found.targets, mixed, [None, None], []):
        rows = task.collate(given, SIZE)
        for leaf in leaves(rows, "a batch of targets"):
            require(
                leaf.ndim and len(leaf) == len(given),
                f"collate makes {list(leaf.shape)} of {len(given)} targets; the first dimension must count rows.",
            )
        kinds = [leaf.dtype for leaf in leaves(rows, "a batch of targets")]
        require(
            tree_structure(rows) == tree_structure(whole) and kinds == [leaf.dtype for leaf in leaves(whole, "")],
            "collate makes something else of rows without a label, or of none at all; return the same type with the "
            "same dtypes.",
        )


@check(unless=no_maps)
def check_missing_maps_are_of_the_canvas(task: Task) -> None:
    """Rows without a label are maps of the canvas too, of any shape."""
    empty = task.collate([None], OBLONG)
    shapes = [list(leaf.shape) for leaf in leaves(empty, "a batch of targets")]
    require(
        is_map(empty, OBLONG),
        f"collate makes {shapes} of a row without a label on a canvas of {OBLONG} (height, width); use `size`.",
    )


@check()
def check_head_predicts_rows(task: Task) -> None:
    """A prediction has a row per image in every tensor, is finite, and can be had at any size of image."""
    for size in (SIZE, OBLONG):
        found = bench(task, size=size)
        pred = found.predict()
        for leaf in leaves(pred, "a prediction"):
            require(
                leaf.ndim and len(leaf) == ROWS,
                f"the head makes {list(leaf.shape)} of {ROWS} images; the first dimension must count rows.",
            )
            require(leaf.dtype != torch.float64, "the head predicts in float64, which GPUs are slow at; use float32.")
            require(leaf.isfinite().all(), "a fresh head predicts values that aren't finite; initialize its weights.")
        require(
            tree_structure(pred) == tree_structure(found.predict([level[:1] for level in found.features()])),
            "the head returns another type for one row than for several.",
        )


@check()
def check_no_rows_are_fine(task: Task) -> None:
    """Steps without a row of the task work: its losses are empty, and there is no answer."""
    found = bench(task)
    pred, target = take(found.predict(), slice(0, 0)), task.collate([], SIZE)
    still = Geometry(torch.zeros(0, 3, 3, dtype=torch.float64), SIZE)
    losses = [task.supervised_loss(pred, target), task.supervised_loss(pred, task.warp(target, still))]
    if isinstance(task, PseudoLabels):
        losses.append(task.unsupervised_loss(pred, task.pseudo_label(pred, 0.5)))
    for loss in losses:
        require(loss.total.shape == loss.count.shape == (0,), "a loss of no rows has parts; return empty tensors.")
        require(loss.total.requires_grad, "a loss of no rows has no gradient; other processes would wait for it.")
    require(task.decode(pred, []) == [], "decode returns answers for no rows.")
