"""Which anchor answers for which box: by hand, and against torchvision's matcher."""

import pytest
import torch
from boxed import boxes_at
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from ssmtl_tasks import detection_matching

ANCHORS = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 20], [40, 40, 60, 60], [80, 80, 90, 90]], dtype=torch.float32)


def match_anchors(anchors, target):
    return detection_matching.match_anchors(anchors.expand(len(target.weight), -1, -1), target)


def verdicts(matches, row=0):
    """Return per anchor the box it is positive for, "?" where it is ignored and "-" where it is background."""
    found = zip(matches.box[row].tolist(), matches.positive[row].tolist(), matches.ignored[row].tolist(), strict=True)
    return [box if positive else "?" if ignored else "-" for box, positive, ignored in found]


def test_positive_from_one_half_background_below_two_fifths():
    # IoU with the anchors: 80/100 = .8, 80/200 = .4 (the band begins), 0, 0
    assert verdicts(match_anchors(ANCHORS, boxes_at([[(0, 0, 10, 8)]]))) == [0, "?", "-", "-"]
    # 50/100 = .5 is positive, 50/200 background
    assert verdicts(match_anchors(ANCHORS, boxes_at([[(0, 0, 10, 5)]]))) == [0, "-", "-", "-"]


def test_every_box_gets_its_best_anchor():
    # (58, 58, 62, 62) shares 4 of 16 with anchor 2: IoU 4/412; nothing is nearer
    target = boxes_at([[(0, 0, 10, 10), (58, 58, 62, 62)]])
    assert verdicts(match_anchors(ANCHORS, target)) == [0, 0, 1, "-"]  # anchor 1: IoU 100/200


def test_all_of_a_boxes_best_anchors_are_positive():
    anchors = torch.tensor([[0, 0, 10, 10], [4, 0, 14, 10], [30, 30, 40, 40]], dtype=torch.float32)
    assert verdicts(match_anchors(anchors, boxes_at([[(5, 5, 7, 7)]]))) == [0, 0, "-"]  # 4/100 twice


def test_an_anchor_that_one_box_needs_goes_to_the_box_it_overlaps_most():
    # box 1's only overlap is with anchor 0, which is box 0's by IoU 1
    target = boxes_at([[(0, 0, 10, 10), (9, 0, 30, 10)]])
    assert verdicts(match_anchors(ANCHORS[[0, 2, 3]], target)) == [0, "-", "-"]


def test_a_box_that_no_anchor_touches_leaves_all_alone():
    # torchvision's matcher takes every anchor for "the best", with IoU 0
    assert verdicts(match_anchors(ANCHORS, boxes_at([[(20, 0, 30, 5)]]))) == ["-"] * 4


def test_anchors_within_a_crowd_take_no_part():
    # half of anchor 0 and all of anchor 2 are in a crowd; a quarter of anchor 1; a real box still takes its own
    rows = [[(0, 0, 10, 5), (30, 30, 70, 70), (80, 80, 90, 90), (70, 70, 99, 99)]]
    crowded = match_anchors(ANCHORS, boxes_at(rows, crowd=[[True, True, False, True]]))
    assert verdicts(crowded) == ["?", "-", "?", 2]


def test_padding_says_nothing():
    target = boxes_at([[(0, 0, 10, 8)], []])
    dirty = target._replace(boxes=target.boxes.where(target.present[..., None], torch.nan))
    for found in (match_anchors(ANCHORS, target), match_anchors(ANCHORS, dirty)):
        assert verdicts(found) == [0, "?", "-", "-"]
        assert verdicts(found, 1) == ["-"] * 4


@pytest.mark.parametrize("shape", [(0, 8), (2, 0)])
def test_no_rows_and_no_boxes(shape):
    found = match_anchors(ANCHORS, boxes_at([[]] * shape[0], width=shape[1]))
    assert found.box.shape == (shape[0], 4)
    assert not found.positive.any()
    assert not found.ignored.any()


sides = st.tuples(*[st.integers(0, 90)] * 2, *[st.integers(1, 60)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def many_anchors():
    y, x = torch.meshgrid(torch.arange(0, 100, 10.0), torch.arange(0, 100, 10.0), indexing="ij")
    centers = torch.stack([x, y], -1).reshape(-1, 1, 2)
    half = torch.tensor([[8.0, 8], [16, 8], [12, 24]])
    return torch.cat([centers - half, centers + half], -1).reshape(-1, 4)


def in_pieces(anchors, target, *, size, as_device):
    """Match in pieces of a size, the CPU's way or that of devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection_matching, "PAIRS_ON_DEVICE" if as_device else "ANCHORS_ON_CPU", size)
        if as_device:
            patch.setattr(detection_matching, "_compare_near", detection_matching._compare_all)
        return match_anchors(anchors, target)


pieces = st.sampled_from([(7, False), (64, False), (10**6, False), (1, True), (900, True), (10**6, True)])


@settings(deadline=None, max_examples=90)
@given(st.lists(st.lists(sides, min_size=1, max_size=9), min_size=1, max_size=3), pieces)
def test_is_torchvisions_matcher_in_pieces_of_any_size(rows, piece):
    anchors, target = many_anchors(), boxes_at(rows, width=10)
    found = in_pieces(anchors, target, size=piece[0], as_device=piece[1])
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    for row, boxes in enumerate(rows):
        wanted = matcher(box_iou(torch.tensor(boxes).float(), anchors))
        assert torch.equal(found.positive[row], wanted >= 0)
        assert torch.equal(found.ignored[row], wanted == Matcher.BETWEEN_THRESHOLDS)
        assert torch.equal(found.box[row][wanted >= 0], wanted[wanted >= 0])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([7, 64, 1024]))
def test_a_cpu_and_devices_match_alike(seed, size):
    random = torch.Generator().manual_seed(seed)
    start = 130 * torch.rand(3, 16, 2, generator=random) - 20
    boxes = torch.cat([start, start + 80 * torch.rand(3, 16, 2, generator=random) ** 3], dim=-1)
    target = boxes_at([[], [], []], width=16)
    present, crowd = (torch.rand(3, 16, generator=random) < share for share in (0.7, 0.3))
    target = target._replace(boxes=boxes, present=present, crowd=crowd)
    near, every = (in_pieces(many_anchors(), target, size=size, as_device=device) for device in (False, True))
    assert torch.equal(near.positive, every.positive)
    assert torch.equal(near.ignored, every.ignored)
    assert torch.equal(near.box[near.positive], every.box[near.positive])
