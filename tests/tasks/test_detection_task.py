"""Detection as a task: a value that trains, draws and makes its own data."""

import pickle

import pytest
import torch

from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.multitask import Model
from ssmtl.task import Matchable, PseudoLabels
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead

SIZE = (32, 32)
HEAD = RetinaNetHead(channels=32, finest_stride=4, levels=2, anchor_scale=2.0, norm="groupnorm")
TASK = Detection("boxes", classes=("dark", "bright"), head=HEAD)


def test_background_is_no_class_of_objects():
    with pytest.raises(ValueError, match=r"'background' is what has no box, in .* name classes of objects only"):
        Detection("boxes", classes=("Background", "car"))


def test_is_a_value():
    assert pickle.loads(pickle.dumps(TASK)) == TASK
    assert hash(TASK) == hash(TASK.replace())
    assert isinstance(TASK, PseudoLabels)
    assert not isinstance(TASK, Matchable)


def test_fake_batch_is_deterministic_and_has_empty_images():
    images, targets = TASK.fake_batch(10, 3, channels=1, size=(24, 40))
    again, same = TASK.fake_batch(10, 3, channels=1, size=(24, 40))
    assert images.shape == (10, 1, 24, 40)
    assert torch.equal(images, again)
    assert not torch.equal(images, TASK.fake_batch(10, 4, channels=1, size=(24, 40))[0])
    batch, other = TASK.collate(targets, (24, 40)), TASK.collate(same, (24, 40))
    assert all(torch.equal(a, b) for a, b in zip(batch, other, strict=True))
    assert batch.present.sum(dim=1).tolist() == [1, 2, 1, 2, 0, 2, 1, 2, 1, 0]
    assert set(batch.labels[batch.present].tolist()) == {0, 1}
    assert (batch.weight == 1).all()


def test_fake_boxes_are_where_images_are_bright():
    images, targets = TASK.fake_batch(8, 0, channels=1, size=(40, 64))
    for image, target in zip(images, targets, strict=True):
        inside = torch.zeros(40, 64, dtype=torch.bool)
        for left, top, right, bottom in target.boxes.int().tolist():
            inside[top:bottom, left:right] = True
        assert image[0][inside].min() >= 80 if inside.any() else True
        assert image[0][~inside].max() <= 80


def test_a_small_network_learns_boxes_through_the_shared_model():
    torch.manual_seed(0)
    kind = Classification("kind", classes=("a", "b"))
    model = Model(MultiMixEncoder(channels=(8, 16, 32, 32), dropout=0), channels=3).build([TASK, kind])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    images, targets = TASK.fake_batch(10, 0, size=SIZE)
    target = TASK.collate(targets, SIZE)
    rows = {"boxes": torch.arange(10)}
    for _ in range(100):
        loss = TASK.supervised_loss(model(images / 255, rows)["boxes"], target)
        optimizer.zero_grad()
        (loss.total.sum() / loss.count.sum()).backward()
        optimizer.step()
    assert all(p.grad is not None for p in model.heads["boxes"].parameters())
    metrics = TASK.metrics()
    with torch.no_grad():
        metrics.update(model(images / 255, rows)["boxes"], target)
    values = metrics.compute()
    assert 0.8 < values["map_50"] <= 1
    assert values[TASK.headline] > 0.3


def test_no_rows_connect_the_head_without_a_gradient():
    model = Model(MultiMixEncoder(channels=(4, 4, 8)), channels=3).build([TASK])
    pred = model(torch.rand(2, 3, *SIZE), {"boxes": torch.zeros(0, dtype=torch.int64)})["boxes"]
    loss = TASK.supervised_loss(pred, TASK.collate([], SIZE))
    loss.total.sum().backward()
    grads = [p.grad for p in model.heads["boxes"].parameters()]
    assert all(grad is not None and (grad == 0).all() for grad in grads)
