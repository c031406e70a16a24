"""DeepLabv3+ against its published layers, and beside RetinaNet's pyramid on one encoder."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ssmtl.errors import RecipeError
from ssmtl.models.deeplab import DeepLabV3Plus
from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.multitask import Model, batch_statistics
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.task import FeatureSpec
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.segmentation import Segmentation

RESNET50 = (64, 256, 512, 1024, 2048)
CLASSES = ("road", "car", "tree")
SMALL = DeepLabV3Plus(channels=32, low_level_channels=32)


def dilations(head):
    convs = [part for part in head.pyramid.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    return tuple(conv.dilation[0] for conv in convs if conv.dilation[0] > 1)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def maps(spec, height, width, n=2):
    return [torch.rand(n, c, height // s, width // s) for c, s in zip(spec.channels, spec.strides, strict=True)]


@pytest.mark.parametrize(
    ("strides", "rates"),
    [((2, 4, 8, 8, 8), (12, 24, 36)), ((2, 4, 8, 16, 16), (6, 12, 18)), ((2, 4, 8, 16, 32), (3, 6, 9))],
)
def test_rates_follow_the_output_stride(strides, rates):
    spec = FeatureSpec((4, 4, 4, 4, 8), strides)
    assert dilations(SMALL.build(spec, 2)) == rates
    assert dilations(SMALL.replace(rates=(2, 4, 5)).build(spec, 2)) == (2, 4, 5)


def test_parameter_counts_by_hand():
    # A block is a convolution without bias and a scale and a shift per channel.
    spec = FeatureSpec(RESNET50, (2, 4, 8, 16, 16))
    pyramid = 2 * (2048 * 256 + 512) + 3 * (9 * 2048 * 256 + 512) + 5 * 256 * 256 + 512
    reduce = 256 * 256 + 512
    fuse = 9 * 512 * 256 + 512 + 9 * 256 * 256 + 512
    logits = 256 * 19 + 19
    assert parameters(DeepLabV3Plus().build(spec, 19)) == pyramid + reduce + fuse + logits
    narrow = DeepLabV3Plus(low_level_channels=48).build(spec, 19)
    assert parameters(narrow) == pyramid + 256 * 48 + 96 + 9 * 304 * 256 + 512 + 9 * 256 * 256 + 512 + logits


@pytest.mark.parametrize(
    ("encoder", "stride", "channels"),
    [
        (TimmEncoder("test_resnet", output_stride=16), 4, 32),
        (TimmEncoder("test_convnext"), 4, 24),
        (MultiMixEncoder(channels=(2, 3, 4, 5, 6)), 4, 4),
    ],
)
def test_low_level_features_are_those_of_stride_4_and_logits_have_the_size_of_the_image(encoder, stride, channels):
    built = encoder.build(3)
    spec = built.spec
    index = SMALL.low_level(spec)
    assert (spec.strides[index], spec.channels[index]) == (stride, channels)
    head, seen = SMALL.build(spec, 3), []
    head.logits.register_forward_hook(lambda _, x, y: seen.append(tuple(y.shape)))
    assert head(built(torch.rand(2, 3, 64, 96)), (64, 96), None).shape == (2, 3, 64, 96)
    assert seen == [(2, 3, 16, 24)]


def test_without_stride_4_the_next_coarser_level_is_joined():
    assert SMALL.low_level(FeatureSpec((8, 8, 8), (2, 8, 16))) == 1
    assert SMALL.low_level(FeatureSpec((8, 8, 8), (4, 4, 8))) == 0


def test_logits_are_resized_without_aligned_corners():
    head = SMALL.build(FeatureSpec((1, 1), (4, 8)), 1).eval()
    head.logits = nn.Identity()
    head.fuse = nn.Identity()
    head.reduce = nn.Identity()
    head.pyramid = nn.Identity()
    ramp = torch.tensor([[[[0.0, 1.0]]]])
    out = head([ramp, torch.ones(1, 1, 1, 1)], (1, 4), None)
    torch.testing.assert_close(out[0, 1, 0], torch.tensor([0.0, 0.25, 0.75, 1.0]))  # aligned: 0, 1/3, 2/3, 1
    assert (out[0, 0] == 1).all()  # the pyramid's maps come first


@pytest.mark.parametrize("norm", ["batchnorm", "groupnorm"])
def test_the_norm_is_one_everywhere(norm):
    parts = list(SMALL.replace(norm=norm).build(FeatureSpec((4, 8), (4, 16)), 2).modules())
    groups = [part for part in parts if isinstance(part, nn.GroupNorm)]
    batches = [part for part in parts if isinstance(part, nn.BatchNorm2d)]
    # five branches of the pyramid, its projection, the low-level block and two that fuse
    assert (len(batches), len(groups)) == ((9, 0) if norm == "batchnorm" else (0, 9))


def test_dropout_takes_whole_channels_and_only_in_training():
    torch.manual_seed(0)
    head = SMALL.replace(dropout=0.5).build(FeatureSpec((4, 8), (4, 16)), 2).train()
    seen = []
    head.pyramid.register_forward_hook(lambda _, x, y: seen.append(y.flatten(2)))
    inputs = maps(FeatureSpec((4, 8), (4, 16)), 64, 64)
    head(inputs, (64, 64), None)
    dropped = (seen[0] == 0).all(dim=2).float().mean().item()
    assert 0.25 < dropped < 0.75
    head.eval()
    torch.testing.assert_close(head(inputs, (64, 64), None), head(inputs, (64, 64), None))


@pytest.mark.parametrize("norm", ["batchnorm", "groupnorm"])
def test_a_batch_of_one_row_trains(norm):
    torch.manual_seed(0)
    task = Segmentation("street", classes=CLASSES, head=SMALL.replace(norm=norm))
    model = Model(TimmEncoder("test_resnet", output_stride=16), channels=3).build([task]).train()
    with batch_statistics(model, "update"):
        out = model(torch.rand(1, 3, 64, 64), {"street": torch.arange(1)})["street"]
    assert out.shape == (1, 3, 64, 64)
    out.square().mean().backward()
    grads = [p.grad for p in model.heads["street"].parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("output_stride", [8, 16, 32, None])
def test_shares_an_encoder_with_retinanet(output_stride):
    torch.manual_seed(0)
    tasks = [
        Segmentation("street", classes=CLASSES, head=SMALL),
        Detection("things", classes=("car",), head=RetinaNetHead(channels=16)),
    ]
    model = Model(TimmEncoder("test_resnet", output_stride=output_stride), channels=3).build(tasks).train()
    seen = []
    model.encoder.register_forward_hook(lambda _, x, y: seen.append(len(x[0])))
    out = model(torch.rand(2, 3, 128, 192), {name: torch.arange(2) for name in ("street", "things")})
    assert seen == [2]
    assert out["street"].shape == (2, 3, 128, 192)
    cells = sum(-(-128 // stride) * -(-192 // stride) for stride in (8, 16, 32, 64, 128))
    assert out["things"].logits.shape == (2, 9 * cells, 1)
    sum(part.square().mean() for part in (out["street"], out["things"].logits, out["things"].deltas)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in model.heads["street"].named_parameters())


def test_works_on_a_resnet50():
    task = Segmentation("street", classes=CLASSES, head=DeepLabV3Plus())
    model = Model(TimmEncoder("resnet50", output_stride=8), channels=3, normalize="imagenet").build([task]).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64), {"street": torch.arange(1)})["street"].shape == (1, 3, 64, 64)


def test_what_does_not_fit_is_refused_in_a_sentence():
    with pytest.raises(RecipeError, match=r"has strides \(16,\); choose a pyramid"):
        SMALL.build(FeatureSpec((8,), (16,)), 1)
    with pytest.raises(RecipeError, match=r"has strides \(1, 2, 4\); choose a pyramid"):
        SMALL.build(FeatureSpec((8, 8, 8), (1, 2, 4)), 1)
    with pytest.raises(RecipeError, match="a bridge hands maps to DeepLabV3Plus, which joins none"):
        SMALL.build(FeatureSpec((4, 8), (4, 16), extra=2), 1)
    with pytest.raises(ValidationError, match="makes 32 groups, which 48 channels don't divide into"):
        DeepLabV3Plus(low_level_channels=48, norm="groupnorm")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        DeepLabV3Plus(rates=(0, 1, 2))


def test_is_a_value_with_a_round_trip():
    head = DeepLabV3Plus(rates=(2, 4, 6))
    assert DeepLabV3Plus.model_validate_json(head.model_dump_json()) == head
