"""Several classes per image: unknown classes don't count, and every number is the hand-computed one."""

import math

import numpy as np
import pytest
import torch

from ssmtl.errors import DataError
from ssmtl.manifests.cells import parse_labels
from ssmtl_tasks import Labels, MultiLabel

TASK = MultiLabel("findings", classes=("edema", "mass", "effusion"))


def vector(*values):
    return np.array(values, dtype=np.uint8)


def ratio(loss):
    return (loss.total.sum() / loss.count.sum()).item()


def test_classes_meet_by_name_and_those_the_reader_lacks_are_unknown():
    target = TASK.target(vector(1, 0, 1), ("Mass", "fracture", "edema"))
    assert target.labels.tolist() == [1, 1, 0]
    assert target.weight.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("annotation", "classes", "says"),
    [
        (1, ("edema",), r"got 1 for its labels; it expects a uint8 vector .* Check the reader's annotation 'labels'"),
        (vector(1, 0), ("edema",), r"got uint8 \(2,\) for its labels"),
        (np.zeros(1), ("edema",), r"got float64 \(1,\) for its labels"),
        (vector(2), ("edema",), "labels with the number 2"),
        (vector(1), ("oedema",), r"no class has the same name in both: .*did you mean 'oedema'"),
    ],
)
def test_other_annotations_are_refused(annotation, classes, says):
    with pytest.raises(DataError, match=says):
        TASK.target(annotation, classes)


def test_the_loss_is_a_mean_over_known_pairs():
    pred = torch.tensor([[0.0, 0.0, 50.0], [math.log(3), -50.0, -50.0]])
    target = TASK.collate(
        [TASK.target(vector(1, 0), ("edema", "mass")), TASK.target(vector(0, 0, 0), TASK.classes)], (1, 1)
    )
    loss = TASK.supervised_loss(pred, target)
    # row 0: ln 2 twice, its third class unknown; row 1: p = 3/4 of a class that isn't there
    torch.testing.assert_close(loss.total, torch.tensor([2 * math.log(2), math.log(4)]))
    assert loss.count.tolist() == [2, 3]
    assert ratio(TASK.supervised_loss(pred, TASK.collate([None, None], (1, 1)))) != ratio(loss)
    assert TASK.supervised_loss(pred, TASK.collate([None, None], (1, 1))).count.tolist() == [0, 0]


def test_pseudo_labels_are_trusted_class_by_class_on_both_sides():
    pred = torch.tensor([[math.log(9), -math.log(9), math.log(2)]], requires_grad=True)
    target = TASK.pseudo_label(pred, 0.9 - 1e-6)
    assert target.labels.tolist() == [[1, 0, 1]]
    assert target.weight.tolist() == [[1, 1, 0]]
    assert not target.weight.requires_grad
    loss = TASK.unsupervised_loss(pred, target)
    assert ratio(loss) == pytest.approx(2 * math.log(10 / 9) / 3)


def test_confidence_is_the_geometric_mean_over_classes():
    pred = torch.tensor([[math.log(9), -math.log(4), 0.0]])
    assert TASK.confidence(pred).item() == pytest.approx((0.9 * 0.8 * 0.5) ** (1 / 3))


def test_distances_of_distributions():
    half, sure = torch.zeros(1, 3), torch.full((1, 3), math.log(3))
    assert ratio(TASK.squared_error(half, TASK.soft_target(sure))) == pytest.approx(0.25**2)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert ratio(TASK.kl(sure, half)) == pytest.approx(expected)
    assert ratio(TASK.kl(sure, sure)) == pytest.approx(0, abs=1e-7)
    assert ratio(TASK.entropy(half)) == pytest.approx(math.log(2))


def test_extreme_logits_stay_finite():
    pred = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    other = torch.tensor([[-1e2, 1e2, 0.0]])
    total = TASK.kl(pred, other).total.sum() + TASK.entropy(pred).total.sum()
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(pred.grad).all()


def test_metrics_are_means_over_classes_that_are_there_and_absent():
    metrics = TASK.metrics()
    labels = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 1, 0]])
    weight = torch.ones(4, 3)
    weight[2, 2] = 0  # the third class has no known positive
    pred = torch.tensor([[2.0, 0, 0], [1.0, 0, 0], [3.0, 0, 0], [-1.0, 0, 0]])
    metrics.update(pred[:2], Labels(labels[:2], weight[:2]))
    metrics.update(pred[2:], Labels(labels[2:], weight[2:]))
    scores = metrics.compute()
    assert scores["auc"] == 1  # of the first class alone
    assert scores["map"] == 1
    assert scores["f1_edema"] == pytest.approx(2 * 2 / (2 * 2 + 1))
    metrics.reset()
    metrics.update(pred.neg(), Labels(labels, weight))
    assert metrics.compute()["auc"] == 0


def test_metrics_of_nothing_known():
    metrics = TASK.metrics()
    metrics.update(torch.zeros(0, 3), Labels(torch.zeros(0, 3).long(), torch.zeros(0, 3)))
    scores = metrics.compute()
    assert scores["auc"] == 0.5
    assert scores["map"].isnan()


def test_answers_are_written_as_a_manifest_takes_them():
    answers = TASK.decode(torch.tensor([[2.0, -2.0, 0.0], [-2.0, -2.0, -2.0]]), [(4, 4)] * 2)
    cells = [TASK.record(answer).columns for answer in answers]
    assert cells[0]["findings"] == "edema|effusion"
    assert cells[0]["findings_edema"] == f"{1 / (1 + math.exp(-2)):.4f}"
    assert cells[1]["findings"] == "[]"


def test_precision_of_pseudo_labels_counts_known_classes_only():
    guess = Labels(torch.tensor([[1, 0, 1]]), torch.tensor([[1.0, 1.0, 1.0]]))
    hidden = TASK.collate([TASK.target(vector(1, 1), ("edema", "mass"))], (1, 1))
    assert ratio(TASK.audit(guess, hidden)["precision"]) == 0.5
    assert TASK.foreign(hidden).total.tolist() == [0]


@pytest.mark.parametrize("names", [("a|b", "c"), ("[x", "c")])
def test_names_that_look_like_several_are_written_as_a_list(names):
    task = MultiLabel("tags", classes=names)
    (answer,) = task.decode(torch.tensor([[9.0, 9.0]]), [(4, 4)])
    cell = task.record(answer).columns["tags"]
    assert parse_labels(cell) == names
    (answer,) = task.decode(torch.tensor([[-9.0, 9.0]]), [(4, 4)])
    assert task.record(answer).columns["tags"] == "c"
    (answer,) = task.decode(torch.tensor([[-9.0, -9.0]]), [(4, 4)])
    assert task.record(answer).columns["tags"] == "[]"
