"""Detection as a task: a value that trains, draws and makes its own data."""

import pickle

import torch
from boxed import boxes_at, found_at
from torch.utils._pytree import tree_map

from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.multitask import Model
from ssmtl.task import Matchable, PseudoLabels
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead

SIZE = (32, 32)
HEAD = RetinaNetHead(channels=32, finest_stride=4, levels=2, anchor_scale=2.0, norm="groupnorm")
TASK = Detection("boxes", classes=("dark", "bright"), head=HEAD)


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


def test_boxes_are_drawn_in_green_and_red():
    image = torch.full((3, 40, 60), 90, dtype=torch.uint8)
    target = tree_map(lambda part: part[0], boxes_at([[(4, 14, 12, 22), (20, 20, 30, 30)]], crowd=[[False, True]]))
    pred = found_at([(40, 20, 48, 28), (30, 30, 40, 40)], [1, 0], [0.9, 0.4], size=(40, 60))
    picture = TASK.draw(image, target, tree_map(lambda part: part[0], pred))
    green, red = picture[0] < 90, picture[0] > 90
    assert green[14, 4:12].all()
    assert green[21, 4:12].all()
    assert red[20:28, 40].all()
    assert red[20:28, 47].all()
    assert (picture[:, 16:20, 6:10] == 90).all()
    assert not (green | red)[22:, :40].any()  # no crowd, nothing below a score of 0.5
    assert (image == 90).all()
    nothing = tree_map(lambda part: part[0], TASK.collate([None], (40, 60)))
    assert torch.equal(TASK.draw(image, nothing, None), image)


def test_predictions_are_drawn_in_the_size_of_the_picture():
    image = torch.full((3, 80, 120), 90, dtype=torch.uint8)
    nothing = tree_map(lambda part: part[0], TASK.collate([None], (80, 120)))
    pred = found_at([(20, 20, 30, 30)], [0], [0.9], size=(40, 60))
    picture = TASK.draw(image, nothing, tree_map(lambda part: part[0], pred))
    assert (picture[0, 40, 40:60] > 90).all()
    assert (picture[0, 59, 40:60] > 90).all()
