"""Targets move with their image as the task declares: declarations are tried both ways, on maps with exact inverses."""

from typing import TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ssmtl.checks.bench import SIZE, alike, bench, close, has_maps, rows_of, take
from ssmtl.checks.bench import unless_any as either
from ssmtl.checks.suite import check, lacks, require
from ssmtl.task import Bounded, Croppable, Distributions, Reversible, Target, Task
from ssmtl.views.geometry import Geometry, inverse
from ssmtl.views.ops import GEOMETRIC

EXACT = 1e-3
SIDE = SIZE[0]
Matrix: TypeAlias = tuple[tuple[float, ...], ...]
_SHIFT: Matrix = ((1, 0, 3), (0, 1, 5), (0, 0, 1))
_TURN: Matrix = ((0, 1, 0), (-1, 0, SIDE - 1), (0, 0, 1))
_ZOOM: Matrix = ((2, 0, 0.5), (0, 2, 0.5), (0, 0, 1))
WHOLE: dict[str, Matrix] = {
    "HorizontalFlip": ((-1, 0, SIDE - 1), (0, 1, 0), (0, 0, 1)),
    "VerticalFlip": ((1, 0, 0), (0, -1, SIDE - 1), (0, 0, 1)),
    "Rot90": _TURN,
    "Rotate": _TURN,
}
"""A map for each transform that can keep the whole canvas, from pixel centers to pixel centers."""
PARTS: dict[str, Matrix] = {
    "TranslateX": ((1, 0, 3), (0, 1, 0), (0, 0, 1)),
    "TranslateY": ((1, 0, 0), (0, 1, 5), (0, 0, 1)),
    "ShearX": ((1, 1, -SIDE / 2), (0, 1, 0), (0, 0, 1)),
    "ShearY": ((1, 0, 0), (1, 1, -SIDE / 2), (0, 0, 1)),
    "ReflectCrop": _SHIFT,
    "ScaleCrop": _ZOOM,
    "RandomResizedCrop": _ZOOM,
}
"""A map for each of those that lose a part of it, by whole pixels."""
BENT: dict[str, Matrix] = {"Perspective": ((1, 0, 0), (0, 1, 0), (1 / SIDE, 0, 1))}
"""A map that only its third coordinate tells from the identity."""


def geometry(matrix: Matrix, rows: int) -> Geometry:
    """Return a map of all rows onto a canvas of the same size."""
    return Geometry(torch.tensor(matrix, dtype=torch.float64).expand(rows, -1, -1), SIZE)


def _moves(names: tuple[str, ...], *tables: dict[str, Matrix]) -> dict[str, Tensor]:
    maps = {name: matrix for table in tables for name, matrix in table.items()}
    return {name: torch.tensor(maps[name], dtype=torch.float64) for name in names if name in maps}


def _weighs_places(task: Task) -> bool:
    return getattr(bench(task, rows=1).target, "weight", torch.zeros(0)).ndim > 1


def _reversible_maps(task: Task) -> dict[str, Tensor]:
    """Return maps after which what is left of a target can be told from what was lost."""
    return _moves(task.equivariant_to, WHOLE, *([PARTS] if _weighs_places(task) else []))


def _never_moves(task: Task) -> str:
    moves = _moves(task.equivariant_to, WHOLE, PARTS, BENT)
    return "" if moves else "it declares no geometric transform in equivariant_to"


def _never_whole(task: Task) -> str:
    none = "it is equivariant to no flip or turn, whose inverse is exact"
    return "" if _reversible_maps(task) else f"{none}, and its weights don't belong to places"


def _no_flip(task: Task) -> str:
    return "" if _moves(task.equivariant_to, WHOLE) else "it is equivariant to no flip or turn"


def _pairs(task: Task) -> list[tuple[Tensor, Tensor]]:
    """Return maps whose order matters, of which the first loses nothing."""
    whole = _moves(task.equivariant_to, WHOLE)
    shifts = {name: PARTS[name] for name in ("TranslateX", "TranslateY")}
    others = (*whole.values(), *_moves(task.equivariant_to, shifts).values())
    return [(one, two) for one in whole.values() for two in others if not torch.equal(one @ two, two @ one)]


def _no_pair(task: Task) -> str:
    return "" if _pairs(task) else "it is equivariant to no two maps whose order matters, one of them a flip or turn"


def _never_stays(task: Task) -> str:
    return "" if _moves(task.invariant_to, WHOLE, PARTS) else "it declares no geometric transform in invariant_to"


@check()
def check_identity_moves_nothing(task: Task) -> None:
    """A target that is moved nowhere is the same."""
    target = bench(task).target
    moved = task.warp(target, geometry(((1, 0, 0), (0, 1, 0), (0, 0, 1)), rows_of(target)))
    require(alike(target, moved, tolerance=EXACT), "warp by the identity changes a target; keep it as it is.")


@check(unless=_never_moves)
def check_equivariant_targets_move(task: Task) -> None:
    """What equivariant_to names does move targets."""
    target = bench(task).target
    for name, matrix in _moves(task.equivariant_to, WHOLE, PARTS, BENT).items():
        moved = task.warp(target, Geometry(matrix.expand(rows_of(target), -1, -1), SIZE))
        require(
            not alike(target, moved),
            f"it is declared equivariant to {name}, but warp leaves targets where they are; move them by "
            "geometry.matrix, or declare the transform in invariant_to.",
        )


@check(unless=_never_whole)
def check_moved_targets_come_back(task: Task) -> None:
    """Moved by a map and by its inverse, a target is the same wherever it still has a weight."""
    target = bench(task).target
    for name, matrix in _reversible_maps(task).items():
        maps: Float64[Tensor, "n 3 3"] = matrix.expand(rows_of(target), -1, -1)
        there = task.warp(target, Geometry(maps, SIZE))
        back = task.warp(there, Geometry(inverse(maps), SIZE))
        same = alike(target, back, tolerance=EXACT) if name in WHOLE else _same_where_kept(target, back)
        require(
            same,
            f"moved by {name} and back, a target is another one; move it by geometry.matrix, in pixel centers (the "
            "top left pixel is at (0, 0)), and give what left the canvas weight 0.",
        )


@check(unless=_no_pair)
def check_two_moves_are_one(task: Task) -> None:
    """Moved by one map and then another, a target is where their product takes it: not so by inverse matrices."""
    target = bench(task).target
    for first, second in _pairs(task):
        one, two, both = (
            Geometry(matrix.expand(rows_of(target), -1, -1), SIZE) for matrix in (first, second, second @ first)
        )
        require(
            alike(task.warp(task.warp(target, one), two), task.warp(target, both), tolerance=EXACT),
            "moved by two maps, one after the other, a target isn't where their product takes it; geometry.matrix maps "
            "places of the source to places of the view, so what looks up each pixel of the view needs its inverse.",
        )


@check(unless=_never_stays)
def check_invariant_targets_stay(task: Task) -> None:
    """What invariant_to names leaves targets as they are."""
    target = bench(task).target
    for name, matrix in _moves(task.invariant_to, WHOLE, PARTS).items():
        moved = task.warp(target, Geometry(matrix.expand(rows_of(target), -1, -1), SIZE))
        require(
            alike(target, moved),
            f"it is declared invariant to {name}, but warp changes targets; declare it in equivariant_to.",
        )


@check(unless=_never_stays)
def check_invariant_targets_have_no_place(task: Task) -> None:
    """A task whose targets or predictions belong to places is invariant to nothing that moves places."""
    places = has_maps(task) or isinstance(task, Croppable | Bounded)
    names = sorted({*GEOMETRIC} & {*task.invariant_to})
    require(
        not places,
        f"it is declared invariant to {', '.join(names)}, but has predictions or targets at places, which these move; "
        "declare them in equivariant_to, or nowhere.",
    )


@check(unless=either(lacks(Reversible), _no_flip))
def check_loss_moves_with_the_image(task: Task) -> None:
    """Moving the prediction and the target by a flip or turn leaves the loss of each row as it was."""
    assert isinstance(task, Reversible)
    target = bench(task).target
    # Another row's target, a little off: wrong in some places and right in others.
    said = task.warp(take(target, torch.arange(rows_of(target)).roll(1)), geometry(_SHIFT, rows_of(target)))
    before = task.supervised_loss(task.as_prediction(said), target)
    for name, matrix in _moves(task.equivariant_to, WHOLE).items():
        flip = Geometry(matrix.expand(rows_of(target), -1, -1), SIZE)
        after = task.supervised_loss(task.as_prediction(task.warp(said, flip)), task.warp(target, flip))
        require(
            close(before.total, after.total, EXACT),
            f"{name} of both prediction and target changes the loss from {before.total.tolist()} to "
            f"{after.total.tolist()}; a loss must not depend on the place in the image, or {name} not be declared.",
        )


@check(unless=lacks(Distributions))
def check_soft_targets_move_like_targets(task: Task) -> None:
    """Soft targets stay by the identity, and by what the task is invariant to."""
    assert isinstance(task, Distributions)
    found = bench(task)
    soft = task.soft_target(found.predict())
    rows = rows_of(soft)
    stay = {"the identity": torch.eye(3, dtype=torch.float64), **_moves(task.invariant_to, WHOLE, PARTS)}
    for name, matrix in stay.items():
        moved = task.warp_soft(soft, Geometry(matrix.expand(rows, -1, -1), SIZE))
        require(alike(soft, moved, tolerance=EXACT), f"warp_soft changes soft targets by {name}; leave them.")
    for name, matrix in _moves(task.equivariant_to, WHOLE).items():
        maps = matrix.expand(rows, -1, -1)
        back = task.warp_soft(task.warp_soft(soft, Geometry(maps, SIZE)), Geometry(inverse(maps), SIZE))
        require(alike(soft, back, tolerance=EXACT), f"soft targets don't come back after {name} and its inverse.")
    for first, second in _pairs(task):
        one, two, both = (Geometry(matrix.expand(rows, -1, -1), SIZE) for matrix in (first, second, second @ first))
        twice, once = task.warp_soft(task.warp_soft(soft, one), two), task.warp_soft(soft, both)
        require(
            alike(twice, once, tolerance=EXACT),
            "warp_soft by two maps, one after the other, isn't warp_soft by their product; geometry.matrix maps places "
            "of the source to places of the view.",
        )


def _same_where_kept(before: Target, after: Target) -> bool:
    """Tell whether two targets agree at the places that have a weight in the second."""
    kept = after.weight > 0
    if not kept.any():
        return False
    spread = tree_map(lambda leaf: _spread(kept, leaf), before)
    return all(
        torch.allclose(one[where].double(), two[where].double(), rtol=EXACT, atol=EXACT)
        for one, two, where in zip(*(tree_leaves(tree) for tree in (before, after, spread)), strict=True)
    )


def _spread(kept: Tensor, leaf: Tensor) -> Tensor:
    """Return a mask of places for a tensor that has more dimensions behind them, or between rows and them.

    Of a tensor that knows rows only, such as sizes, it is those with a place.
    """
    if leaf.shape[: kept.ndim] == kept.shape:
        return kept.view(*kept.shape, *[1] * (leaf.ndim - kept.ndim)).expand_as(leaf)
    if leaf.ndim > kept.ndim:
        return kept.unsqueeze(1).expand_as(leaf)
    return kept.flatten(1).any(dim=1).view(-1, *[1] * (leaf.ndim - 1)).expand_as(leaf)
