"""The abilities of predictions that are probabilities: comparing them, mixing them, and telling how sure they are."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ssmtl.checks.bench import alike, as_leaves, check_parts, close, mean, prediction, rows_of, take
from ssmtl.checks.suite import check, lacks, require
from ssmtl.task import Audited, Confident, Distributions, Loss, Mixable, PseudoLabels, Summarized, Task

EXACT = 1e-4


@check(unless=lacks(Confident))
def check_confidence_is_a_probability(task: Task) -> None:
    """Each row has one confidence in [0, 1], detached."""
    assert isinstance(task, Confident)
    pred, _ = prediction(task)
    sure = task.confidence(pred)
    rows = rows_of(pred)
    require(sure.shape == (rows,), f"confidence has the shape {list(sure.shape)} for {rows} rows; one number per row.")
    require(((sure >= 0) & (sure <= 1)).all(), f"confidence is {sure.tolist()}; return probabilities.")
    require(not sure.requires_grad, "confidence has a gradient; detach the prediction.")
    alone = task.confidence(take(pred, slice(1, 2)))
    require(
        close(alone, sure[1:2], EXACT), "confidence of a row is another one when rows are beside it; reduce within."
    )


@check(unless=lacks(Summarized, PseudoLabels))
def check_summary_has_known_names(task: Task) -> None:
    """What is summed up of pseudo-labels has names that the report knows, and shares in [0, 1] where they say so."""
    assert isinstance(task, Summarized) and isinstance(task, PseudoLabels)  # noqa: PT018  # both for types
    pred, _ = prediction(task)
    found = task.summarize(pred, task.pseudo_label(pred, 0.7))
    for name, ratio in found.items():
        share = name in ("coverage", "confidence", "precision") or name.startswith("confidence_to_")
        require(share or name.startswith("pseudo_"), f"summarize names '{name}'; begin other names with 'pseudo_'.")
        check_parts(ratio, rows_of(pred), f"summarize's '{name}'")
        require(not ratio.total.requires_grad, f"summarize's '{name}' has a gradient; detach the prediction.")
        require(not share or 0 <= mean(ratio) <= 1 + EXACT, f"summarize's '{name}' isn't a share in [0, 1].")
    require(set(found) == set(task.summarize(pred, task.pseudo_label(pred, 1.0))), "summarize's names vary.")


@check(unless=lacks(Distributions))
def check_distributions_are_distances(task: Task) -> None:
    """A prediction is at no distance from itself, and at some from another; all have a finite part per row."""
    assert isinstance(task, Distributions)
    pred, _ = prediction(task)
    other = take(pred, torch.arange(rows_of(pred)).roll(1))
    soft = task.soft_target(pred)
    require(not any(leaf.requires_grad for leaf in tree_leaves(soft)), "soft_target has a gradient; detach it.")
    losses: dict[str, Callable[[object], Loss]] = {
        "squared_error": lambda of: task.squared_error(of, soft),
        "kl": lambda of: task.kl(pred, of),
    }
    for name, loss in losses.items():
        same, apart = loss(pred), loss(other)
        for one in (same, apart):
            check_parts(one, rows_of(pred), name)
        require(close(same.total, torch.zeros_like(same.total), EXACT), f"{name} of a prediction with itself isn't 0.")
        require((apart.total >= -EXACT).all() and mean(apart) > mean(same), f"{name} of two predictions isn't above 0.")
    entropy = task.entropy(pred)
    check_parts(entropy, rows_of(pred), "entropy")
    require((entropy.total >= -EXACT).all(), "entropy is below 0; it is -sum p log p, in nats.")


@check(unless=lacks(Mixable))
def check_mixable_labels_are_probabilities(task: Task) -> None:
    """Probabilities and labels sum to 1 in each row, and go to predictions and back."""
    assert isinstance(task, Mixable)
    pred, target = prediction(task)
    p = task.probabilities(pred)
    for name, rows in (("probabilities", p), ("one_hot", task.one_hot(target))):
        whole = rows.ndim == 2 and close(rows.sum(dim=1), torch.ones(len(rows)), EXACT)
        require(whole and (rows >= 0).all(), f"{name} isn't one distribution [n, k] per row.")
    back = task.probabilities(task.from_probabilities(p))
    require(close(p, back, EXACT), "from_probabilities and back gives other probabilities.")
    require(close(task.scores(pred).softmax(dim=1), p, EXACT), "the softmax of scores isn't probabilities.")


@check(unless=lacks(Mixable))
def check_soft_losses_are_least_at_the_label(task: Task) -> None:
    """Losses against distributions are least where the prediction is the distribution."""
    assert isinstance(task, Mixable)
    pred, _ = prediction(task)
    pred = as_leaves(pred)
    p: Float[Tensor, "n k"] = task.probabilities(pred).detach()
    mixed = task.from_probabilities(0.5 * p + 0.5 * p.roll(1, dims=0))
    for name, loss in (("soft_loss", task.soft_loss), ("soft_squared_error", task.soft_squared_error)):
        right, wrong = loss(pred, p), loss(mixed, p)
        for one in (right, wrong):
            check_parts(one, len(p), name)
        require(mean(right) < mean(wrong), f"{name} isn't least where the prediction is the label.")


@check(unless=lacks(Audited))
def check_audit_of_the_truth_is_perfect(task: Task) -> None:
    """Targets held against themselves are right wherever they are trusted, and none of them is foreign."""
    assert isinstance(task, Audited)
    _, target = prediction(task)
    precision = task.audit(target, target)["precision"]
    check_parts(precision, len(precision.total), "audit's precision")
    require(precision.count.sum() > 0, "audit counts nothing although all is trusted and known.")
    require(close(precision.total, precision.count, EXACT), "audit finds mistakes in the labels themselves.")
    if hasattr(target, "weight"):
        doubted = task.audit(target._replace(weight=torch.zeros_like(target.weight)), target)["precision"]
        require(not doubted.count.any(), "audit counts pseudo-labels that aren't trusted; leave out those of weight 0.")
    wrong = task.audit(take(target, torch.arange(len(precision.total)).roll(1)), target)["precision"]
    require(wrong.total.sum() < precision.total.sum(), "audit finds no mistake in the labels of other rows.")
    foreign = task.foreign(target)
    require((foreign.total == 0).all() and foreign.count.sum() > 0, "foreign marks rows with a class that is known.")
    hidden = task.collate([None] * len(precision.total), (32, 32))
    require(not task.foreign(hidden).count.any(), "foreign counts rows without a hidden label.")
    require(alike(task.audit(target, hidden)["precision"].count, torch.zeros(len(foreign.total))), "audit counts them.")
