"""On a GPU: the same views, and nothing waits for the device. Skipped where there is none."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from ssmtl.views.boxes import move_boxes
from ssmtl.views.geometry import between
from ssmtl.views.moving import move_labels, move_soft
from ssmtl.views.policy import Policy
from ssmtl.views.presets import dense_strong, dense_weak, fixmatch_strong, multimix_strong, multimix_weak
from ssmtl.views.render import render

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
PAIRS = {
    "multimix": (multimix_weak(), multimix_strong()),
    "fixmatch": (Policy(), fixmatch_strong()),
    "dense": (dense_weak((64, 80)), dense_strong((64, 80))),
    "filters": (Policy(), Policy(pool=("GaussianBlur", "GaussianNoise", "Hue", "Perspective"), num_ops=2)),
}


@contextmanager
def no_waiting():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def seen(name, device, rows=40, size=(96, 112)):
    """Return both views, labels, soft maps and boxes moved from the weak into the strong one."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (rows, 3, *size), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 19, (rows, *PAIRS[name][0].view_size(size)), generator=generator)
    corner = torch.rand(rows, 5, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 12], -1)
    weak, strong = (policy.sample(3, np.arange(rows), size, shared=5) for policy in PAIRS[name])
    images, labels, boxes = images.to(device), labels.to(device), boxes.to(device)
    present = torch.ones(boxes.shape[:2], dtype=torch.bool, device=device)
    torch.cuda.synchronize()
    with no_waiting():
        views = render(images, weak), render(images, strong)
        moved = between(views[0].geometry, views[1].geometry)
        targets = move_labels(labels, moved), *move_soft(views[0].image, moved), *move_boxes(boxes, present, moved)
    return (*(view.image for view in views), *(view.valid for view in views), *targets)


@pytest.mark.parametrize("name", PAIRS)
def test_views_and_targets_are_those_of_the_cpu(name):
    """Float32 may decide a tie between two pixels; anything else is a mistake."""
    seen(name, "cuda")  # loads kernels, which waits
    for cpu, gpu in zip(seen(name, "cpu"), seen(name, "cuda"), strict=True):
        assert gpu.device.type == "cuda"
        difference = (cpu.double() - gpu.cpu().double()).abs()
        assert (difference > 1e-3).double().mean() < 1e-4
