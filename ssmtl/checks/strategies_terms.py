"""The terms of a strategy: the same names at every step, finite ratios, and each with something to teach."""

import re
from dataclasses import replace

import torch

from ssmtl.checks.scene import (
    Tried,
    all_rows,
    announced,
    mean,
    remembered,
    several_scenes,
    tasks_for,
    tensors_of,
    tried,
    unless,
    usual,
)
from ssmtl.checks.suite import check, require
from ssmtl.checks.toy_network import network_of
from ssmtl.strategies.base import Strategy
from ssmtl.task import NAME, Loss


@check(unless=unless())
def check_reads_what_it_announces(strategy: Strategy) -> None:
    """It reads every prediction and image that it announces, and no other."""
    for task in tasks_for(strategy):
        for scene in all_rows(task):
            step = remembered(strategy, scene).step
            extra, known = set(step.asked) - strategy.needs(), announced(strategy)
            require(not extra, f"it reads {sorted(extra)}, which needs() doesn't announce; add what it reads.")
            unread = strategy.needs() - set(step.asked)
            require(
                not unread, f"it announces {sorted(unread)} and doesn't read them always; take them out of needs()."
            )
            unseen = set(step.looked) - known
            require(not unseen, f"it reads the images {sorted(unseen)}, which looks() doesn't announce; add them.")
            unread_images = strategy.looks() - set(step.looked)
            require(not unread_images, f"it announces {sorted(unread_images)} and doesn't read them; shorten looks().")


@check(unless=unless())
def check_terms_are_ratios(strategy: Strategy) -> None:
    """A term is a Loss whose total and count have one part per row, finite, and connected also without rows."""
    for one in _everywhere(strategy):
        for name, loss in one.terms.items():
            where = _where(one, name)
            require(isinstance(loss, Loss), f"{where} is a {type(loss).__name__}; return ssmtl.task.Loss.")
            total, count = loss.total, loss.count
            good = total.ndim == 1 and total.shape == count.shape
            require(good, f"{where} has a total {list(total.shape)} and a count {list(count.shape)}; make both [n].")
            finite = bool(torch.isfinite(total).all() and torch.isfinite(count).all())
            require(finite, f"{where} is not finite; mind log(0), and means over no rows.")
            require(bool((count >= 0).all()), f"{where} has a negative count; count the rows or places that take part.")
            require(
                loss.floor > 0 or bool((total[count == 0] == 0).all()),
                f"{where} has rows that cost something and count nothing; count what takes part, or set `floor`.",
            )
            require(
                total.requires_grad,
                f"{where} hangs on no prediction; keep it connected also without rows, as processes wait for each "
                "other's gradients.",
            )


@check(unless=unless())
def check_counts_carry_no_gradient(strategy: Strategy) -> None:
    """What a term is divided by is no way for gradients."""
    for one in _everywhere(strategy):
        for name, loss in one.terms.items():
            require(not loss.count.requires_grad, f"{_where(one, name)} has a count with a gradient; detach it.")


@check(unless=unless())
def check_names_never_change(strategy: Strategy) -> None:
    """Terms, logged values and passes are the same at every step, for any rows: processes reduce them together."""
    for task in tasks_for(strategy):
        found = [remembered(strategy, scene) for scene in (*all_rows(task), *several_scenes(task))]
        for one in found[1:]:
            for what, first, now in (
                ("returns the terms", list(found[0].terms), list(one.terms)),
                ("logs", sorted(found[0].step.logs), sorted(one.step.logs)),
                ("calls predict with", [p[1:] for p in found[0].step.predicted], [p[1:] for p in one.step.predicted]),
            ):
                require(
                    first == now,
                    f"it {what} {first} at one step and {now} at another ({_rows(one)}); make it the same always, with "
                    "an empty Loss where there is nothing.",
                )


@check(unless=unless())
def check_names_are_usable(strategy: Strategy) -> None:
    """Terms have plain names, `unscaled` names some of them, and no logged value is called like a term."""
    for task in tasks_for(strategy):
        one = remembered(strategy, usual(task))
        require(one.terms, "losses() returned no term; return at least one.")
        for name in (*one.terms, *one.step.logs):
            require(re.match(NAME, name), f"'{name}' is no plain name; use letters, digits and underscores.")
        for name in sorted(strategy.unscaled - set(one.terms)):
            require(False, f"`unscaled` names '{name}', but the terms are {sorted(one.terms)}; correct it.")
        for name in sorted(set(one.terms) & set(one.step.logs)):
            require(False, f"it logs '{name}', which is also a term and would be overwritten; give it another name.")


@check(unless=unless())
def check_every_term_teaches(strategy: Strategy) -> None:
    """Each term has a gradient in some batch."""
    for task in tasks_for(strategy):
        found = [remembered(strategy, scene) for scene in several_scenes(task)]
        for name in found[0].terms:
            taught = any(max(one.gradients([name]).values()) > 0 for one in found)
            require(taught, f"'{name}' has no gradient in any batch that was tried on {task.kind}; it teaches nothing.")


@check(unless=unless())
def check_every_gradient_is_used(strategy: Strategy) -> None:
    """A prediction that was asked for with a gradient gets one in some batch: else its tape is for nothing."""
    for task in tasks_for(strategy):
        found = [remembered(strategy, scene) for scene in several_scenes(task)]
        for need in sorted(need for need in strategy.needs() if need.grad and need.model == "student"):
            used = any(one.gradients(list(one.terms)).get(need, 0.0) > 0 for one in found)
            require(used, f"{need} never gets a gradient; ask for it with grad=False, which saves its memory.")


@check(unless=unless())
def check_reports_carry_no_gradient(strategy: Strategy) -> None:
    """Logged values and pseudo-labels hold on to no graph."""
    for one in _everywhere(strategy):
        for name, loss in one.step.logs.items():
            held = loss.total.requires_grad or loss.count.requires_grad
            require(not held, f"it logs '{name}' with a gradient; detach it, or the graph lives on.")
        for view, rows, target in one.step.audited:
            held = any(leaf.requires_grad for leaf in tensors_of(target))
            require(not held, f"the pseudo-labels of {rows} rows of the {view} view have a gradient; detach them.")


@check(unless=unless())
def check_same_step_same_terms(strategy: Strategy) -> None:
    """The same batch at the same step gives the same terms, whatever came before."""
    for task in tasks_for(strategy):
        found = [tried(strategy, usual(task)).terms for _ in range(2)]
        values = [{name: mean(loss).item() for name, loss in terms.items()} for terms in found]
        require(
            values[0] == values[1],
            f"the same step gave {values[0]} and then {values[1]}; draw from step.random() and step.noise(), and keep "
            "nothing.",
        )


@check(unless=unless())
def check_writes_into_nothing(strategy: Strategy) -> None:
    """Predictions, images and the network are as before."""
    for task in tasks_for(strategy):
        scene = usual(task)
        before = [parameter.detach().clone() for parameter in network_of(task, "student").parameters()]
        one = tried(strategy, scene)
        for need, pred in one.step.predictions.items():
            same = all(
                torch.equal(a, b) for a, b in zip(tensors_of(pred), tensors_of(scene.predict(need)), strict=True)
            )
            require(same, f"it changed the prediction of {need} in place, which others read too; make a new tensor.")
            idle = all(leaf.grad is None for leaf in tensors_of(pred))
            require(idle, "it ran backward by itself; return losses, and leave training to the step.")
        for look, images in one.step.given_images.items():
            same = torch.equal(images, scene.images(look.view, look.rows))
            require(same, f"it changed the images of {look} in place, which others read too; make a new tensor.")
        after = list(network_of(task, "student").parameters())
        same = all(torch.equal(a, b) and b.grad is None for a, b in zip(before, after, strict=True))
        require(same, "it changed the network's weights or their .grad; return losses, and leave training to the step.")


def _everywhere(strategy: Strategy) -> list[Tried]:
    scenes = [scene for task in tasks_for(strategy) for scene in (*all_rows(task), *several_scenes(task))]
    scenes += [replace(scene, sharpness=100.0) for scene in scenes[:1]]
    return [remembered(strategy, scene) for scene in scenes]


def _rows(one: Tried) -> str:
    scene = one.scene
    return f"{scene.task.kind}, {scene.labeled} labeled and {scene.unlabeled} unlabeled rows, step {scene.number}"


def _where(one: Tried, name: str) -> str:
    return f"the term '{name}' ({_rows(one)})"
