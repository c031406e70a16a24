import pytest
import torch

from ssmtl.errors import RecipeError
from ssmtl.models.heads import LinearHead, SmpUnetDecoder
from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.task import FeatureSpec

PYRAMID = FeatureSpec((4, 6, 8), (4, 8, 16))


def maps(spec, height, width):
    return [torch.rand(2, c, height // s, width // s) for c, s in zip(spec.channels, spec.strides, strict=True)]


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize(
    "encoder", [TimmEncoder("resnet18"), TimmEncoder("convnext_atto"), MultiMixEncoder(channels=(2, 3, 4, 5, 6))]
)
def test_unet_decoder_gives_logits_at_the_size_of_the_image(encoder, extra):
    built = encoder.build(3)
    head = SmpUnetDecoder(channels=(8, 7, 6, 5, 4)).build(built.spec._replace(extra=extra), 3)
    handed = torch.rand(2, extra, 64, 96) if extra else None
    assert head(built(torch.rand(2, 3, 64, 96)), (64, 96), handed).shape == (2, 3, 64, 96)


def test_unet_decoder_learns_from_the_bridge_and_from_every_level():
    torch.manual_seed(0)
    head = SmpUnetDecoder(channels=(8, 8, 8), norm="identity").build(PYRAMID._replace(extra=2), 1)
    features = [level.requires_grad_() for level in maps(PYRAMID, 32, 32)]
    extra = torch.rand(2, 2, 32, 32, requires_grad=True)
    head(features, (32, 32), extra).square().sum().backward()
    assert all(tensor.grad.abs().sum() > 0 for tensor in (*features, extra))


def test_unet_decoder_takes_odd_sizes():
    encoder = TimmEncoder("resnet18").build(1)
    head = SmpUnetDecoder().build(encoder.spec, 1)
    assert head(encoder(torch.rand(2, 1, 70, 45)), (70, 45), None).shape == (2, 1, 70, 45)


def test_unet_decoder_refuses_what_does_not_fit():
    with pytest.raises(RecipeError, match="the encoder returns one"):
        SmpUnetDecoder().build(FeatureSpec((8,), (16,)), 1)
    with pytest.raises(RecipeError, match=r"channels=\(8, 8\), but the encoder returns 3 levels"):
        SmpUnetDecoder(channels=(8, 8)).build(PYRAMID, 1)


def test_linear_head_is_a_line_through_the_mean():
    head = LinearHead().build(FeatureSpec((4, 2), (1, 2)), 1)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[2.0, -1.0]]))
        head.linear.bias.fill_(0.5)
    coarse = torch.tensor([[[[1.0, 3.0]], [[4.0, 0.0]]]])  # means 2 and 2
    assert head([torch.zeros(1, 4, 2, 4), coarse], (2, 4), None).item() == pytest.approx(2 * 2 - 2 + 0.5)


def test_linear_head_refuses_a_bridge():
    with pytest.raises(RecipeError, match="point the bridge's `into` at a task with a dense head"):
        LinearHead().build(PYRAMID._replace(extra=2), 2)


def test_linear_head_starts_as_pytorch_does_or_as_glorot():
    spec = FeatureSpec((300,), (4,))
    torch.manual_seed(0)
    plain = torch.nn.Linear(300, 100)
    torch.manual_seed(0)
    default = LinearHead().build(spec, 100).linear
    assert torch.equal(default.weight, plain.weight)
    assert torch.equal(default.bias, plain.bias)
    linear = LinearHead(init="glorot").build(spec, 100).linear
    bound = (6 / (300 + 100)) ** 0.5
    assert 0.99 * bound < linear.weight.abs().max() <= bound
    assert linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not linear.bias.any()
