import copy
import math

import pytest
import torch

from ssmtl_tasks.classification import Classification
from ssmtl_tasks.metrics import BalancedAccuracy, ErrorRate, MacroAUC
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

DIAGNOSIS = Classification("diagnosis", classes=("normal", "pneumonia"))
LUNGS = Segmentation("lungs", classes=("lung",))
STREET = Segmentation("street", classes=("road", "car", "tree"))


def scores(*probabilities: float) -> torch.Tensor:
    """Return logits of two classes whose second has these probabilities."""
    return torch.tensor([[0.0, math.log(p / (1 - p))] for p in probabilities])


def labels(*values: int, weight: list[float] | None = None) -> Labels:
    return Labels(torch.tensor(values), torch.ones(len(values)) if weight is None else torch.tensor(weight))


def measure(task, *updates) -> dict[str, float]:
    metrics = task.metrics()
    for pred, target in updates:
        metrics.update(pred, target)
    return {name: value.item() for name, value in metrics.compute().items()}


def test_classification_by_hand():
    # predicted 1 1 0 0, reference 1 0 1 0, and 1 more row predicted 0, reference 0
    # accuracy 3/5; f1_normal 2*2/(2*2+1+1) = 2/3; f1_pneumonia 2/(2+1+1) = 1/2; recalls 2/3 and 1/2
    # AUC: of the 2*3 pairs, .9 beats all three, .4 beats .1 and .2: 5/6
    pred, target = scores(0.9, 0.6, 0.4, 0.1, 0.2), labels(1, 0, 1, 0, 0)
    expected = {
        "accuracy": 3 / 5,
        "auc": 5 / 6,
        "balanced_accuracy": 7 / 12,
        "error_pct": 40.0,
        "f1_normal": 2 / 3,
        "f1_pneumonia": 1 / 2,
    }
    assert measure(DIAGNOSIS, (pred, target)) == pytest.approx(expected)
    assert measure(DIAGNOSIS, (pred[:2], labels(1, 0)), (pred[2:], labels(1, 0, 0))) == pytest.approx(expected)


def test_rows_without_a_label_are_left_out():
    pred, target = scores(0.9, 0.6, 0.4, 0.99), labels(1, 0, 1, 0, weight=[1.0, 1.0, 1.0, 0.0])
    assert measure(DIAGNOSIS, (pred, target)) == measure(DIAGNOSIS, (pred[:3], labels(1, 0, 1)))


def test_a_split_with_one_class_is_measured_without_warnings():
    # AUC has no pair to rank: 0.5; balanced accuracy has one recall, 1/2; f1 of the absent class is 0
    result = measure(DIAGNOSIS, (scores(0.9, 0.1), labels(1, 1)))
    right = {"accuracy": 0.5, "error_pct": 50.0, "auc": 0.5, "balanced_accuracy": 0.5}
    assert result == pytest.approx({**right, "f1_normal": 0.0, "f1_pneumonia": 2 / 3})


def test_the_error_is_a_percentage_of_the_labeled_rows():
    # 3 of 8 labeled rows are wrong: 37.5 %; the ninth has no label
    wrong, right = scores(0.9, 0.9, 0.9), scores(0.9, 0.9, 0.9, 0.9, 0.9, 0.1)
    weight = [1.0] * 5 + [0.0]
    result = measure(DIAGNOSIS, (wrong, labels(0, 0, 0)), (right, labels(1, 1, 1, 1, 1, 1, weight=weight)))
    assert result["error_pct"] == pytest.approx(37.5)
    assert ErrorRate(num_classes=2).higher_is_better is False


def test_an_absent_class_of_several_is_left_out_of_auc_and_balanced_accuracy():
    # class 2 never occurs but is predicted once; recalls 1/2 and 1; class 0 against class 1 ranks perfectly
    task = Classification("c", classes=("a", "b", "c"))
    pred = torch.tensor([[2.0, 0.0, 1.0], [1.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    result = measure(task, (pred, labels(0, 0, 1)))
    assert result["balanced_accuracy"] == pytest.approx(3 / 4)
    assert result["auc"] == pytest.approx(1)


def test_certain_predictions_keep_their_order_in_the_auc():
    # in float32 both probabilities round to 1 and would tie
    pred = torch.tensor([[0.0, 30.0], [0.0, 20.0]])
    assert measure(DIAGNOSIS, (pred, labels(1, 0)))["auc"] == 1


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS, STREET])
def test_no_row_and_no_label_are_no_reason_to_fail(task):
    size = () if task is DIAGNOSIS else (8, 8)
    width = len(task.classes)
    none = (torch.zeros(0, width, *size), task.collate([], (8, 8)))
    absent = (torch.zeros(2, width, *size), task.collate([None, None], (8, 8)))
    result = measure(task, none, absent)
    assert result.keys() == measure(task, absent).keys()
    _, targets = task.fake_batch(2, 0, size=(8, 8))
    some = (torch.randn(2, width, *size), task.collate(targets, (8, 8)))
    assert measure(task, none, some, absent) == pytest.approx(measure(task, some), nan_ok=True)


@pytest.mark.parametrize("metric", [MacroAUC, BalancedAccuracy, ErrorRate])
def test_classification_metrics_merge_over_processes(metric):
    pred, target = scores(0.9, 0.6, 0.4, 0.1).softmax(1), torch.tensor([1, 0, 1, 0])
    whole, one, other = (metric(num_classes=2) for _ in range(3))
    whole.update(pred, target)
    one.update(pred[:1], target[:1])
    other.update(pred[1:], target[1:])
    one.merge_state(other)
    assert one.compute() == whole.compute()


def test_metrics_with_equal_first_states_are_not_joined():
    # a perfect first image makes Dice and Jaccard equal; torchmetrics would then stop updating one of them
    perfect = (torch.full((1, 1, 8, 8), 9.0), Labels(torch.ones(1, 8, 8).long(), torch.ones(1, 8, 8)))
    half = torch.full((1, 1, 8, 8), 9.0)
    half[..., 4:] = -9
    result = measure(LUNGS, perfect, (half, perfect[1]))
    assert result["dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert result["jaccard"] == pytest.approx((1 + 1 / 2) / 2)
    assert result["precision"] == 1
    assert result["recall"] == pytest.approx(3 / 4)


def test_one_class_has_every_metric_of_the_study():
    names = {"dice", "jaccard", "precision", "recall", "ssim", "soft_dice", "hausdorff", "hausdorff_empty"}
    assert set(LUNGS.metrics().keys()) == names


def label_map(reference: list[int], predicted: list[int], weight: list[float] | None = None, classes: int = 3):
    """Return logits of one image of one row of pixels, and its labels."""
    pred = 5.0 * torch.nn.functional.one_hot(torch.tensor([[predicted]]), classes).movedim(-1, 1).float()
    return pred, Labels(torch.tensor([[reference]]), torch.tensor([[weight or [1.0] * len(reference)]]))


def test_several_classes_share_one_confusion_matrix():
    # pixels (reference, predicted) of two images: (0,0) x3; (0,1), (1,1), (255,2): IoU 3/4 and 1/2, 4 of 5 right
    # the mean of the images' mIoU would be (1 + 1/4) / 2
    result = measure(STREET, label_map([0, 0, 0], [0, 0, 0]), label_map([0, 1, 255], [1, 1, 2]))
    assert result == pytest.approx(
        {"miou": 5 / 8, "accuracy": 4 / 5, "iou_road": 3 / 4, "iou_car": 1 / 2, "iou_tree": math.nan}, nan_ok=True
    )


def test_a_class_that_is_only_predicted_or_only_labeled_counts_as_0():
    # tree is predicted for one of three road pixels, and the only car pixel taken for road: 2/4, 0, 0
    result = measure(STREET, label_map([0, 0, 0, 1], [0, 0, 2, 0]))
    assert (result["iou_road"], result["iou_car"], result["iou_tree"]) == (1 / 2, 0, 0)
    assert result["miou"] == pytest.approx(1 / 6)


def test_miou_of_19_classes_leaves_out_only_what_never_occurs():
    # class k has k + 1 pixels; the first of each is taken for class k + 1, but for the last; 17 and 18 don't occur
    city = Segmentation("city", classes=tuple(f"c{k}" for k in range(19)))
    reference = [k for k in range(17) for _ in range(k + 1)]
    predicted = [min(k + (not i), 16) for k in range(17) for i in range(k + 1)]
    # right: k of k + 1 pixels (16: all 17), predicted as k: those and one of class k - 1; class 0 is predicted nowhere
    union = [1, *(k + 2 for k in range(1, 16)), 18]
    expected = [k / union[k] for k in range(16)] + [17 / 18]
    result = measure(city, label_map(reference, predicted, classes=19))
    assert [result[f"iou_c{k}"] for k in range(17)] == pytest.approx(expected)
    assert math.isnan(result["iou_c17"])
    assert math.isnan(result["iou_c18"])
    assert expected[0] == 0
    assert result["miou"] == pytest.approx(sum(expected) / 17)


def test_ignored_and_weightless_pixels_are_left_out_of_the_confusion_matrix():
    pred, target = label_map([0, 1, 0, 255], [0, 1, 1, 1], [1.0, 1.0, 0.0, 1.0])
    assert measure(STREET, (pred, target))["miou"] == 1


def test_without_a_valid_pixel_there_is_no_miou():
    result = measure(STREET, label_map([255, 0], [0, 0], [1.0, 0.0]))
    assert all(math.isnan(value) for value in result.values())


def test_confusion_matrices_merge_over_processes():
    first, second = label_map([0, 0, 0], [0, 0, 0]), label_map([0, 1, 255], [1, 1, 2])
    one, other = STREET.metrics(), STREET.metrics()
    one.update(*first)
    other.update(*second)
    one["label_map"].merge_state(other["label_map"])
    assert one.compute()["miou"].item() == measure(STREET, first, second)["miou"]


def test_the_headline_is_named_as_in_the_field():
    assert (LUNGS.headline, STREET.headline) == ("jaccard", "miou")


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS, STREET])
def test_forward_reset_clone_and_copy_work_like_any_collection(task):
    size = () if task is DIAGNOSIS else (8, 8)
    _, targets = task.fake_batch(2, 0, size=(8, 8))
    pred, target = torch.randn(2, len(task.classes), *size), task.collate(targets, (8, 8))
    metrics = task.metrics()
    value = metrics(pred, target)
    assert {name: v.item() for name, v in value.items()} == pytest.approx(measure(task, (pred, target)), nan_ok=True)
    prefixed = copy.deepcopy(metrics).clone(prefix="test/")
    assert f"test/{task.headline}" in prefixed.compute()
    metrics.reset()
    metrics.update(pred, target)
    assert metrics.compute()[task.headline] == value[task.headline]
