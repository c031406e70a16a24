"""Guesses against labels that training must not see, in numbers computed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.errors import DataError
from ssmtl.task import IGNORE_INDEX, Audited
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import FOREIGN, Labels

ANIMALS = Classification("animal", classes=("bird", "cat", "deer"))
LUNGS = Segmentation("lungs", classes=("lung",))
READER = ("airplane", "Cat", "bird")


def labels(values, weights):
    return Labels(torch.tensor(values), torch.tensor(weights))


def test_who_has_the_ability():
    assert isinstance(ANIMALS, Audited)
    assert isinstance(LUNGS, Audited)


def test_a_hidden_label_may_be_foreign():
    found = [ANIMALS.hidden_target(index, READER) for index in range(3)]
    assert [int(target.labels) for target in found] == [FOREIGN, 1, 0]
    assert all(float(target.weight) == 1.0 for target in found)


def test_a_label_to_learn_from_may_not():
    with pytest.raises(DataError, match="does not know the class 'airplane'"):
        ANIMALS.target(0, READER)


@pytest.mark.parametrize("annotation", [3, -1, True, np.zeros((2, 2), np.uint8)], ids=repr)
def test_a_hidden_label_that_is_none_is_refused(annotation):
    with pytest.raises(DataError, match="task 'animal' got"):
        ANIMALS.hidden_target(annotation, READER)


def test_foreign_labels_survive_the_batch():
    rows = [ANIMALS.hidden_target(0, READER), None, ANIMALS.hidden_target(1, READER)]
    batch = ANIMALS.collate(rows, (8, 8))
    assert batch.labels.tolist() == [FOREIGN, 0, 1]
    assert batch.weight.tolist() == [1.0, 0.0, 1.0]


def test_precision_of_classes():
    # right, wrong, not trusted, foreign, no hidden label
    guess = labels([0, 1, 2, 1, 0], [1.0, 1.0, 0.0, 1.0, 1.0])
    hidden = labels([0, 2, 2, FOREIGN, 0], [1.0, 1.0, 1.0, 1.0, 0.0])
    (name, loss), *rest = ANIMALS.audit(guess, hidden).items()
    assert (name, rest) == ("precision", [])
    assert loss.total.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert loss.count.tolist() == [1.0, 1.0, 0.0, 1.0, 0.0]


def test_foreign_rows_are_counted_among_those_with_a_hidden_label():
    loss = ANIMALS.foreign(labels([FOREIGN, 1, FOREIGN], [1.0, 1.0, 0.0]))
    assert loss.total.tolist() == [1.0, 0.0, 0.0]
    assert loss.count.tolist() == [1.0, 1.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2), st.booleans(), st.booleans()), max_size=8))
def test_precision_is_that_of_a_loop(rows):
    guess = labels([r[0] for r in rows], [float(r[2]) for r in rows])
    hidden = labels([r[1] for r in rows], [float(r[3]) for r in rows])
    guess, hidden = (Labels(target.labels.long(), target.weight.float()) for target in (guess, hidden))
    loss = ANIMALS.audit(guess, hidden)["precision"]
    judged = [(mine, truth) for mine, truth, trusted, known in rows if trusted and known]
    assert loss.count.sum().item() == len(judged)
    assert loss.total.sum().item() == sum(mine == truth for mine, truth in judged)


def test_precision_of_pixels():
    # right, wrong, not trusted, pseudo-label ignored, hidden one ignored, hidden one without weight
    ignored = IGNORE_INDEX
    guess = labels([[[1, 1, 1, ignored, 0, 1]]], [[[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]]])
    hidden = labels([[[1, 0, 1, ignored, ignored, 1]]], [[[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]]])
    loss = LUNGS.audit(guess, hidden)["precision"]
    assert loss.total.tolist() == [1.0]
    assert loss.count.tolist() == [2.0]


def test_hidden_masks_are_never_foreign():
    mask = np.array([[0, 1], [255, 1]], dtype=np.uint8)
    hidden = LUNGS.hidden_target(mask, ("background", "lung"))
    assert hidden.labels.tolist() == [[0, 1], [255, 1]]
    batch = LUNGS.collate([hidden, None], (2, 2))
    loss = LUNGS.foreign(batch)
    assert loss.total.tolist() == [0.0, 0.0]
    assert loss.count.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("task", "shape"), [(ANIMALS, (0,)), (LUNGS, (0, 2, 2))], ids=["image", "mask"])
def test_no_rows(task, shape):
    none = Labels(torch.zeros(shape).long(), torch.zeros(shape))
    for loss in (task.audit(none, none)["precision"], task.foreign(none)):
        assert loss.total.shape == loss.count.shape == (0,)
