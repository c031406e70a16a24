import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.errors import DataError
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import class_label, lookup_table

DIAGNOSIS = Classification("diagnosis", classes=("normal", "pneumonia"))
LUNGS = Segmentation("lungs", classes=("lung",))
CHEST = Segmentation("chest", classes=("background", "lung", "heart"))


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


def test_classes_meet_by_name_not_by_order_or_case():
    target = DIAGNOSIS.target(0, ("PNEUMONIA", "Normal"))
    assert (target.labels.item(), target.weight.item()) == (1, 1.0)
    assert (target.labels.dtype, target.weight.dtype) == (torch.int64, torch.float32)
    assert DIAGNOSIS.target(1, ("PNEUMONIA", "Normal")).labels.item() == 0


def test_unknown_class_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"'diagnosis' does not know the class 'pneumonie'.*did you mean 'pneumonia'"):
        DIAGNOSIS.target(0, ("pneumonie",))


@pytest.mark.parametrize("label", [-1, 2])
def test_label_outside_of_the_readers_classes_is_refused(label):
    with pytest.raises(DataError, match=rf"label {label}.*0\.\.1"):
        DIAGNOSIS.target(label, ("normal", "pneumonia"))


@pytest.mark.parametrize("label", [1.0, True, "normal", mask([0])])
def test_label_of_another_type_is_refused(label):
    with pytest.raises(DataError, match="expects an index"):
        class_label(label, ("normal", "pneumonia"), ("normal", "pneumonia"), "diagnosis")


def test_numpy_integers_are_labels():
    assert class_label(np.int32(1), ("b", "a"), ("a", "b"), "c") == 0


def test_mask_is_mapped_by_name_and_keeps_ignore():
    target = LUNGS.target(mask([0, 1, 255]), ("Lung", "background"))
    assert target.labels.tolist() == [[1, 0, 255]]
    assert target.weight.tolist() == [[1.0, 1.0, 1.0]]


def test_a_foreign_class_is_background_when_all_of_the_tasks_classes_are_annotated():
    assert LUNGS.target(mask([0, 1, 2]), ("background", "lung", "heart")).labels.tolist() == [[0, 1, 0]]


def test_background_of_a_reader_that_leaves_a_class_out_is_ignored():
    # the reader never marks hearts: its background, and its clavicles, may hide one
    target = CHEST.target(mask([0, 1, 2]), ("background", "lung", "clavicle"))
    assert target.labels.tolist() == [[255, 1, 255]]


def test_background_without_a_place_in_the_task_is_ignored():
    task = Segmentation("street", classes=("road", "car"))
    assert task.target(mask([0, 1, 2]), ("background", "car", "road")).labels.tolist() == [[255, 1, 0]]


def test_a_mask_class_without_a_place_in_the_task_is_refused():
    task = Segmentation("street", classes=("road", "car"))
    with pytest.raises(DataError, match=r"no class for the mask class 'cars'.*did you mean 'car'"):
        task.target(mask([0]), ("road", "cars"))


def test_a_reader_without_any_of_the_tasks_classes_is_refused():
    with pytest.raises(DataError, match="learns 'lung', but the reader's masks show only 'lungs'"):
        LUNGS.target(mask([0]), ("background", "lungs"))


def test_a_value_without_a_class_is_refused():
    with pytest.raises(DataError, match="value 7, but the reader names 2 classes"):
        LUNGS.target(mask([0, 7]), ("background", "lung"))


@pytest.mark.parametrize("bad", [3, np.zeros((2, 2), np.int64), np.zeros((1, 2, 2), np.uint8)])
def test_a_mask_of_another_type_or_shape_is_refused(bad):
    with pytest.raises(DataError, match="uint8 map of shape"):
        LUNGS.target(bad, ("background", "lung"))


def test_the_lookup_table_is_built_once():
    arguments = (("background", "lung"), ("background", "lung"), "lungs")
    assert lookup_table(*arguments) is lookup_table(*arguments)


@given(st.permutations(["background", "lung", "heart", "rib"]))
def test_the_order_of_the_readers_classes_does_not_matter(order):
    meant = {"background": 0, "lung": 1, "heart": 2, "rib": 0}
    labels = CHEST.target(mask([0, 1, 2, 3]), tuple(order)).labels
    assert labels.tolist() == [[meant[name] for name in order]]


def test_absent_and_all_ignored_masks_collate_to_different_weights():
    ignored = LUNGS.target(mask([255, 255], [255, 255]), ("background", "lung"))
    batch = LUNGS.collate([None, ignored], (2, 2))
    assert (batch.labels == 255).all()
    assert batch.weight.sum(dim=(1, 2)).tolist() == [0.0, 4.0]


def test_collate_gives_absent_labels_weight_zero():
    batch = DIAGNOSIS.collate([None, DIAGNOSIS.target(1, ("normal", "pneumonia"))], (8, 8))
    assert (batch.labels.tolist(), batch.weight.tolist()) == ([0, 1], [0.0, 1.0])


def test_collate_of_nothing_has_no_rows():
    assert DIAGNOSIS.collate([], (8, 8)).labels.shape == (0,)
    assert LUNGS.collate([], (4, 6)).labels.shape == (0, 4, 6)
    assert LUNGS.collate([], (4, 6)).labels.dtype == torch.int64


def test_a_mask_of_another_size_than_the_canvas_is_refused():
    with pytest.raises(DataError, match=r"\(1, 2\) pixels.*\(4, 4\)"):
        LUNGS.collate([LUNGS.target(mask([0, 1]), ("background", "lung"))], (4, 4))


@pytest.mark.parametrize(
    ("task", "classes", "message"),
    [
        (Classification, ("only",), "at least 2"),
        (Classification, ("a", "A"), "names a class twice"),
        (Classification, ("a", " "), "without a name"),
        (Segmentation, (), "at least 1"),
        (Segmentation, ("background",), "implied background"),
        (Segmentation, tuple(map(str, range(256))), "at most 255"),
    ],
)
def test_unusable_classes_are_refused(task, classes, message):
    with pytest.raises(ValueError, match=message):
        task("t", classes=classes)
