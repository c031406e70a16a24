"""The head on encoders of several strides."""

import pytest
import torch
from pydantic import ValidationError

from ssmtl.errors import RecipeError
from ssmtl.models.heads import LinearHead
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.task import FeatureSpec
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead

SMALL = RetinaNetHead(channels=8)
PYRAMID = FeatureSpec((4, 6, 8, 10), (4, 8, 16, 32))


def predict(head, spec, size, outputs=3, rows=2):
    built = head.build(spec, outputs)
    cells = [(-(-size[0] // s), -(-size[1] // s)) for s in spec.strides]
    return built([torch.randn(rows, c, *hw) for c, hw in zip(spec.channels, cells, strict=True)], size, None)


def centers(pred, level):
    start, stop = sum(pred.levels[0, :level].tolist()), sum(pred.levels[0, : level + 1].tolist())
    anchors = pred.anchors[0, start:stop:9]
    return (anchors[:, :2] + anchors[:, 2:]) / 2


@pytest.mark.parametrize(
    "strides",
    [(4, 8, 16, 32), (2, 4, 8, 16, 32), (2, 4, 8, 16, 16), (2, 4, 8, 8, 8), (8,), (4, 8, 16, 32, 64, 128, 256)],
)
def test_levels_do_not_depend_on_the_encoders_strides(strides):
    spec = FeatureSpec(tuple(range(4, 4 + len(strides))), strides)
    pred = predict(SMALL, spec, (256, 128))
    cells = [32 * 16, 16 * 8, 8 * 4, 4 * 2, 2 * 1]
    assert pred.levels.tolist() == [[9 * count for count in cells]] * 2
    assert pred.size.tolist() == [[256, 128]] * 2
    assert pred.logits.shape == (2, 9 * sum(cells), 3)
    assert pred.deltas.shape == pred.anchors.shape == (2, 9 * sum(cells), 4)


def test_a_dilated_encoders_deepest_features_are_used():
    assert SMALL.from_encoder(FeatureSpec((1, 2, 3, 4, 5), (2, 4, 8, 16, 16))) == (2, 4)
    assert SMALL.from_encoder(FeatureSpec((1, 2, 3, 4, 5), (2, 4, 8, 8, 8))) == (4,)


@pytest.mark.parametrize("output_stride", [8, 16, None])
def test_runs_on_timm(output_stride):
    encoder = TimmEncoder("resnet18", output_stride=output_stride).build(3).eval()
    head = SMALL.build(encoder.spec, 2)
    pred = head(encoder(torch.rand(1, 3, 96, 128)), (96, 128), None)
    assert pred.levels.tolist() == [[9 * n for n in (12 * 16, 6 * 8, 3 * 4, 2 * 2, 1)]]
    pred.logits.sum().backward()
    assert all(part.grad is not None for part in head.pyramid.parameters())


def test_anchors_stand_a_stride_apart_where_sizes_do_not_divide():
    # 200 pixels are 3.1 cells of stride 64: four cells, which still stand 64 pixels apart, not 200 // 4 = 50
    pred = predict(SMALL, PYRAMID, (200, 328), rows=1)
    assert pred.levels[0].tolist() == [9 * n for n in (25 * 41, 13 * 21, 7 * 11, 4 * 6, 2 * 3)]
    assert centers(pred, 3)[:, 1].unique().tolist() == [0, 64, 128, 192]
    assert centers(pred, 4)[:, 0].unique().tolist() == [0, 128, 256]


def test_anchors_have_the_published_sizes():
    pred = predict(SMALL, PYRAMID, (256, 256), rows=1)
    sides = (pred.anchors[0, :, 2:] - pred.anchors[0, :, :2])[:9]
    squares = sides[sides[:, 0] == sides[:, 1]]
    assert squares[:, 0].tolist() == [32, 40, 50]  # 32 x 2^(0, 1/3, 2/3)
    # heights over widths, in whole half sides
    torch.testing.assert_close(
        sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1.0, 2.0]).repeat_interleave(3), atol=0.1, rtol=0
    )
    small = RetinaNetHead(channels=8, finest_stride=4, levels=2, octaves=1, ratios=(1.0,), anchor_scale=3.0)
    assert small.anchor_sides() == ((12,), (24,))


def test_scores_start_at_the_prior():
    pred = predict(SMALL.replace(norm="groupnorm", channels=32), PYRAMID, (64, 64))
    assert pred.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.3)


def test_refuses_what_does_not_fit():
    with pytest.raises(RecipeError, match=r"finest_stride=8\) needs features at that stride.*\(4, 16\)"):
        SMALL.build(FeatureSpec((4, 4), (4, 16)), 1)
    with pytest.raises(RecipeError, match=r"strides double from 8 on, but the encoder has strides \(8, 32\)"):
        SMALL.build(FeatureSpec((4, 4), (8, 32)), 1)
    with pytest.raises(RecipeError, match="point the bridge's `into` at a task with a dense head"):
        SMALL.build(PYRAMID._replace(extra=2), 1)
    with pytest.raises(ValidationError, match="32 groups, which 8 channels don't divide into"):
        SMALL.replace(norm="groupnorm")


def test_a_detection_takes_no_head_without_boxes():
    with pytest.raises(ValidationError, match="BoxHead"):
        Detection("d", classes=("a",), head=LinearHead())
