"""Metrics: best for what is right, the same in any number of batches, and blind for what isn't labeled."""

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.wrappers.abstract import WrapperMetric

from ssmtl.checks.bench import SIZE, close, prediction, rows_of, shaken, take
from ssmtl.checks.suite import check, lacks, require
from ssmtl.task import Reversible, Task

EXACT = 1e-4
BEST = 0.99


@check()
def check_headline_is_a_metric(task: Task) -> None:
    """The metrics contain the headline, in [0, 1]; all of them are single numbers."""
    pred, target = prediction(task)
    values = _score(task, (pred, target))
    require(
        task.headline in values,
        f"its headline '{task.headline}' is none of its metrics ({', '.join(values)}); name one of them.",
    )
    require(0 <= values[task.headline] <= 1, f"its headline is {float(values[task.headline])}; it must lie in [0, 1].")
    for name, value in values.items():
        require(value.numel() == 1, f"the metric '{name}' has {value.numel()} values; give each a name of its own.")
        require("/" not in name, f"the metric '{name}' has a slash in its name, which parts tasks from metrics.")


@check(unless=lacks(Reversible))
def check_what_is_right_scores_best(task: Task) -> None:
    """A prediction of the target itself has the best headline, and a random one, or that of other rows, less."""
    assert isinstance(task, Reversible)
    pred, target = prediction(task)
    right = float(_score(task, (task.as_prediction(target), target))[task.headline])
    others = task.as_prediction(take(target, torch.arange(rows_of(target)).roll(1)))
    # Either alone may be right by chance.
    wrong = min(float(_score(task, (said, target))[task.headline]) for said in (pred, others))
    require(right >= BEST, f"what is right has the headline {right:.4f}; as_prediction or the metric is wrong.")
    require(right > wrong, f"what is wrong has the headline {wrong:.4f}, as good as what is right.")


@check()
def check_metrics_add_up(task: Task) -> None:
    """Two batches give what one batch of all their rows gives."""
    pred, target = prediction(task)
    whole = _score(task, (pred, target))
    parts = [(take(pred, rows), take(target, rows)) for rows in (slice(0, 2), slice(2, None))]
    _same(whole, _score(task, *parts), "two batches score otherwise than one; keep sums, not means of batches.")


@check()
def check_metrics_of_processes_add_up(task: Task) -> None:
    """Two processes, each with a part of the rows, come to what one comes to with all of them."""
    pred, target = prediction(task)
    ours, theirs = task.metrics(), task.metrics()
    for metrics, rows in ((ours, slice(0, 2)), (theirs, slice(2, None))):
        metrics.update(take(pred, rows), take(target, rows))
    for metric, other in zip(ours.modules(), theirs.modules(), strict=True):
        # A wrapper shows the state of what it wraps, which comes by itself.
        if isinstance(metric, Metric) and isinstance(other, Metric) and not isinstance(metric, WrapperMetric):
            # `merge_state` refuses metrics that leave full_state_update as it is.
            metric._reduce_states(other.metric_state)
    values = {name: torch.as_tensor(value) for name, value in ours.compute().items()}
    advice = 'two processes score otherwise than one; give add_state dist_reduce_fx="sum", or "cat" for lists.'
    _same(_score(task, (pred, target)), values, advice)


@check()
def check_metrics_reset(task: Task) -> None:
    """After a reset, what came before is forgotten."""
    pred, target = prediction(task)
    fresh = _score(task, (pred, target))
    for row in range(3):
        metrics = task.metrics()
        metrics.update(take(pred, slice(row, row + 1)), take(target, slice(row, row + 1)))
        metrics.reset()
        metrics.update(pred, target)
        _same(fresh, metrics.compute(), "a reset leaves something behind; keep all state in add_state.")


@check()
def check_metrics_leave_out_what_is_not_labeled(task: Task) -> None:
    """Rows without a label change no metric; a batch of them alone breaks nothing."""
    found = shaken(task)
    pred = found.predict()
    some = [target if row < 3 else None for row, target in enumerate(found.targets)]
    mixed = _score(task, (pred, task.collate(some, SIZE)))
    alone = take(pred, slice(0, 3)), task.collate(found.targets[:3], SIZE)
    nothing = pred, task.collate([None] * len(some), SIZE)
    for values in (mixed, _score(task, alone, nothing)):
        _same(_score(task, alone), values, "rows without a label change a metric; leave out what has weight 0.")


def _score(task: Task, *batches: tuple[object, object]) -> dict[str, Tensor]:
    metrics: MetricCollection = task.metrics()
    for pred, target in batches:
        metrics.update(pred, target)
    return {name: torch.as_tensor(value) for name, value in metrics.compute().items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor], message: str) -> None:
    for name, value in one.items():
        second = torch.as_tensor(other[name])
        require(
            close(value.double(), second.double(), EXACT),
            f"{name} is {value.tolist()} and {second.tolist()}: {message}",
        )
