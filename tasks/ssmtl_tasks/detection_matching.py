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
PAIRS_ON_CPU = 2**20
PAIRS_ON_DEVICE = 2**25
"""Pairs of a box and an anchor that are compared at once: what stays in a CPU's cache, and 128 MB elsewhere."""


class Matches(NamedTuple):
    """Per anchor the `box` that it overlaps most, and whether it is `positive`, or `ignored`; else it is background."""

    box: Int64[Tensor, "n a"]
    positive: Bool[Tensor, "n a"]
    ignored: Bool[Tensor, "n a"]


@torch.no_grad()
def match_anchors(anchors: Float32[Tensor, "n a 4"], target: BoxTargets) -> Matches:
    """Match anchors, the same in every row, to each row's boxes.

    Memory doesn't grow with the number of boxes, and no device is waited for.
    Anchors that aren't positive but have half of their area within a crowd are ignored. Ties are broken as in
    torchvision: an anchor goes to the first of its boxes, a box gets all of its best anchors.
    """
    pairs = PAIRS_ON_CPU if anchors.device.type == "cpu" else PAIRS_ON_DEVICE
    sides = _sides(anchors[:1])
    best = torch.zeros_like(anchors[..., 0])
    chunk = max(1, pairs // max(1, best.numel()))
    least, box = torch.zeros_like(best), torch.zeros_like(best, dtype=torch.int64)
    forced = torch.zeros_like(best, dtype=torch.bool)
    for start in range(0, target.labels.shape[1], chunk):
        part = slice(start, start + chunk)
        overlap = _overlap(target.boxes[:, part], target.present[:, part], target.crowd[:, part], sides)
        highest, index = overlap.max(dim=1)
        box = torch.where(highest > best, index + start, box)
        best = torch.maximum(best, highest)
        least = torch.minimum(least, overlap.amin(dim=1))
        top = overlap.amax(dim=2, keepdim=True)
        forced |= (overlap == top.where(top > 0, torch.inf)).any(dim=1)
    positive = forced | (best >= POSITIVE)
    return Matches(box, positive, ~positive & ((best >= NEGATIVE) | (least <= -POSITIVE)))


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
