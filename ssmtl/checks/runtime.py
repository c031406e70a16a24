"""Where and how a task is run: memory layouts, precisions, checkpoints, compilers, devices."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jaxtyping
import numpy as np
import torch
from torch import Tensor
from torch._dynamo.eval_frame import check_if_dynamo_supported
from torch.utils._pytree import tree_map

from ssmtl.checks.bench import SIZE, Bench, Tree, alike, bench, close, copied, prediction, rows_of, shaken
from ssmtl.checks.suite import check, require
from ssmtl.task import PseudoLabels, Task
from ssmtl.views.geometry import Geometry

EXACT = 1e-3
SAME_DEVICE = 1e-2
"""GPUs sum in another order, and TF32 may be on."""


def _no_gpu() -> str:
    return "" if torch.cuda.is_available() else "this machine has no CUDA device"


def _no_compiler() -> str:
    try:
        check_if_dynamo_supported()
    except RuntimeError as error:
        return str(error)
    return ""


@check()
def check_memory_layout_does_not_matter(task: Task) -> None:
    """Predictions and targets whose tensors aren't contiguous cost what contiguous ones do."""
    pred, target = prediction(task)
    spread = [tree_map(_strided, part) for part in (copied(pred), target)]
    one, two = task.supervised_loss(copied(pred), target), task.supervised_loss(spread[0], spread[1])
    require(close(one.total, two.total, EXACT), "the loss of tensors that aren't contiguous is another one.")
    task.metrics().update(spread[0], spread[1])
    task.decode(spread[0], [SIZE] * rows_of(target))


@check()
def check_autocast_stays_finite(task: Task) -> None:
    """Under bfloat16 autocast, loss and gradients are finite, and the loss is computed in float32."""
    found = bench(task)
    found.head.train()
    features = [level.requires_grad_() for level in found.features()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pred = found.predict(features)
        losses = [task.supervised_loss(pred, found.target)]
        if isinstance(task, PseudoLabels):
            losses.append(task.unsupervised_loss(pred, task.pseudo_label(pred, 0.0)))
    for loss in losses:
        require(
            loss.total.dtype == loss.count.dtype == torch.float32,
            f"under bfloat16 autocast a loss is {loss.total.dtype}, counted in {loss.count.dtype}; call .float() on "
            "predictions first, or sums over pixels lose their last digits.",
        )
        slopes = torch.autograd.grad(loss.total.sum(), features, allow_unused=True, retain_graph=True)
        finite = all(slope is None or bool(slope.isfinite().all()) for slope in slopes)
        require(loss.total.isfinite().all() and finite, "under bfloat16 autocast a loss or its gradient isn't finite.")


@check()
def check_double_precision_agrees(task: Task) -> None:
    """Predictions of a head in float64 cost what those in float32 do."""
    found = shaken(task)
    one = task.supervised_loss(found.predict(), found.target)
    found.head.double()
    two = task.supervised_loss(found.predict([level.double() for level in found.features()]), found.target)
    require(close(one.total.double(), two.total.double(), EXACT), "in float64 the loss is another one.")


@check()
def check_checkpoint_brings_the_head_back(task: Task) -> None:
    """A fresh head that loads the weights of another, strictly, predicts the same."""
    found = shaken(task)
    fresh = task.build_head(found.encoder.spec).eval()
    fresh.load_state_dict(found.head.state_dict(), strict=True)
    again = fresh(found.features(), SIZE, None)
    require(
        alike(found.predict(), again, tolerance=EXACT),
        "a head with the same weights predicts otherwise; register all that it needs as parameters or buffers.",
    )


@check()
def check_global_randomness_is_untouched(task: Task) -> None:
    """Nothing but the head's fresh weights and dropout draws from the global random generators."""
    found = shaken(task)
    pred = found.predict()
    before = _random_states()
    images, targets = task.fake_batch(2, 0)
    target = task.collate(targets, SIZE)
    task.supervised_loss(pred, found.target)
    if isinstance(task, PseudoLabels):
        task.unsupervised_loss(pred, task.pseudo_label(pred, 0.5))
    task.warp(target, Geometry(torch.eye(3, dtype=torch.float64).expand(2, -1, -1), SIZE))
    task.metrics().update(pred, found.target)
    task.decode(pred, [SIZE] * rows_of(found.target))
    task.draw(images[0], tree_map(lambda leaf: leaf[0], target), None)
    moved = [name for name, state in _random_states().items() if not np.array_equal(state, before[name])]
    require(
        not moved,
        f"the global generator of {' and '.join(moved)} was used, which makes runs differ; draw from a seed, with "
        "ssmtl.keyed.",
    )


@check(machine=_no_compiler)
def check_survives_compilation(task: Task) -> None:
    """Head and loss can be traced by torch.compile and say the same; code isn't generated here."""
    found = shaken(task)
    features = found.features()

    def loss(levels: list[Tensor]) -> Tensor:
        return task.supervised_loss(found.predict(levels), found.target).total

    with torch.no_grad(), _quiet_compiler():
        torch.compiler.reset()
        compiled: Any = torch.compile(loss, backend="eager")
        same = close(loss(features), compiled(features), EXACT)
    require(same, "compiled, the loss is another one; compute with torch alone, without reading values back.")


@check(machine=_no_gpu)
def check_devices_agree(task: Task) -> None:
    """On a GPU, predictions and losses are what they are on a CPU, and stay there."""
    found = shaken(task)
    near = _on(found, "cpu")
    far = _on(found, "cuda")
    for name, (one, two) in {"prediction": (near[0], far[0]), "loss": (near[1], far[1])}.items():
        same = alike(one, tree_map(lambda leaf: leaf.cpu(), two), tolerance=SAME_DEVICE)
        require(same, f"the {name} on a GPU differs from that on a CPU; make tensors where the others are.")


def _on(found: Bench, device: str) -> tuple[Tree, Tree]:
    head = found.head.to(device)
    pred = head([level.to(device) for level in found.features()], found.size, None)
    target = tree_map(lambda leaf: leaf.to(device), found.target)
    loss = found.task.supervised_loss(pred, target)
    return copied(pred), (loss.total.detach(), loss.count)


@contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Keep what the compiler says of graphs that it splits, which is no fault, to itself.

    Nor does it trace the checks of types in signatures, where a test has switched them on.
    """
    log = logging.getLogger("torch._dynamo")
    level, unchecked = log.level, jaxtyping.config.jaxtyping_disable
    log.setLevel(logging.ERROR)
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)
        jaxtyping.config.update("jaxtyping_disable", unchecked)


def _strided(leaf: Tensor) -> Tensor:
    """Return the same values in another order in memory."""
    if leaf.ndim < 2:
        return torch.stack([leaf, torch.zeros_like(leaf)], dim=-1)[..., 0]
    return leaf.transpose(0, -1).contiguous().transpose(0, -1)


def _random_states() -> dict[str, Any]:
    """Return generators' states; Python's own isn't looked at, since type checkers at run time draw from it."""
    return {
        "torch": torch.get_rng_state().numpy(),
        "numpy": np.array(np.random.get_state()[1]),  # type: ignore[index]  # noqa: NPY002  # it is what others use
    }
