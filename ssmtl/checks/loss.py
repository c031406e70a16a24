"""The supervised loss: parts per row, gradients where weights are, and something to learn."""

from collections.abc import Callable

import torch

from ssmtl.checks.bench import SIZE, alike, bench, check_parts, copied, mean, prediction, rows_of
from ssmtl.checks.suite import Broken, check, lacks, require
from ssmtl.task import PseudoLabels, Reversible, Task
from ssmtl.views.geometry import Geometry

STEPS, RATES, FALL = 30, (1e-2, 2e-3, 3e-4), 0.7
"""A head and a small encoder learn one batch in so many steps of Adam, at one of the rates, down to this share."""


@check()
def check_loss_has_a_part_per_row(task: Task) -> None:
    """`total` and `count` hold one finite number per row; only the former has a gradient."""
    pred, target = prediction(task)
    rows = rows_of(pred)
    loss = task.supervised_loss(pred, target)
    check_parts(loss, rows, "the supervised loss")
    require(loss.total.requires_grad, "the supervised loss has no gradient; compute it from the prediction.")
    require(loss.count.sum() > 0, "the supervised loss counts nothing although all rows are labeled; count them.")


@check()
def check_gradient_reaches_the_head(task: Task) -> None:
    """Every weight of the head has a gradient, labeled rows or not, as training in several processes needs."""
    found = bench(task)
    found.head.train()
    weights = {name: weight for name, weight in found.head.named_parameters() if weight.requires_grad}
    require(weights, "the head has no weight to learn; build a module with parameters.")
    for target in (found.target, task.collate([None] * len(found.targets), SIZE)):
        loss = task.supervised_loss(found.predict(), target)
        if not loss.total.requires_grad:
            raise Broken("the loss has no gradient; compute `total` from the prediction, also of unlabeled rows.")
        slopes = torch.autograd.grad(loss.total.sum(), list(weights.values()), allow_unused=True)
        unused = [name for name, slope in zip(weights, slopes, strict=True) if slope is None]
        require(
            not unused,
            f"no gradient reaches {', '.join(unused[:3])} of the head; use all that it computes in the loss, or "
            "remove the layer.",
        )


@check()
def check_inputs_are_not_written(task: Task) -> None:
    """Nothing that is computed from predictions and targets changes them."""
    pred, target = (copied(part) for part in prediction(task))
    before = copied((pred, target))
    still = Geometry(torch.eye(3, dtype=torch.float64).expand(rows_of(target), -1, -1), SIZE)

    def unlabeled() -> None:
        if isinstance(task, PseudoLabels):
            task.unsupervised_loss(pred, task.pseudo_label(pred, 0.5))

    uses: dict[str, Callable[[], object]] = {
        "supervised_loss": lambda: task.supervised_loss(pred, target),
        "unsupervised_loss or pseudo_label": unlabeled,
        "warp": lambda: task.warp(target, still),
        "metrics": lambda: task.metrics().update(pred, target),
        "decode": lambda: task.decode(pred, [SIZE] * rows_of(pred)),
    }
    for name, use in uses.items():
        use()
        require(alike((pred, target), before), f"{name} writes into its arguments; work on copies.")


@check()
def check_a_small_network_learns_it(task: Task) -> None:
    """The loss of one fake batch falls within some steps."""
    falls = []
    for rate in RATES:
        falls.append(_learn(task, rate))
        if falls[-1] < FALL:
            return
    raise Broken(
        f"in {STEPS} steps on one batch its loss only fell to {min(falls):.0%} of where it began (expected below "
        f"{FALL:.0%}); make fake images show what their targets say, and check the sign and the detaching of the loss."
    )


def _learn(task: Task, rate: float) -> float:
    """Return the loss after training on one batch, as a share of the first."""
    torch.manual_seed(0)
    found = bench(task, rows=8)
    found.head.train()
    weights = [*found.encoder.parameters(), *found.head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=rate)
    losses: list[float] = []
    for _ in range(STEPS):
        pred = found.predict(found.encoder(found.images.float() / 127.5 - 1))
        loss = mean(task.supervised_loss(pred, found.target))
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if losses[-1] < 0.8 * FALL * losses[0]:
            break
    return min(losses[1:]) / losses[0] if losses[0] > 0 else 1.0


@check(unless=lacks(Reversible))
def check_what_is_right_costs_least(task: Task) -> None:
    """A prediction of the target itself costs next to nothing beside a random one."""
    assert isinstance(task, Reversible)
    pred, target = (copied(part) for part in prediction(task))
    right = float(mean(task.supervised_loss(task.as_prediction(target), target)))
    wrong = float(mean(task.supervised_loss(pred, target)))
    require(
        right < 0.1 * wrong,
        f"what is right costs {right:.4f}, and a random prediction {wrong:.4f}; let as_prediction say the target "
        "surely, or correct the loss.",
    )
