"""Which anchor answers for which box, for all images at once.

The rule is that of RetinaNet (Lin et al. 2017, section 4): an anchor belongs to the box that it overlaps most, is
positive from an IoU of 0.5 on, background below 0.4, and in between takes no part. So that no box goes without an
anchor, the anchors that overlap it most are positive at any IoU.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from ssmtl_tasks.detection_targets import BoxTargets

POSITIVE = 0.5
NEGATIVE = 0.4
ANCHORS_ON_CPU = 1024
"""Anchors, neighbors, that a CPU compares at once, with the boxes that come near any of them."""
PAIRS_ON_DEVICE = 2**25
"""Pairs of a box and an anchor that a device compares at once: 128 MB."""


class Matches(NamedTuple):
    """Per anchor the `box` that it overlaps most, and whether it is `positive`, or `ignored`; else it is background."""

    box: Int64[Tensor, "n a"]
    positive: Bool[Tensor, "n a"]
    ignored: Bool[Tensor, "n a"]


class _Best(NamedTuple):
    """Per anchor the box that it overlaps most, how much that is, the smallest overlap, and whether a box needs it."""

    box: Int64[Tensor, "n a"]
    highest: Float32[Tensor, "n a"]
    least: Float32[Tensor, "n a"]
    forced: Bool[Tensor, "n a"]


@torch.no_grad()
def match_anchors(anchors: Float32[Tensor, "n a 4"], target: BoxTargets) -> Matches:
    """Match anchors, the same in every row, to each row's boxes.

    Memory hardly grows with the number of boxes, and no device is waited for.
    Anchors that aren't positive but have half of their area within a crowd are ignored. Ties are broken as in
    torchvision: an anchor goes to the first of its boxes, a box gets all of its best anchors.
    """
    compare = _compare_near if anchors.device.type == "cpu" else _compare_all
    box, highest, least, forced = compare(anchors, target)
    positive = forced | (highest >= POSITIVE)
    return Matches(box, positive, ~positive & ((highest >= NEGATIVE) | (least <= -POSITIVE)))


def _nothing(anchors: Float32[Tensor, "n a 4"]) -> _Best:
    zero = torch.zeros_like(anchors[..., 0])
    return _Best(zero.long(), zero, zero.clone(), zero.bool())


def _compare_near(anchors: Float32[Tensor, "n a 4"], target: BoxTargets) -> _Best:
    """Compare anchors with the boxes that reach their neighborhood, on a CPU, where looking costs no waiting."""
    found, top = _nothing(anchors), torch.zeros_like(target.boxes[..., 0])
    best: list[tuple[Tensor, ...]] = []
    for start in range(0, anchors.shape[1] if len(anchors) else 0, ANCHORS_ON_CPU):
        part = slice(start, start + ANCHORS_ON_CPU)
        some = anchors[:1, part]
        near = _near(target, torch.cat([some[0, :, :2].amin(dim=0), some[0, :, 2:].amax(dim=0)]))
        if not near.shape[1]:
            continue
        boxes = target.boxes.gather(1, near[..., None].expand(-1, -1, 4))
        present, crowd = target.present.gather(1, near), target.crowd.gather(1, near)
        overlap = _overlap(boxes, present, crowd, _sides(some))
        highest, index = overlap.max(dim=1)
        found.highest[:, part] = highest.clamp(min=0)
        found.box[:, part] = near.gather(1, index)
        found.least[:, part] = overlap.amin(dim=1).clamp(max=0)
        here, before = overlap.amax(dim=2), top.gather(1, near)
        top.scatter_(1, near, torch.maximum(here, before))
        wanted = here.where((here > 0) & (here >= before), torch.inf)
        row, place, anchor = (overlap == wanted[..., None]).nonzero(as_tuple=True)
        best.append((row, near[row, place], anchor + start, here[row, place]))
    if best:
        row, box, anchor, value = (torch.cat(parts) for parts in zip(*best, strict=True))
        last = value == top[row, box]
        found.forced[row[last], anchor[last]] = True
    return found


def _near(target: BoxTargets, around: Float32[Tensor, "4"]) -> Int64[Tensor, "n c"]:
    """Return which boxes of each row, in their order, share area with a rectangle, filled up with others."""
    left, top, right, bottom = target.boxes.unbind(-1)
    touches = (left < around[2]) & (right > around[0]) & (top < around[3]) & (bottom > around[1]) & target.present
    most = int(touches.sum(dim=1).amax()) if touches.numel() else 0
    return touches.sort(dim=1, descending=True, stable=True).indices[:, :most]


def _compare_all(anchors: Float32[Tensor, "n a 4"], target: BoxTargets) -> _Best:
    """Compare anchors with all boxes, some at a time, without a look at any number."""
    sides = _sides(anchors[:1])
    box, best, least, forced = _nothing(anchors)
    chunk = max(1, PAIRS_ON_DEVICE // max(1, best.numel()))
    for start in range(0, target.labels.shape[1], chunk):
        part = slice(start, start + chunk)
        overlap = _overlap(target.boxes[:, part], target.present[:, part], target.crowd[:, part], sides)
        highest, index = overlap.max(dim=1)
        box = torch.where(highest > best, index + start, box)
        best = torch.maximum(best, highest)
        least = torch.minimum(least, overlap.amin(dim=1))
        top = overlap.amax(dim=2, keepdim=True)
        forced |= (overlap == top.where(top > 0, torch.inf)).any(dim=1)
    return _Best(box, best, least, forced)


def _sides(anchors: Float32[Tensor, "r a 4"]) -> tuple[Float32[Tensor, "r 1 a"], ...]:
    """Return left, top, right, bottom and area of anchors, in a shape that boxes [n, m, 1] meet."""
    left, top, right, bottom = (side[:, None].contiguous() for side in anchors.unbind(-1))
    return left, top, right, bottom, (right - left) * (bottom - top)


def _overlap(
    boxes: Float32[Tensor, "n m 4"],
    present: Bool[Tensor, "n m"],
    crowd: Bool[Tensor, "n m"],
    anchors: tuple[Float32[Tensor, "r 1 a"], ...],
) -> Float[Tensor, "n m a"]:
    """Return the IoU with boxes, 0 with what isn't present, and with crowds minus the share of the anchor inside."""
    real = boxes.where(present[..., None], 0.0)
    left, top, right, bottom = (side[..., None] for side in real.unbind(-1))
    a_left, a_top, a_right, a_bottom, a_area = anchors
    width = torch.minimum(right, a_right).sub_(torch.maximum(left, a_left)).clamp_(min=0)
    height = torch.minimum(bottom, a_bottom).sub_(torch.maximum(top, a_top)).clamp_(min=0)
    shared = width.mul_(height)
    # With boxes: area + anchor - shared. With crowds: minus the anchor.
    single = (~crowd).float()[..., None]
    whole = torch.addcmul(single * (right - left) * (bottom - top), a_area, 2 * single - 1).addcmul_(shared, -single)
    return shared.div_(whole)
