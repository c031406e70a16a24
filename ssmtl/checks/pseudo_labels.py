"""Predictions as targets: detached, weighed by a threshold, and of the type that labels have."""

from itertools import pairwise

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves

from ssmtl.checks.bench import OBLONG, SIZE, as_leaves, check_parts, floating, gradients, no_maps, prediction, rows_of
from ssmtl.checks.bench import unless_any as either
from ssmtl.checks.masking import no_weight
from ssmtl.checks.suite import check, lacks, require
from ssmtl.task import PseudoLabels, Reversible, Task
from ssmtl.views.geometry import Geometry

THRESHOLDS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


@check(unless=lacks(PseudoLabels))
def check_pseudo_labels_are_detached(task: Task) -> None:
    """No gradient flows through a pseudo-label into the prediction that it was made of."""
    assert isinstance(task, PseudoLabels)
    target = task.pseudo_label(prediction(task)[0], 0.5)
    require(
        not any(leaf.requires_grad for leaf in tree_leaves(target)),
        "pseudo_label returns tensors with a gradient; detach the prediction first.",
    )


@check(unless=lacks(PseudoLabels))
def check_pseudo_labels_are_targets(task: Task) -> None:
    """A pseudo-label is of the type that labels are, so that it can be moved and learned from like one."""
    assert isinstance(task, PseudoLabels)
    pred, target = prediction(task)
    pseudo = task.pseudo_label(pred, 0.5)
    (given, form), (wanted, other) = tree_flatten(pseudo), tree_flatten(target)
    require(form == other, f"pseudo_label returns a {type(pseudo).__name__}; return what collate does.")
    for one, two in zip(given, wanted, strict=True):
        same = one.dtype == two.dtype and one.ndim == two.ndim and len(one) == len(two)
        require(
            same,
            f"pseudo_label returns {one.dtype} {list(one.shape)} where labels are {two.dtype} {list(two.shape)}; use "
            "the same dtypes and dimensions.",
        )
    still = Geometry(torch.eye(3, dtype=torch.float64).expand(len(given[0]), -1, -1), SIZE)
    check_parts(task.supervised_loss(pred, task.warp(pseudo, still)), len(given[0]), "the loss of pseudo-labels")


@check(unless=lacks(PseudoLabels))
def check_higher_thresholds_keep_less(task: Task) -> None:
    """Raising the threshold never keeps more, and keeps less in the end; weights lie in [0, 1]."""
    assert isinstance(task, PseudoLabels)
    pred, _ = prediction(task)
    kept, weights = [], []
    for threshold in THRESHOLDS:
        target = task.pseudo_label(pred, threshold)
        weights.append(getattr(target, "weight", torch.ones(1)))
        kept.append(float(task.supervised_loss(pred, target).count.sum()))
    require(
        all(((weight >= 0) & (weight <= 1)).all() for weight in weights),
        "pseudo-labels have weights outside of [0, 1]; give 1 to what is trusted and 0 to the rest.",
    )
    rising = any(a < b for a, b in pairwise(kept))
    grown = any((a < b).any() for a, b in pairwise(weights))
    require(
        not rising and not grown,
        f"thresholds {THRESHOLDS} keep {kept} parts: a higher one keeps more somewhere; keep what is at least as "
        "probable as the threshold.",
    )
    require(kept[0] > kept[-1], f"thresholds from 0 to 1 all keep {kept[0]:g} parts; compare the threshold with p.")


@check(unless=lacks(PseudoLabels))
def check_unsupervised_loss_has_a_part_per_row(task: Task) -> None:
    """The unsupervised loss has finite parts per row, also where nothing is trusted, and its gradient is finite."""
    assert isinstance(task, PseudoLabels)
    pred = as_leaves(prediction(task)[0])
    for threshold in (0.0, 0.7, 1.0):
        loss = task.unsupervised_loss(pred, task.pseudo_label(pred, threshold))
        check_parts(loss, rows_of(pred), "the unsupervised loss")
        slopes = gradients(loss, floating(pred))
        require(all(slope.isfinite().all() for slope in slopes), "the unsupervised loss has gradients that are NaN.")


@check(unless=either(lacks(PseudoLabels), no_weight))
def check_untrusted_pseudo_labels_teach_nothing(task: Task) -> None:
    """Pseudo-labels of weight 0 cost nothing and push nowhere, but are counted, unless positives are (`floor`)."""
    assert isinstance(task, PseudoLabels)
    pred = as_leaves(prediction(task)[0])
    trusted = task.pseudo_label(as_leaves(prediction(task)[0]), 0.0)
    before = task.unsupervised_loss(pred, trusted)
    loss = task.unsupervised_loss(pred, trusted._replace(weight=torch.zeros_like(trusted.weight)))
    still = all((slope == 0).all() for slope in gradients(loss, floating(pred)))
    require(
        (loss.total == 0).all() and still,
        f"pseudo-labels of weight 0 cost {loss.total.tolist()} or have a gradient; multiply by the target's weight.",
    )
    require(
        loss.floor > 0 or torch.equal(loss.count, before.count),
        f"the unsupervised loss counts {loss.count.tolist()} where nothing is trusted, and {before.count.tolist()} "
        "where all is; count every valid part, or a few sure ones weigh like many.",
    )


@check(unless=either(lacks(PseudoLabels), no_maps))
def check_ignored_pixels_stay_ignored(task: Task) -> None:
    """Pseudo-labels of pixels that aren't valid neither cost nor count, however sure they are."""
    assert isinstance(task, PseudoLabels)
    pred, _ = prediction(task, size=OBLONG)
    rows = rows_of(pred)
    nowhere = torch.zeros(rows, *OBLONG, dtype=torch.bool)
    geometry = Geometry(torch.eye(3, dtype=torch.float64).expand(rows, -1, -1), OBLONG, valid=nowhere)
    loss = task.unsupervised_loss(pred, task.warp(task.pseudo_label(pred, 0.0), geometry))
    require(
        (loss.total == 0).all() and (loss.count == 0).all(),
        f"pseudo-labels without a valid pixel cost {loss.total.tolist()} and count {loss.count.tolist()}; ignored "
        "pixels must do neither.",
    )


@check(unless=either(lacks(PseudoLabels), lacks(Reversible)))
def check_pseudo_labels_say_what_was_predicted(task: Task) -> None:
    """What is surely predicted of a target becomes a pseudo-label that scores like the target itself."""
    assert isinstance(task, PseudoLabels) and isinstance(task, Reversible)  # noqa: PT018  # both for types
    _, target = prediction(task)
    pred = task.as_prediction(target)
    scores: list[Tensor] = []
    for reference in (target, task.pseudo_label(pred, 0.5)):
        metrics = task.metrics()
        metrics.update(pred, reference)
        scores.append(metrics.compute()[task.headline])
    require(
        scores[1] >= scores[0] - 1e-4,
        f"against its own pseudo-labels a sure prediction scores {float(scores[1]):.4f} instead of "
        f"{float(scores[0]):.4f}; make pseudo_label say what the prediction says.",
    )
