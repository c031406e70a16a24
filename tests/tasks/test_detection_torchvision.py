"""Loss and detections against torchvision's own RetinaNet, on the same weights, boxes and anchors."""

import pytest
import torch
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen

from ssmtl.task import FeatureSpec
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.detection_losses import detection_loss
from ssmtl_tasks.detection_targets import BoxTargets

SPEC = FeatureSpec((4, 6, 8, 10), (4, 8, 16, 32))
SIZE = (256, 384)
ROWS = 3
TASK = Detection("cars", classes=("car", "person", "bus"), head=RetinaNetHead(channels=8), per_level=50, detections=40)


class Backbone(nn.Module):
    out_channels = 8


@pytest.fixture(scope="module")
def pair():
    """Return our head's prediction of 3 rows, torchvision's model with its weights, and that head's outputs."""
    torch.manual_seed(0)
    head = TASK.build_head(SPEC)
    with torch.no_grad():
        for name, weight in head.predictor.named_parameters():
            weight.normal_(std=0.1 if name.endswith("weight") else 0.3)
    sizes = zip(SPEC.channels, SPEC.strides, strict=True)
    features = [3 * torch.randn(ROWS, c, SIZE[0] // s, SIZE[1] // s) for c, s in sizes]
    options = {"score_thresh": TASK.score_threshold, "nms_thresh": TASK.nms}
    options |= {"topk_candidates": TASK.per_level, "detections_per_img": TASK.detections}
    theirs = RetinaNet(Backbone(), 3, anchor_generator=_default_anchorgen(), **options)
    theirs.head.load_state_dict(head.predictor.state_dict())
    theirs.head.regression_head._loss_type = "giou"
    with torch.no_grad():
        pred, maps = head(features, SIZE, None), head.maps(features)
    outputs = {name: part.detach().requires_grad_() for name, part in theirs.head(maps).items()}
    anchors = theirs.anchor_generator(ImageList(torch.zeros(ROWS, 3, *SIZE), [SIZE] * ROWS), maps)
    return pred, theirs, outputs, anchors


def boxes_of(counts, seed=1):
    """Return random boxes, as a target of ours and in torchvision's form; small, large, elongated and nested ones."""
    generator = torch.Generator().manual_seed(seed)
    targets, theirs = [], []
    for count in counts:
        start = torch.rand(count, 2, generator=generator) * torch.tensor([SIZE[1] - 8.0, SIZE[0] - 8.0])
        sides = 4 * 2 ** (6 * torch.rand(count, 2, generator=generator))
        end = (start + sides).minimum(torch.tensor([float(SIZE[1]), float(SIZE[0])]))
        boxes, labels = torch.cat([start, end], dim=1), torch.randint(0, 3, (count,), generator=generator)
        real = torch.ones(count, dtype=torch.bool)
        targets.append(BoxTargets(boxes, labels, real, ~real, torch.tensor(1.0)))
        theirs.append({"boxes": boxes, "labels": labels})
    return TASK.collate(targets, SIZE), theirs


def test_anchors_and_outputs_are_torchvisions(pair):
    pred, _, outputs, anchors = pair
    assert torch.equal(pred.anchors, torch.stack(anchors))
    assert torch.equal(pred.logits, outputs["cls_logits"])
    assert torch.equal(pred.deltas, outputs["bbox_regression"])


@pytest.mark.parametrize("counts", [(5, 0, 23), (1, 1, 1), (0, 0, 0), (40, 2, 7)])
def test_loss_and_gradient_are_torchvisions(pair, counts):
    pred, theirs, outputs, anchors = pair
    target, their_targets = boxes_of(counts)
    found = theirs.compute_loss(their_targets, outputs, anchors)
    wanted = found["classification"] + found["bbox_regression"]
    parts = outputs["cls_logits"], outputs["bbox_regression"]
    wanted_slopes = torch.autograd.grad(wanted, parts)
    logits, deltas = (part.detach().requires_grad_() for part in (pred.logits, pred.deltas))
    total, positives = detection_loss(pred._replace(logits=logits, deltas=deltas), target, background=True)
    # torchvision takes the mean over images of each image's own ratio
    loss = (total / positives.clamp(min=1)).mean()
    slopes = torch.autograd.grad(loss, (logits, deltas))
    assert (positives > 0).tolist() == [count > 0 for count in counts]
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-5)
    for ours, other in zip(slopes, wanted_slopes, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-7)


def test_detections_are_torchvisions(pair):
    pred, theirs, outputs, anchors = pair
    levels = pred.levels[0].tolist()
    split = {name: list(part.detach().split(levels, dim=1)) for name, part in outputs.items()}
    wanted = theirs.postprocess_detections(split, [list(part.split(levels)) for part in anchors], [SIZE] * ROWS)
    answers = TASK.decode(pred, [SIZE] * ROWS)
    for answer, other in zip(answers, wanted, strict=True):
        assert len(answer.scores) == TASK.detections
        assert answer.labels.tolist() == other["labels"].tolist()
        torch.testing.assert_close(torch.from_numpy(answer.boxes), other["boxes"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(answer.scores), other["scores"], rtol=1e-5, atol=1e-5)
