"""Every loss that a task offers teaches something: some batch gives it a gradient that isn't 0.

A softmax over one channel is the constant 1, and a loss of it a constant too: such terms look fine in every log.
"""

from ssmtl.checks.bench import as_leaves, floating, gradients, prediction
from ssmtl.checks.suite import check, lacks, require
from ssmtl.task import Distributions, Loss, Matchable, Mixable, Prediction, PseudoLabels, Task


@check()
def check_supervised_loss_teaches(task: Task) -> None:
    """The supervised loss has a gradient that isn't 0."""
    pred, target = prediction(task)
    pred = as_leaves(pred)
    _teaches(task.supervised_loss(pred, target), pred, "supervised_loss")


@check(unless=lacks(PseudoLabels))
def check_unsupervised_loss_teaches(task: Task) -> None:
    """The unsupervised loss against pseudo-labels has a gradient that isn't 0."""
    assert isinstance(task, PseudoLabels)
    # Of another prediction: what a regression says of its own has no error, and no gradient.
    pred, other = (as_leaves(prediction(task)[0]) for _ in range(2))
    _teaches(task.unsupervised_loss(pred, task.pseudo_label(other, 0.0)), pred, "unsupervised_loss")


@check(unless=lacks(Distributions))
def check_distribution_losses_teach(task: Task) -> None:
    """Squared error, KL and entropy have gradients that aren't 0; KL's flows into both sides."""
    assert isinstance(task, Distributions)
    pred, other = (as_leaves(prediction(task)[0]) for _ in range(2))
    _teaches(task.squared_error(pred, task.soft_target(other)), pred, "squared_error")
    _teaches(task.kl(pred, other), pred, "kl")
    _teaches(task.kl(pred, other), other, "kl, into its second argument,")
    _teaches(task.entropy(pred), pred, "entropy")


@check(unless=lacks(Mixable))
def check_soft_losses_teach(task: Task) -> None:
    """The losses against mixed labels have gradients that aren't 0."""
    assert isinstance(task, Mixable)
    pred, other = (as_leaves(prediction(task)[0]) for _ in range(2))
    soft = task.probabilities(other).detach()
    _teaches(task.soft_loss(pred, soft), pred, "soft_loss")
    _teaches(task.soft_squared_error(pred, soft), pred, "soft_squared_error")


@check(unless=lacks(Matchable))
def check_some_divergence_teaches(task: Task) -> None:
    """At least one form of the divergence has a gradient that isn't 0, which detaching the target keeps out of it."""
    assert isinstance(task, Matchable)
    forms = tuple(getattr(task, "divergence_forms", ()))
    require(forms, "it names no `divergence_forms`; list those that `divergence` knows.")
    found = []
    for form in forms:
        labeled, unlabeled = (as_leaves(prediction(task)[0]) for _ in range(2))
        loss = task.divergence(labeled, unlabeled, form=form, detach_target=True)
        found.append(any(slope.any() for slope in gradients(loss, floating(unlabeled))))
        if found[-1]:
            pushed = any(slope.any() for slope in gradients(loss, floating(labeled)))
            require(not pushed, f"divergence of the form '{form}' pushes the target, although it is detached.")
    require(any(found), f"divergence has no gradient in any of its forms {forms}.")


def _teaches(loss: Loss, pred: Prediction, name: str) -> None:
    require(
        any(slope.any() for slope in gradients(loss, floating(pred))),
        f"{name} has the gradient 0 for a random prediction; its value doesn't depend on what is predicted (a softmax "
        "over one channel is always 1).",
    )
