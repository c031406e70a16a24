"""What holds for every task that the project ships, by hand; the contract suite says the rest."""

import pytest
import torch

from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.task import Classified, Croppable, FeatureSpec, Matchable, PseudoLabels, Task
from ssmtl.views.geometry import Geometry
from ssmtl.views.ops import GEOMETRIC, PHOTOMETRIC
from ssmtl_tasks.classification import ClassAnswer, Classification
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.losses import Dice
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

TASKS = [
    Classification("diagnosis", classes=("normal", "pneumonia")),
    Classification("kind", classes=("a", "b", "c")),
    Segmentation("lungs", classes=("lung",), loss=Dice()),
    Segmentation("organs", classes=("background", "lung", "heart")),
]
SIZE = (32, 32)
HEAD = RetinaNetHead(channels=32, finest_stride=4, levels=2, anchor_scale=2.0, norm="groupnorm")
BOXES = Detection("things", classes=("dark", "bright"), head=HEAD)
every_task = pytest.mark.parametrize("task", [*TASKS, BOXES], ids=lambda task: task.name)
every_label_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def predict(task: Task, images: torch.Tensor, encoder, head) -> torch.Tensor:
    features = encoder(images.float() / 255 - 0.5)
    return head(features, SIZE, None)


def build(task: Task):
    torch.manual_seed(0)
    encoder = MultiMixEncoder(channels=(8, 16, 32), dropout=0).build(3)
    return encoder, task.build_head(encoder.spec)


def random_prediction(task: Task, n: int, seed: int = 0) -> torch.Tensor:
    size = () if isinstance(task, Classification) else SIZE
    return 3 * torch.randn(n, len(task.classes), *size, generator=torch.Generator().manual_seed(seed))


@every_task
def test_declares_symmetries(task):
    assert set(PHOTOMETRIC) <= set(task.invariant_to)
    assert set(GEOMETRIC) <= {*task.invariant_to, *task.equivariant_to}
    assert not set(task.invariant_to) & set(task.equivariant_to)


def test_masks_move_with_the_image_and_classes_do_not():
    assert set(GEOMETRIC) <= set(TASKS[0].invariant_to)
    assert set(GEOMETRIC) <= set(TASKS[2].equivariant_to)


@every_task
def test_abilities(task):
    assert isinstance(task, PseudoLabels)
    assert isinstance(task, Matchable) == isinstance(task, Segmentation)
    assert isinstance(task, Classified)
    assert isinstance(task, Croppable) != isinstance(task, Classification)


@every_label_task
def test_fake_batch_is_deterministic(task):
    images, targets = task.fake_batch(5, 3, channels=1, size=(24, 32))
    again, same = task.fake_batch(5, 3, channels=1, size=(24, 32))
    other, _ = task.fake_batch(5, 4, channels=1, size=(24, 32))
    assert images.dtype == torch.uint8
    assert images.shape == (5, 1, 24, 32)
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(targets, same, strict=True))
    assert set(task.collate(targets, (24, 32)).labels.unique().tolist()) == set(range(max(2, len(task.classes))))


@every_label_task
def test_pseudo_labels_are_hard_detached_and_fewer_at_higher_thresholds(task):
    pred = random_prediction(task, 4).requires_grad_()
    kept = []
    for threshold in (0.0, 0.6, 0.95, 1.0):
        target = task.pseudo_label(pred, threshold)
        assert not target.weight.requires_grad
        assert set(target.weight.unique().tolist()) <= {0.0, 1.0}
        torch.testing.assert_close(target.labels, task.pseudo_label(pred, 0.0).labels)
        kept.append(target.weight.mean().item())
    assert kept[0] == 1
    assert kept == sorted(kept, reverse=True)
    assert kept[1] > kept[2] > kept[3]


@every_label_task
def test_pseudo_labels_keep_what_reaches_the_threshold_exactly(task):
    # equal logits: probability exactly 1/2 of one or two classes, 1/4 of four
    width = {1: 1, 2: 2, 3: 4}[len(task.classes)]
    size = () if isinstance(task, Classification) else (1, 1)
    pred = torch.zeros(1, width, *size)
    probability = 0.25 if width == 4 else 0.5
    assert task.pseudo_label(pred, probability).weight.item() == 1
    assert task.pseudo_label(pred, probability + 1e-6).weight.item() == 0


def test_one_class_is_predicted_from_one_half_on():
    target = TASKS[2].pseudo_label(torch.tensor([0.0, -1e-3, 4.0, -4.0]).reshape(1, 1, 2, 2), 0.9)
    assert target.labels.flatten().tolist() == [1, 0, 1, 0]
    assert target.weight.flatten().tolist() == [0, 0, 1, 1]


@every_label_task
def test_warp_moves_masks_and_marks_the_outside(task):
    _, targets = task.fake_batch(2, 0, size=SIZE)
    target = task.collate(targets, SIZE)
    shift = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    shift[:, 0, 2] = 4
    moved = task.warp(target, Geometry(shift, SIZE))
    if isinstance(task, Classification):
        assert moved is target
        return
    assert (moved.labels[:, :, :4] == 255).all()
    assert (moved.weight[:, :, :4] == 0).all()
    assert torch.equal(moved.labels[:, :, 4:], target.labels[:, :, :-4])
    assert torch.equal(moved.weight[:, :, 4:], target.weight[:, :, :-4])


def test_warp_ignores_what_was_not_valid_in_the_source():
    target = TASKS[2].pseudo_label(torch.full((1, 1, *SIZE), 5.0), 0.5)
    valid = torch.ones(1, *SIZE).bool()
    valid[:, 8:] = False
    moved = TASKS[2].warp(target, Geometry(torch.eye(3, dtype=torch.float64)[None], SIZE, valid))
    assert (moved.labels[:, 8:] == 255).all()
    assert (moved.weight[:, 8:] == 0).all()
    assert (moved.labels[:, :8] == 1).all()


def test_class_answers_have_names_and_probabilities():
    (answer,) = TASKS[0].decode(torch.tensor([[0.0, torch.tensor(3.0).log()]]), [(8, 8)])
    assert isinstance(answer, ClassAnswer)
    assert answer.name == "pneumonia"
    assert answer.probability == pytest.approx(0.75)
    assert answer.probabilities == pytest.approx({"normal": 0.25, "pneumonia": 0.75})


def test_masks_are_decoded_at_every_source_size():
    pred = torch.full((2, 1, *SIZE), -5.0)
    pred[:, :, :, 16:] = 5
    large, small = TASKS[2].decode(pred, [(64, 128), (8, 16)])
    assert (large.dtype.name, large.shape, small.shape) == ("uint8", (64, 128), (8, 16))
    assert (large[:, :64] == 0).all()
    assert (large[:, 64:] == 1).all()
    assert (small[:, 8:] == 1).all()


def test_label_maps_decode_to_class_indices():
    pred = torch.zeros(1, 3, *SIZE)
    pred[:, 2, :16] = 1
    (mask,) = TASKS[3].decode(pred, [SIZE])
    assert (mask[:15] == 2).all()
    assert (mask[17:] == 0).all()


def test_masks_are_drawn_as_green_and_red_outlines():
    image, labels = torch.full((3, *SIZE), 90, dtype=torch.uint8), torch.zeros(SIZE).long()
    labels[4:12, 4:12], labels[28:] = 1, 255
    pred = torch.full((1, *SIZE), -5.0)
    pred[:, 16:24, 16:24] = 5
    picture = TASKS[2].draw(image, Labels(labels, torch.ones(SIZE)), pred)
    green, red = picture[0, :28] < 90, picture[0, :28] > 90
    assert green.sum() == red.sum() == 28  # the outline of 8x8 pixels; nothing around the ignored rows
    assert (picture[:, 28:] == round(0.15 * 90 + 0.85 * 100)).all()
    assert green[4, 4:12].all()
    assert red[16, 16:24].all()
    assert (picture[:, 6, 6] == 90).all()
    assert (image == 90).all()


def test_masks_without_labels_or_prediction_leave_the_picture_alone():
    image = torch.full((3, *SIZE), 90, dtype=torch.uint8)
    absent = TASKS[2].collate([None], SIZE)
    assert torch.equal(TASKS[2].draw(image, Labels(absent.labels[0], absent.weight[0]), None), image)


def test_classes_are_written_in_green_and_red():
    image = torch.full((3, 64, 128), 90, dtype=torch.uint8)
    label = Labels(torch.tensor(1), torch.tensor(1.0))
    reference = TASKS[0].draw(image, label, None)
    both = TASKS[0].draw(image, label, torch.tensor([2.0, 0.0]))
    green, red = (lambda p: p[1].int() - p[0].int()), (lambda p: p[0].int() - p[1].int())
    assert green(reference).max() > 100
    assert red(reference).max() == 0
    assert min(green(both).max(), red(both).max()) > 100
    assert torch.equal(TASKS[0].draw(image, Labels(torch.tensor(0), torch.tensor(0.0)), None), image)


@every_label_task
def test_heads_have_an_output_per_class(task):
    encoder, head = build(task)
    images, _ = task.fake_batch(2, 0, size=SIZE)
    pred = predict(task, images, encoder, head)
    assert pred.shape == ((2, len(task.classes)) if isinstance(task, Classification) else (2, len(task.classes), *SIZE))
    assert isinstance(encoder.spec, FeatureSpec)
