"""From a reader's boxes to targets: classes by name, "nothing there" and "nobody looked", and what is refused."""

import numpy as np
import pytest
import torch

from ssmtl.errors import DataError
from ssmtl.task import BoxList
from ssmtl_tasks.detection import Detection

TASK = Detection("traffic", classes=("Car", "person"))
CLASSES = ("person", "tree", "car")
SIZE = (64, 96)


def box_list(boxes, labels, crowd=None):
    return BoxList(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.zeros(len(labels), bool) if crowd is None else np.array(crowd),
    )


def test_classes_meet_by_name_and_others_are_left_out():
    found = box_list([(0, 0, 8, 8), (1, 1, 9, 9), (2, 2, 10, 10)], [2, 1, 0], [True, False, False])
    target = TASK.target(found, CLASSES)
    assert target.labels.tolist() == [0, 1]
    assert target.boxes.tolist() == [[0, 0, 8, 8], [2, 2, 10, 10]]
    assert target.crowd.tolist() == [True, False]
    assert target.present.tolist() == [True, True]
    assert target.weight == 1


def test_nothing_there_and_nobody_looked_are_different():
    one = TASK.target(box_list([(0, 0, 8, 8)], [2]), CLASSES)
    nothing = TASK.target(box_list([], []), CLASSES)
    target = TASK.collate([one, nothing, None], SIZE)
    assert target.weight.tolist() == [1, 1, 0]
    assert target.present.sum(dim=1).tolist() == [1, 0, 0]


@pytest.mark.parametrize(("counts", "width"), [([0], 8), ([8, 1], 8), ([3, 9], 16), ([17], 24)])
def test_rows_are_padded_to_multiples_of_eight(counts, width):
    rows = [TASK.target(box_list([(0, 0, 8, 8)] * count, [0] * count), CLASSES) for count in counts]
    target = TASK.collate(rows, SIZE)
    assert target.boxes.shape == (len(counts), width, 4)
    assert target.present.sum(dim=1).tolist() == counts
    assert (target.boxes[~target.present] == 0).all()
    assert [part.dtype for part in target] == [torch.float32, torch.int64, torch.bool, torch.bool, torch.float32]


def test_no_rows_have_the_form_of_some():
    some, none = TASK.collate([None], SIZE), TASK.collate([], SIZE)
    assert [part.shape[1:] for part in none] == [part.shape[1:] for part in some]
    assert len(none.weight) == 0


def test_refuses_an_annotation_of_another_kind():
    with pytest.raises(DataError, match=r"'traffic' got boxes of type ndarray; it expects a BoxList"):
        TASK.target(np.zeros((2, 4)), CLASSES)


@pytest.mark.parametrize("label", [3, -1])
def test_refuses_a_label_that_the_reader_does_not_name(label):
    with pytest.raises(DataError, match=rf"label {label}, but the reader names 3 classes .* in 0\.\.2"):
        TASK.target(box_list([(0, 0, 8, 8)], [label]), CLASSES)


def test_refuses_a_class_that_the_reader_never_annotates():
    with pytest.raises(DataError, match=r"learns 'persn', which the reader's boxes never show.*did you mean 'person'"):
        TASK.replace(classes=("car", "persn")).target(box_list([], []), CLASSES)


@pytest.mark.parametrize("box", [(0, 0, 97, 8), (-1, 0, 8, 8), (0, 60, 8, 65)])
def test_refuses_boxes_that_leave_the_canvas(box):
    row = TASK.target(box_list([box], [0]), CLASSES)
    with pytest.raises(DataError, match=r"images of \(64, 96\) \(height, width\); the reader must bring boxes"):
        TASK.collate([None, row], SIZE)


def test_rounding_does_not_leave_the_canvas():
    row = TASK.target(box_list([(-1e-4, 0, 96.0001, 64)], [0]), CLASSES)
    assert TASK.collate([row], SIZE).present.sum() == 1


@pytest.mark.parametrize("fields", [{"classes": ()}, {"classes": ("a", "A")}, {"nms": 1.5}, {"min_size": 0}])
def test_refuses_fields_out_of_range(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        TASK.replace(**fields)
