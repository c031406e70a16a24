"""Rows don't know of each other: in which batch, process or place of it they are doesn't matter."""

import torch

from ssmtl.checks.bench import alike, as_leaves, close, prediction, rows_of, shaken, take
from ssmtl.checks.suite import check, lacks, require
from ssmtl.task import Loss, Prediction, PseudoLabels, Target, Task

EXACT = 1e-3
"""Kernels may sum in another order for another number of rows."""


@check()
def check_head_rows_are_independent(task: Task) -> None:
    """In evaluation, a row is predicted the same alone, among others, and in another place."""
    found = shaken(task)
    features = found.features()
    whole = found.predict(features)
    for row in range(2):
        alone = found.predict([level[row : row + 1] for level in features])
        require(
            alike(take(whole, slice(row, row + 1)), alone, tolerance=EXACT),
            "in evaluation mode the head predicts a row differently when other rows are beside it; use no statistics "
            "of the batch there.",
        )
    backwards = found.predict([level.flip(0) for level in features])
    flipped = take(backwards, torch.arange(rows_of(whole)).flip(0))
    require(alike(whole, flipped, tolerance=EXACT), "the head predicts rows differently in another order.")


@check()
def check_loss_rows_are_independent(task: Task) -> None:
    """The supervised loss of a row is the same alone, among others, and in another place."""
    pred, target = prediction(task)
    _compare(task.supervised_loss(pred, target), pred, target, task, "supervised_loss")


@check(unless=lacks(PseudoLabels))
def check_unsupervised_rows_are_independent(task: Task) -> None:
    """The unsupervised loss of a row is the same alone, among others, and in another place."""
    assert isinstance(task, PseudoLabels)
    pred = as_leaves(prediction(task)[0])
    target = task.pseudo_label(pred, 0.5)
    _compare(task.unsupervised_loss(pred, target), pred, target, task, "unsupervised_loss")


@check(unless=lacks(PseudoLabels))
def check_pseudo_label_rows_are_independent(task: Task) -> None:
    """The pseudo-label of a row is the same alone and among others."""
    assert isinstance(task, PseudoLabels)
    pred, _ = prediction(task)
    for threshold in (0.0, 0.5, 0.7, 0.9, 0.99):
        whole = task.pseudo_label(pred, threshold)
        for row in range(rows_of(pred)):
            one = slice(row, row + 1)
            require(
                alike(take(whole, one), task.pseudo_label(take(pred, one), threshold), tolerance=EXACT),
                "pseudo_label says something else of a row when other rows are beside it; decide for each alone.",
            )


def _compare(whole: Loss, pred: Prediction, target: Target, task: Task, name: str) -> None:
    loss = getattr(task, name)
    for row in range(2):
        one = slice(row, row + 1)
        alone: Loss = loss(take(pred, one), take(target, one))
        require(
            close(whole.total[one], alone.total, EXACT) and close(whole.count[one], alone.count, EXACT),
            f"{name} gives a row {whole.total[row].item():.4f} / {whole.count[row].item():g} in the batch and "
            f"{alone.total.item():.4f} / {alone.count.item():g} alone; reduce within rows only.",
        )
    order = torch.arange(len(whole.total)).flip(0)
    turned: Loss = loss(take(pred, order), take(target, order))
    require(close(whole.total[order], turned.total, EXACT), f"{name} depends on the order of rows.")
