"""Detection losses against numbers by hand. At logit 0 focal loss is ln 2 / 16 where true, 3 ln 2 / 16 where not."""

import math

import pytest
import torch
from boxed import at_anchors, boxes_at

from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_losses import _Focal

LN2 = math.log(2)
TRUE, FALSE = LN2 / 16, 3 * LN2 / 16
TASK = Detection("d", classes=("car", "person"))
ANCHORS = [(0, 0, 10, 10), (0, 0, 10, 20), (50, 50, 60, 60)]
BOX = (0, 0, 10, 8)  # IoU .8 (positive), .4 (ignored), 0 (background); GIoU with the first anchor .8


def undecided(n):
    return at_anchors(ANCHORS, torch.zeros(n, 3, 2))


def test_supervised_is_focal_on_all_but_the_band_and_giou_on_positives():
    loss = TASK.supervised_loss(undecided(1), boxes_at([[BOX]], labels=[[1]]))
    assert loss.total.item() == pytest.approx((TRUE + FALSE) + 2 * FALSE + 0.2, rel=1e-5)
    assert loss.count.tolist() == [1.0]


def test_the_label_is_the_output_that_is_true():
    pred = at_anchors(ANCHORS[:1], torch.tensor([[[0.0, math.log(3)]]]))  # p = 1/2, 3/4
    right, wrong = (TASK.supervised_loss(pred, boxes_at([[BOX]], labels=[[label]])).total.item() for label in (1, 0))
    confident = 0.25 * 0.25**2 * math.log(4 / 3)  # alpha (1 - p)^2 (-ln p)
    mistaken = 0.75 * 0.75**2 * math.log(4)
    assert right == pytest.approx(FALSE + confident + 0.2, rel=1e-5)
    assert wrong == pytest.approx(TRUE + mistaken + 0.2, rel=1e-5)


def test_giou_is_of_the_decoded_box():
    # the anchor moves by half of its width, onto (5, 0, 15, 10); twice as high around its middle: (5, -5, 15, 15)
    deltas = torch.tensor([[[0.5, 0, 0, 0], [0] * 4, [0] * 4], [[0.5, 0, 0, LN2], [0] * 4, [0] * 4]])
    pred = at_anchors(ANCHORS, torch.zeros(2, 3, 2), deltas)
    loss = TASK.supervised_loss(pred, boxes_at([[(0, 0, 10, 10)], [(0, 0, 10, 10)]]))
    focal = 2 * (TRUE + FALSE) + 2 * FALSE  # anchor 1 is positive too, IoU 1/2, and its GIoU is 1/2
    # IoU 50/150, hull 150: 1/3. IoU 50/250, hull 15 x 20 = 300: 1/5 - 50/300
    wanted = [focal + 1 / 2 + 1 - 1 / 3, focal + 1 / 2 + 1 - (1 / 5 - 1 / 6)]
    assert loss.total.tolist() == pytest.approx(wanted, rel=1e-5)


def test_nothing_there_is_a_lesson_and_not_labeled_is_none():
    loss = TASK.supervised_loss(undecided(3), boxes_at([[], [], [BOX]], weight=[1.0, 0.0, 1.0]))
    assert loss.total.tolist() == pytest.approx([6 * FALSE, 0, TRUE + 3 * FALSE + 0.2], rel=1e-5)
    assert loss.count.tolist() == [0, 0, 1]


def test_a_batch_without_positives_is_divided_by_one():
    loss = TASK.supervised_loss(undecided(3), boxes_at([[], [], []], weight=[1.0, 1.0, 0.0]))
    assert loss.count.tolist() == [0, 0, 0]
    assert loss.floor == 1.0
    assert loss.total.tolist() == pytest.approx([6 * FALSE, 6 * FALSE, 0], rel=1e-5)


def test_a_batch_without_labels_is_zero():
    loss = TASK.supervised_loss(undecided(2), boxes_at([[], []], weight=[0.0, 0.0]))
    assert loss.total.tolist() == loss.count.tolist() == [0, 0]


def test_pseudo_boxes_teach_their_anchors_only():
    # all outputs of the positive anchor, and its box; the background and the band are left alone
    loss = TASK.unsupervised_loss(undecided(1), boxes_at([[BOX]], labels=[[1]]))
    assert loss.total.item() == pytest.approx(TRUE + FALSE + 0.2, rel=1e-5)
    assert loss.count.tolist() == [1.0]


def test_pseudo_boxes_leave_all_other_outputs_without_gradient():
    logits = torch.zeros(2, 3, 2, requires_grad=True)
    deltas = torch.zeros(2, 3, 4, requires_grad=True)
    target = boxes_at([[BOX], []])
    TASK.unsupervised_loss(at_anchors(ANCHORS, logits, deltas), target).total.sum().backward()
    for slope in (logits.grad, deltas.grad):
        assert (slope[0, 0] != 0).any()
        assert (slope[0, 1:] == 0).all()
        assert (slope[1] == 0).all()


@pytest.mark.parametrize("weight", [[1.0, 1.0], [0.0, 0.0]])
def test_no_pseudo_box_is_exactly_zero_with_a_gradient_of_zero(weight):
    logits = torch.randn(2, 3, 2, requires_grad=True)
    loss = TASK.unsupervised_loss(at_anchors(ANCHORS, logits), boxes_at([[], []], weight=weight))
    assert loss.total.tolist() == loss.count.tolist() == [0, 0]
    loss.total.sum().backward()
    assert (logits.grad == 0).all()


def test_background_counts_for_pseudo_boxes_if_asked_for():
    task = TASK.replace(positives_only=False)
    target = boxes_at([[BOX], []])
    loss, supervised = task.unsupervised_loss(undecided(2), target), task.supervised_loss(undecided(2), target)
    assert torch.equal(loss.total, supervised.total)
    assert torch.equal(loss.count, supervised.count)


def test_crowds_are_no_objects_and_no_background():
    target = boxes_at([[(0, 0, 30, 30)]], crowd=[[True]])
    loss = TASK.supervised_loss(undecided(1), target)
    assert loss.total.item() == pytest.approx(2 * FALSE, rel=1e-5)  # the third anchor only


def test_rows_do_not_influence_each_other():
    torch.manual_seed(0)
    pred = at_anchors(ANCHORS, torch.randn(3, 3, 2), 0.1 * torch.randn(3, 3, 4))
    target = boxes_at([[BOX], [], [(40, 40, 62, 62), BOX]], labels=[[1], [], [0, 1]])
    together = TASK.supervised_loss(pred, target)
    for row in range(3):
        part = slice(row, row + 1)
        alone = TASK.supervised_loss(type(pred)(*(p[part] for p in pred)), type(target)(*(p[part] for p in target)))
        torch.testing.assert_close(alone.total, together.total[part])


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_no_anchors_have_no_loss_on_any_device(device):
    """Off the CPU all anchors are one chunk, of which there may be none."""
    none = torch.zeros(0, 2, device=device, requires_grad=True)
    taught = torch.zeros(0, dtype=torch.bool, device=device)
    loss = _Focal.apply(none, torch.zeros(0, dtype=torch.int64, device=device), taught, taught)
    (slopes,) = torch.autograd.grad(loss.sum(), none)
    assert (loss.shape, slopes.shape) == ((0,), (0, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_outputs_and_no_rows_stay_finite(dtype):
    logits = torch.full((2, 3, 2), 6e4, dtype=dtype)
    logits[0] *= -1
    deltas = torch.full((2, 3, 4), -6e4, dtype=dtype)
    deltas[1] *= -1
    pred = at_anchors(ANCHORS, logits.requires_grad_(), deltas.requires_grad_())
    target = boxes_at([[BOX, (40, 40, 62, 62)], []])
    for loss in (TASK.supervised_loss(pred, target), TASK.unsupervised_loss(pred, target)):
        slopes = torch.autograd.grad(loss.total.sum(), (logits, deltas))
        assert loss.total.dtype == loss.count.dtype == torch.float32
        assert all(torch.isfinite(part).all() for part in (loss.total, loss.count, *slopes))
    none = at_anchors(ANCHORS, torch.zeros(0, 3, 2))
    for loss in (TASK.supervised_loss(none, boxes_at([])), TASK.unsupervised_loss(none, boxes_at([]))):
        assert loss.total.shape == loss.count.shape == (0,)
