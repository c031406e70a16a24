"""Average precision by hand: COCO's rules on cases small enough to count."""

import pytest
import torch
from boxed import boxes_at, found_at

from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_targets import BoxPrediction

TASK = Detection("d", classes=("car", "person"))
A, B, AWAY = (0, 0, 20, 20), (40, 40, 60, 60), (70, 0, 90, 20)


def scores(*pairs):
    metrics = TASK.metrics()
    for pred, target in pairs:
        metrics.update(pred, target)
    return {name: value.item() for name, value in metrics.compute().items()}


def test_all_right_is_one_and_classes_without_objects_are_not_in_the_mean():
    found = scores((found_at([A, B], [0, 0], [0.9, 0.8]), boxes_at([[A, B]])))
    assert [found[name] for name in ("map", "map_50", "map_75", "ap_car")] == pytest.approx([1] * 4)
    assert found["ap_person"] != found["ap_person"]  # NaN


def test_a_class_that_is_never_found_is_zero():
    found = scores((found_at([A], [0], [0.9]), boxes_at([[A, B]], labels=[[0, 1]])))
    assert (found["map"], found["ap_car"], found["ap_person"]) == pytest.approx((0.5, 1, 0))


def test_precision_at_101_recalls():
    # right, wrong, right: precision 1 up to recall 1/2 (51 of 101 recalls), then 2/3 (50)
    found = scores((found_at([A, AWAY, B], [0, 0, 0], [0.9, 0.8, 0.7]), boxes_at([[A, B]])))
    assert found["map_50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_an_object_is_found_once():
    pred = found_at([A, (0, 0, 20, 38)], [0, 0], [0.9, 0.8])  # IoU of the second 20/38: above .5, below .55
    target = boxes_at([[A, (60, 60, 80, 80)]])
    assert scores((pred, target))["map_50"] == pytest.approx(51 / 101)


def test_iou_decides_at_which_thresholds_it_is_right():
    # IoU .8: right at .5 to .8, 7 of 10
    assert scores((found_at([(0, 0, 20, 16)], [0], [0.9]), boxes_at([[A]])))["map"] == pytest.approx(0.7)


def test_crowds_are_neither_objects_nor_mistakes():
    pred = found_at([A, (42, 42, 50, 50)], [0, 0], [0.8, 0.9])
    assert scores((pred, boxes_at([[A, B]], crowd=[[False, True]])))["map"] == pytest.approx(1)
    assert scores((pred, boxes_at([[A]])))["map"] == pytest.approx(0.5)


def test_unlabeled_images_say_nothing_and_empty_ones_show_mistakes():
    right, wrong = found_at([A], [0], [0.8]), found_at([AWAY], [0], [0.9])
    unlabeled = (wrong, boxes_at([[]], weight=[0.0]))
    assert scores((right, boxes_at([[A]])), unlabeled)["map"] == pytest.approx(1)
    assert scores((right, boxes_at([[A]])), (wrong, boxes_at([[]])))["map"] == pytest.approx(0.5)


def test_batches_add_up():
    one, other = found_at([A, B], [0, 1], [0.9, 0.4]), found_at([AWAY, B], [0, 1], [0.8, 0.6])
    targets = boxes_at([[A, B], [A, B]], labels=[[0, 1], [1, 1]])
    both = BoxPrediction(*(torch.cat(parts) for parts in zip(one, other, strict=True)))
    rows = [type(targets)(*(part[i : i + 1] for part in targets)) for i in range(2)]
    apart = scores((one, rows[0]), (other, rows[1]))
    assert scores((both, targets)) == apart
    assert 0 < apart["map"] < 1


def test_no_images_are_nan():
    found = scores((found_at([A], [0], [0.9]), boxes_at([[]], weight=[0.0])))
    assert all(value != value for value in found.values())
