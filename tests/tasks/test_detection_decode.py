"""From outputs to boxes, answers and pseudo-labels."""

import pytest
import torch
from boxed import at_anchors, found_at
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmtl_tasks.detection import Detection

TASK = Detection("d", classes=("car", "person"))
SIZE = (100, 100)
A, SHIFTED, AWAY = (10, 10, 30, 30), (12, 10, 32, 30), (60, 60, 90, 80)  # IoU of the first two: 18/22


def answer(pred, task=TASK, size=SIZE):
    (found,) = task.decode(pred, [size])
    return found


def test_the_best_of_overlapping_boxes_of_a_class_stays():
    found = answer(found_at([A, SHIFTED, AWAY], [0, 0, 0], [0.6, 0.9, 0.3]))
    assert found.boxes.tolist() == [list(SHIFTED), list(AWAY)]
    assert found.scores.tolist() == pytest.approx([0.9, 0.3])
    assert (found.names, found.labels.tolist()) == (("car", "car"), [0, 0])


def test_classes_do_not_suppress_each_other():
    found = answer(found_at([A, SHIFTED], [0, 1], [0.6, 0.9]))
    assert found.names == ("person", "car")


def test_rows_do_not_suppress_each_other():
    one, other = found_at([A, AWAY], [0, 0], [0.9, 0.8]), found_at([SHIFTED, AWAY], [0, 0], [0.6, 0.7])
    both = type(one)(*(torch.cat(parts) for parts in zip(one, other, strict=True)))
    found = TASK.decode(both, [SIZE, SIZE])
    assert [part.scores.tolist() for part in found] == [pytest.approx([0.9, 0.8]), pytest.approx([0.7, 0.6])]


def test_scores_below_the_threshold_are_nothing():
    found = answer(found_at([A, AWAY], [0, 1], [0.049, 0.051]))
    assert found.names == ("person",)
    nothing = answer(found_at([A, AWAY], [0, 1], [0.01, 0.02]))
    assert (nothing.boxes.shape, nothing.labels.shape, nothing.names) == ((0, 4), (0,), ())


def test_each_level_has_its_own_best():
    boxes = [(0, 0, 9, 9), (20, 0, 29, 9), (40, 0, 49, 9), (60, 0, 69, 9)]
    pred = found_at(boxes, [0] * 4, [0.9, 0.8, 0.7, 0.6], levels=[3, 1])
    found = answer(pred, TASK.replace(per_level=2))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.6])
    assert answer(pred, TASK.replace(detections=2)).scores.tolist() == pytest.approx([0.9, 0.8])


def test_boxes_end_with_the_image_and_those_beyond_are_nothing():
    found = answer(found_at([(-10, 80, 20, 130), (100, 0, 120, 9)], [0, 0], [0.9, 0.8]))
    assert found.boxes.tolist() == [[0, 80, 20, 100]]


def test_answers_are_in_pixels_of_the_source_image():
    # the image fills 100 x 80 of its canvas, and is 50 x 320 in its file
    found = answer(found_at([(10, 20, 30, 40), (70, 0, 90, 50)], [0, 1], [0.9, 0.8], size=(100, 80)), size=(50, 320))
    assert found.boxes.tolist() == [[40, 10, 120, 20], [280, 0, 320, 25]]


def test_what_is_not_finite_is_no_box():
    pred = found_at([A, AWAY], [0, 0], [0.9, 0.8])
    pred.deltas[0, 0, 0] = torch.nan
    assert answer(pred).boxes.tolist() == [list(AWAY)]
    pred.logits[0, 1] = torch.nan
    assert answer(pred).boxes.tolist() == []


def test_pseudo_labels_are_certain_detached_and_in_their_places():
    pred = found_at([A, SHIFTED, AWAY], [0, 0, 1], [0.6, 0.9, 0.3])
    pred.logits.requires_grad_()
    target = TASK.pseudo_label(pred, 0.5)
    assert target.boxes.shape == (1, TASK.detections, 4)
    assert target.present.sum() == 1
    assert target.boxes[0, 0].tolist() == list(SHIFTED)
    assert (target.labels[0, 0], target.weight[0]) == (0, 1)
    assert not target.crowd.any()
    assert not any(part.requires_grad for part in target)


def test_a_pseudo_label_reaches_the_threshold_exactly():
    pred = at_anchors([A], torch.tensor([[[0.0, -9.0]]]))
    assert TASK.pseudo_label(pred, 0.5).present.sum() == 1
    assert TASK.pseudo_label(pred, 0.5 + 1e-6).present.sum() == 0


def test_no_pseudo_box_means_not_known_unless_background_is_believed():
    pred = found_at([A], [0], [0.4])
    assert TASK.pseudo_label(pred, 0.5).weight.tolist() == [0]
    assert TASK.replace(positives_only=False).pseudo_label(pred, 0.5).weight.tolist() == [1]


def test_no_rows():
    pred = at_anchors([A], torch.zeros(0, 1, 2))
    assert TASK.decode(pred, []) == []
    assert TASK.pseudo_label(pred, 0.5).boxes.shape == (0, TASK.detections, 4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.1, 0.9))
def test_a_higher_threshold_keeps_the_best_of_what_a_lower_one_keeps(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    start = 60 * torch.rand(30, 2, generator=generator)
    boxes = torch.cat([start, start + 5 + 35 * torch.rand(30, 2, generator=generator)], dim=1)
    pred = at_anchors(boxes.tolist(), torch.randn(2, 30, 2, generator=generator))
    low, high = TASK.pseudo_label(pred, 0.05), TASK.pseudo_label(pred, threshold)
    count = high.present.sum(dim=1)
    for row in range(2):
        assert torch.equal(low.boxes[row, : count[row]], high.boxes[row, : count[row]])
    assert (count <= low.present.sum(dim=1)).all()
