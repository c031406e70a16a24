"""What isn't labeled, or is ignored, has no influence: most rows of a batch lack most labels."""

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ssmtl.checks.bench import (
    OBLONG,
    SIZE,
    Tree,
    as_leaves,
    bench,
    close,
    floating,
    gradients,
    no_maps,
    prediction,
    rows_of,
    shaken,
    take,
)
from ssmtl.checks.suite import check, require
from ssmtl.task import Task
from ssmtl.views.geometry import Geometry

EXACT = 1e-4
LABELED, MISSING = [0, 2, 4], [1, 3]


def no_weight(task: Task) -> str:
    """Return why checks of weights don't apply, or ""."""
    return "" if hasattr(bench(task, rows=1).target, "weight") else "its targets have no field `weight`"


@check()
def check_missing_labels_cost_nothing(task: Task) -> None:
    """A batch without any label has loss 0, counts nothing, and pushes nowhere."""
    pred = as_leaves(prediction(task)[0])
    target = task.collate([None] * rows_of(pred), SIZE)
    loss = task.supervised_loss(pred, target)
    require((loss.total == 0).all(), f"rows without a label cost {loss.total.tolist()}; multiply by their weight, 0.")
    require((loss.count == 0).all(), f"rows without a label count {loss.count.tolist()}; count what has a weight.")
    slopes = gradients(loss, floating(pred))
    require(
        all((slope == 0).all() for slope in slopes),
        "rows without a label have a gradient that isn't 0 (0 times infinity is NaN); weigh before dividing.",
    )


@check()
def check_missing_labels_change_nothing(task: Task) -> None:
    """Labeled rows cost what they cost without unlabeled ones beside them, whatever is predicted there."""
    found = shaken(task)
    pred = as_leaves(found.predict())
    some = [None if row in MISSING else target for row, target in enumerate(found.targets)]
    target = task.collate(some, SIZE)
    mixed = task.supervised_loss(pred, target)
    whole = task.supervised_loss(pred, found.target)
    swapped = task.supervised_loss(take(pred, torch.tensor([0, 3, 2, 1, 4])), target)
    for other in (whole, swapped):
        same = close(mixed.total[LABELED], other.total[LABELED], EXACT)
        require(
            same and torch.equal(mixed.count[LABELED], other.count[LABELED]),
            "a labeled row costs something else when other rows lack their label; reduce within rows only.",
        )
    require((mixed.total[MISSING] == 0).all(), "an unlabeled row among labeled ones costs something; weigh it with 0.")
    slopes = gradients(mixed, floating(pred))
    require(all((slope[MISSING] == 0).all() for slope in slopes), "the loss of labeled rows pushes the unlabeled ones.")


@check(unless=no_weight)
def check_weights_lie_between_0_and_1(task: Task) -> None:
    """Labels weigh 0 to 1: 1 where somebody labeled, 0 where nobody did."""
    found = bench(task)
    weights: list[Tensor] = [found.target.weight, task.collate([None, None], SIZE).weight]
    require(
        all(((weight >= 0) & (weight <= 1)).all() for weight in weights),
        "targets have weights outside of [0, 1]; leave coefficients to the recipe's objectives.",
    )
    require(weights[0].sum() > 0, "labeled rows have weight 0; give them 1.")
    require(weights[1].sum() == 0, "rows without a label have a weight; give them 0.")


@check(unless=no_maps)
def check_ignored_pixels_change_nothing(task: Task) -> None:
    """What stands at pixels that aren't valid, or were erased, has no influence on the loss."""
    pred, target = prediction(task, size=OBLONG)
    other = bench(task, size=OBLONG, seed=1).target
    left = torch.zeros(OBLONG, dtype=torch.bool)
    left[:, : OBLONG[1] // 2] = True
    changed = tree_map(lambda a, b: _where(left, a, b), target, other)
    rows = rows_of(pred)
    kept = left.expand(rows, -1, -1)
    identity = torch.eye(3, dtype=torch.float64).expand(rows, -1, -1)
    hidden = {
        "valid": Geometry(identity, OBLONG, valid=kept),
        "erased": Geometry(identity, OBLONG, erased=~kept),
    }
    for name, geometry in hidden.items():
        one, two = (task.supervised_loss(pred, task.warp(each, geometry)) for each in (target, changed))
        require(
            close(one.total, two.total, EXACT) and torch.equal(one.count, two.count),
            f"targets at pixels that geometry.{name} rules out change the loss; give them weight 0 in `warp`, as "
            "ssmtl.views.moving does, and weigh them in the loss.",
        )


@check(unless=no_maps)
def check_only_ignored_pixels_cost_nothing(task: Task) -> None:
    """Rows of nothing but ignored pixels have loss 0 and count nothing, with a finite gradient."""
    pred, target = prediction(task, size=OBLONG)
    pred = as_leaves(pred)
    rows = rows_of(pred)
    nowhere = torch.zeros(rows, *OBLONG, dtype=torch.bool)
    identity = torch.eye(3, dtype=torch.float64).expand(rows, -1, -1)
    loss = task.supervised_loss(pred, task.warp(target, Geometry(identity, OBLONG, valid=nowhere)))
    require(
        (loss.total == 0).all() and (loss.count == 0).all(),
        f"rows without a valid pixel cost {loss.total.tolist()} and count {loss.count.tolist()}; both should be 0.",
    )
    require(
        all((slope == 0).all() for slope in gradients(loss, floating(pred))),
        "rows without a valid pixel have a gradient that isn't 0; guard the division by their count.",
    )


def _where(mask: Tensor, one: Tree, other: Tree) -> Tensor:
    """Return one map at masked pixels and another at the rest; maps are [n, h, w, ...] or [n, ..., h, w]."""
    if one.shape[1:3] == mask.shape:
        mask = mask.view(*mask.shape, *[1] * (one.ndim - 3))
    return torch.where(mask, one, other)
