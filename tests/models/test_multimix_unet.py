"""The published tables of MultiMix (ISBI supplement, Tables 1 and 2), at 256 pixels."""

import pytest
import torch
from torch import nn

from ssmtl.errors import RecipeError
from ssmtl.models.heads import LinearHead
from ssmtl.models.multimix_unet import MultiMixDecoder, MultiMixEncoder
from ssmtl.task import FeatureSpec

SPEC = FeatureSpec((16, 32, 64, 128, 256), (1, 2, 4, 8, 16))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def shapes(module, kind, *inputs):
    """Return (input, output) as (channels, height, width) of every part of a kind, in the order they ran."""
    seen = []
    hooks = [
        part.register_forward_hook(lambda _, x, y: seen.append((tuple(x[0].shape[1:]), tuple(y.shape[1:]))))
        for part in module.modules()
        if isinstance(part, kind)
    ]
    with torch.no_grad():
        out = module(*inputs)
    for hook in hooks:
        hook.remove()
    return out, seen


def test_encoder_follows_table_1():
    features, convs = shapes(MultiMixEncoder().build(1), nn.Conv2d, torch.rand(1, 1, 256, 256))
    expected = []
    for (inputs, outputs), side in zip(
        [(1, 16), (16, 32), (32, 64), (64, 128), (128, 256)], [256, 128, 64, 32, 16], strict=True
    ):
        expected += [
            ((inputs, side, side), (outputs, side, side)),
            ((outputs, side, side), (outputs, side, side)),
        ]
    assert convs == expected
    assert [tuple(f.shape[1:]) for f in features] == [
        (16, 256, 256), (32, 128, 128), (64, 64, 64), (128, 32, 32), (256, 16, 16),
    ]  # fmt: skip


@pytest.mark.parametrize(("extra", "first"), [(2, 386), (0, 384)])
def test_decoder_follows_table_2(extra, first):
    features = [torch.rand(1, c, 256 // s, 256 // s) for c, s in zip(SPEC.channels, SPEC.strides, strict=True)]
    maps = torch.rand(1, extra, 256, 256) if extra else None
    decoder = MultiMixDecoder().build(SPEC._replace(extra=extra), 1)
    logits, convs = shapes(decoder, nn.Conv2d, features, (256, 256), maps)
    expected = []
    for inputs, outputs, side in [(first, 128, 32), (192, 64, 64), (96, 32, 128), (48, 16, 256)]:
        expected += [
            ((inputs, side, side), (outputs, side, side)),
            ((outputs, side, side), (outputs, side, side)),
        ]
    assert convs == [*expected, ((16, 256, 256), (1, 256, 256))]
    assert logits.shape == (1, 1, 256, 256)


def test_classifier_pools_to_8_pixels_before_the_average():
    features = torch.zeros(1, 256, 16, 16)
    features[:, :, ::2, ::2] = 4.0  # a quarter of the cells: the 2x2 maximum is 4 everywhere, the plain average is 1
    pooled, plain = (LinearHead(max_pool=p).build(SPEC, 2) for p in (True, False))
    for head in (pooled, plain):
        nn.init.ones_(head.linear.weight)
        nn.init.zeros_(head.linear.bias)
    assert pooled([features], (256, 256), None).tolist() == [[1024.0, 1024.0]]
    assert plain([features], (256, 256), None).tolist() == [[256.0, 256.0]]


def test_parameter_counts_by_hand():
    # A block from i to o channels: 9 i o + o, then 9 o o + o.
    assert parameters(MultiMixEncoder().build(1)) == 2480 + 13888 + 55424 + 221440 + 885248
    assert parameters(LinearHead(max_pool=True).build(SPEC, 2)) == 256 * 2 + 2
    assert parameters(MultiMixDecoder().build(SPEC._replace(extra=2), 1)) == 592384 + 147584 + 36928 + 9248 + 17
    assert parameters(MultiMixDecoder().build(SPEC, 1)) == 592384 - 9 * 2 * 128 + 147584 + 36928 + 9248 + 17


def test_block_is_conv_instance_norm_leaky_relu_twice():
    torch.manual_seed(0)
    encoder = MultiMixEncoder(channels=(3, 5)).build(2).eval()
    images = torch.rand(3, 2, 16, 16)
    norm, leaky = nn.InstanceNorm2d(5), nn.LeakyReLU(0.2)
    first, second = (part for part in encoder.blocks[0] if isinstance(part, nn.Conv2d))
    expected = leaky(nn.InstanceNorm2d(3)(second(leaky(nn.InstanceNorm2d(3)(first(images))))))
    features = encoder(images)
    torch.testing.assert_close(features[0], expected)
    first, second = (part for part in encoder.blocks[1] if isinstance(part, nn.Conv2d))
    expected = leaky(norm(second(leaky(norm(first(nn.functional.max_pool2d(expected, 2)))))))
    torch.testing.assert_close(features[1], expected)


def test_skips_are_taken_after_dropout():
    torch.manual_seed(0)
    encoder = MultiMixEncoder(channels=(16, 32)).build(1).train()
    for level in encoder(torch.rand(4, 1, 64, 64)):
        assert (level == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_bridge_is_resized_with_aligned_corners_and_joined_last():
    decoder = MultiMixDecoder().build(FeatureSpec((1, 1, 1), (1, 2, 4), extra=1), 1)
    seen = []
    decoder.blocks[0].register_forward_hook(lambda _, x, y: seen.append(x[0]))
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    decoder([torch.zeros(1, 1, side, side) for side in (4, 2, 1)], (4, 4), ramp)
    assert seen[0].shape == (1, 3, 2, 2)
    assert seen[0][0, 2].tolist() == [[0.0, 3.0], [0.0, 3.0]]  # without aligned corners: 0.5 and 2.5


@pytest.mark.parametrize(("height", "width"), [(250, 256), (256, 72), (16, 16)])
def test_sides_that_do_not_halve_are_refused(height, width):
    with pytest.raises(RecipeError, match=f"{height} x {width} pixels; .* multiples of 16, at least 32"):
        MultiMixEncoder().build(1)(torch.zeros(1, 1, height, width))


@pytest.mark.parametrize("strides", [(2, 4, 8, 16, 32), (1,), (1, 2, 2)])
def test_decoder_refuses_other_strides(strides):
    spec = FeatureSpec((8,) * len(strides), strides)
    with pytest.raises(RecipeError, match=r"strides 1, 2, 4, .*SmpUnetDecoder"):
        MultiMixDecoder().build(spec, 1)
