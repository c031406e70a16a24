"""Losses against numbers computed by hand. logit(3/4) = ln 3, so logits of +-ln 3 are probabilities 3/4 and 1/4."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmtl.task import Loss
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.losses import CrossEntropy, Dice
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

LN3 = math.log(3)
LN4 = math.log(4)
CLASSES = Classification("c", classes=("a", "b"))
LUNGS = Segmentation("s", classes=("lung",), loss=Dice())
PIXELS = Segmentation("s", classes=("lung",))
THREE = Segmentation("s", classes=("background", "lung", "heart"))


def labels(values, weight=None) -> Labels:
    values = torch.tensor(values)
    return Labels(values, torch.ones(values.shape) if weight is None else torch.tensor(weight))


def ratio(loss: Loss) -> float:
    return (loss.total.sum() / loss.count.sum()).item()


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, 1, 2, -1)


def test_classification_averages_over_labeled_rows_only():
    # row 0: p = (3/4, 1/4), label 0: ln(4/3); row 1 has no label. Mean over 1 row.
    pred = torch.tensor([[LN3, 0.0], [5.0, -5.0]])
    loss = CLASSES.supervised_loss(pred, labels([0, 1], [1.0, 0.0]))
    assert loss.count.tolist() == [1.0, 0.0]
    assert ratio(loss) == pytest.approx(math.log(4 / 3))


def test_fixmatch_eq4_divides_by_all_rows():
    # row 0 is confident, label 1 at p = 1/4: ln 4; row 1 is not. Mean over 2 rows: ln(4) / 2.
    pred = torch.tensor([[LN3, 0.0], [0.0, 0.0]])
    loss = CLASSES.unsupervised_loss(pred, labels([1, 0], [1.0, 0.0]))
    assert loss.count.tolist() == [1.0, 1.0]
    assert ratio(loss) == pytest.approx(LN4 / 2)


def test_dice_is_the_mean_over_images():
    # image 0: p = .75 .75 .25 .25, s = 1 0 0 1: sum ps = 1, sum p = 2, sum s = 2: 1 - 3/5 = .4
    # image 1: p = .25 everywhere, s = 0: 1 - 1/2 = .5
    pred = torch.cat([image(LN3, LN3, -LN3, -LN3), image(-LN3, -LN3, -LN3, -LN3)])
    loss = LUNGS.supervised_loss(pred, labels([[[1, 0], [0, 1]], [[0, 0], [0, 0]]]))
    torch.testing.assert_close(loss.total, torch.tensor([0.4, 0.5]))
    assert loss.count.tolist() == [1.0, 1.0]


def test_dice_sees_valid_pixels_only():
    # the last pixel is ignored, or has no weight: sum ps = .75, sum p = 1.75, sum s = 1: 1 - 2.5/3.75 = 1/3
    pred = image(LN3, LN3, -LN3, -LN3)
    ignored = LUNGS.supervised_loss(pred, labels([[[1, 0], [0, 255]]]))
    weightless = LUNGS.supervised_loss(pred, labels([[[1, 0], [0, 1]]], [[[1.0, 1.0], [1.0, 0.0]]]))
    assert ignored.total.item() == pytest.approx(1 / 3)
    assert weightless.total.item() == pytest.approx(1 / 3)


def test_dice_of_several_classes_is_the_mean_over_classes():
    # one pixel with p = (1/2, 1/4, 1/4), label 1: 1 - 1/1.5 = 1/3; 1 - (1/2 + 1)/2.25 = 1/3; 1 - 1/1.25 = 1/5
    task = THREE.replace(loss=Dice())
    loss = task.supervised_loss(torch.tensor([math.log(2), 0.0, 0.0]).reshape(1, 3, 1, 1), labels([[[1]]]))
    assert loss.total.item() == pytest.approx((1 / 3 + 1 / 3 + 0.2) / 3)


def test_cross_entropy_is_pooled_over_pixels_not_over_image_means():
    # image 0 has 1 valid pixel at ln 4, image 1 has 4 at ln(4/3): pooled (ln 4 + 4 ln 4/3) / 5, not the mean of means
    pred = image(LN3, LN3, LN3, LN3).repeat(2, 1, 1, 1)
    loss = PIXELS.supervised_loss(pred, labels([[[0, 255], [255, 255]], [[1, 1], [1, 1]]]))
    assert loss.count.tolist() == [1.0, 4.0]
    assert ratio(loss) == pytest.approx((LN4 + 4 * math.log(4 / 3)) / 5)


def test_cross_entropy_counts_no_weightless_pixel():
    # ln 4 at the only pixel with a weight: not divided by the 2 pixels with a label
    loss = PIXELS.supervised_loss(torch.full((1, 1, 1, 2), LN3), labels([[[0, 1]]], [[[1.0, 0.0]]]))
    assert loss.count.tolist() == [1.0]
    assert ratio(loss) == pytest.approx(LN4)


def test_cross_entropy_of_several_classes():
    pred = torch.tensor([math.log(2), 0.0, 0.0]).reshape(1, 3, 1, 1)
    assert ratio(THREE.supervised_loss(pred, labels([[[0]]]))) == pytest.approx(math.log(2))
    assert ratio(THREE.supervised_loss(pred, labels([[[2]]]))) == pytest.approx(LN4)


def test_dense_consistency_divides_by_valid_pixels_confident_or_not():
    # 4 pixels: confident at ln 4, confident at ln(4/3), not confident, outside: (ln 4 + ln 4/3) / 3
    pred = image(LN3, LN3, LN3, LN3)
    target = labels([[[0, 1], [1, 255]]], [[[1.0, 1.0], [0.0, 1.0]]])
    loss = LUNGS.unsupervised_loss(pred, target)  # cross-entropy, though the task supervises with Dice
    assert loss.count.tolist() == [3.0]
    assert ratio(loss) == pytest.approx((LN4 + math.log(4 / 3)) / 3)


def test_dense_consistency_reduces_over_the_batch_or_over_images():
    # image 0: one valid pixel, at ln 4; image 1: four, of which two are confident, at ln(4/3); image 2: none is valid
    # pooled (ln 4 + 2 ln 4/3) / 5; per image (ln 4 / 1 + 2 ln(4/3) / 4 + nothing) / 2
    pred = image(LN3, LN3, LN3, LN3).repeat(3, 1, 1, 1)
    values = [[[0, 255], [255, 255]], [[1, 1], [1, 1]], [[255, 255], [255, 255]]]
    target = labels(values, [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    pooled = PIXELS.unsupervised_loss(pred, target)
    assert pooled.count.tolist() == [1.0, 4.0, 0.0]
    assert ratio(pooled) == pytest.approx((LN4 + 2 * math.log(4 / 3)) / 5)
    each = PIXELS.replace(reduction="per_image").unsupervised_loss(pred, target)
    assert each.count.tolist() == [1.0, 1.0, 0.0]
    assert each.total[2] == 0
    assert ratio(each) == pytest.approx((LN4 + math.log(4 / 3) / 2) / 2)
    assert PIXELS.reduction == "pooled"


@pytest.mark.parametrize("reduction", ["pooled", "per_image"])
def test_a_threshold_of_0_keeps_every_pixel(reduction):
    # p = 3/4 for class 1 at two pixels and 3/4 against it at the others
    task = PIXELS.replace(reduction=reduction)
    pred = image(LN3, LN3, -LN3, -LN3)
    for threshold, kept in ((0.0, 1.0), (0.74, 1.0), (0.76, 0.0)):
        target = task.pseudo_label(pred, threshold)
        assert target.weight.unique().tolist() == [kept]
        assert target.labels.flatten().tolist() == [1, 1, 0, 0]
        assert ratio(task.unsupervised_loss(pred, target)) == pytest.approx(kept * math.log(4 / 3))


@pytest.mark.parametrize("task", [LUNGS, PIXELS, THREE, THREE.replace(loss=Dice())])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_ignored_empty_and_extreme_masks_stay_finite(task, dtype):
    pred = torch.full((3, len(task.classes), 4, 4), 3e4, dtype=dtype)
    pred[:, 0] *= -1
    pred.requires_grad_()
    target = labels(torch.stack([torch.full((4, 4), 255), torch.zeros(4, 4).long(), torch.ones(4, 4).long()]).tolist())
    loss = task.supervised_loss(pred, target)
    loss.total.sum().backward()
    assert loss.total.dtype == loss.count.dtype == torch.float32
    assert torch.isfinite(loss.total).all()
    assert torch.isfinite(pred.grad).all()
    assert (loss.total[0], loss.count[0]) == (0, 0)
    assert (pred.grad[0] == 0).all()


@pytest.mark.parametrize("task", [LUNGS, PIXELS, THREE, THREE.replace(reduction="per_image"), CLASSES])
@pytest.mark.parametrize("term", ["supervised_loss", "unsupervised_loss"])
def test_no_rows_give_an_empty_connected_loss(task, term):
    size = () if task is CLASSES else (4, 4)
    pred = torch.zeros(0, len(task.classes), *size, requires_grad=True)
    loss = getattr(task, term)(pred, Labels(torch.zeros(0, *size).long(), torch.zeros(0, *size)))
    assert loss.total.shape == loss.count.shape == (0,)
    loss.total.sum().backward()
    assert pred.grad is not None
    assert not loss.count.requires_grad


@pytest.mark.parametrize(
    "task", [LUNGS, PIXELS, THREE, THREE.replace(loss=Dice()), THREE.replace(reduction="per_image"), CLASSES]
)
@pytest.mark.parametrize("term", ["supervised_loss", "unsupervised_loss"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_rows_do_not_depend_on_each_other(task, term, seed):
    random = torch.Generator().manual_seed(seed)
    size = () if task is CLASSES else (4, 4)
    pred = torch.randn(4, len(task.classes), *size, generator=random)
    values = torch.randint(0, 2, (4, *size), generator=random)
    if size:
        values[torch.rand(4, *size, generator=random) < 0.2] = 255
    weight = (torch.rand(4, *size, generator=random) < 0.7).float()
    loss = getattr(task, term)(pred, Labels(values, weight))
    order = torch.randperm(4, generator=random)
    moved = getattr(task, term)(pred[order], Labels(values[order], weight[order]))
    alone = getattr(task, term)(pred[:1], Labels(values[:1], weight[:1]))
    torch.testing.assert_close((moved.total, moved.count), (loss.total[order], loss.count[order]))
    torch.testing.assert_close((alone.total, alone.count), (loss.total[:1], loss.count[:1]))


@pytest.mark.parametrize("task", [LUNGS, PIXELS, THREE, THREE.replace(loss=Dice())])
def test_what_is_predicted_at_ignored_and_weightless_pixels_does_not_matter(task):
    random = torch.Generator().manual_seed(0)
    pred = torch.randn(2, len(task.classes), 4, 4, generator=random)
    values = torch.randint(0, 2, (2, 4, 4), generator=random)
    values[:, 0], weight = 255, torch.ones(2, 4, 4)
    weight[:, 1] = 0
    other = pred.clone()
    other[:, :, :2] = 9
    changed = values.clone()
    changed[:, 1] = 1 - changed[:, 1]
    first = task.supervised_loss(pred, Labels(values, weight))
    second = task.supervised_loss(other, Labels(changed, weight))
    torch.testing.assert_close(first.total, second.total)


def test_smooth_must_be_positive():
    with pytest.raises(ValueError, match="greater than 0"):
        Dice(smooth=0)


def test_losses_are_components_with_a_round_trip():
    task = Segmentation("s", classes=("lung",), loss=Dice(smooth=2.0))
    assert Segmentation.model_validate_json(task.model_dump_json()) == task
    assert CrossEntropy() == PIXELS.loss
