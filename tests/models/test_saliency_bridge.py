"""The saliency map, and each of the ways in which the reference's own gets it wrong (MELBA Sec. 2.3 and its code)."""

import pytest
import torch
from torch import nn

from ssmtl.errors import RecipeError
from ssmtl.models.base import EncoderModule
from ssmtl.models.heads import LinearHead
from ssmtl.models.multimix_unet import MultiMixEncoder
from ssmtl.models.saliency_bridge import saliency
from ssmtl.task import FeatureSpec


class Plain(EncoderModule):
    """Passes images on as the only feature map, after some layers."""

    def __init__(self, *layers):
        super().__init__()
        self.spec = FeatureSpec((2,), (1,))
        self.layers = nn.Sequential(*layers)

    def forward(self, images):
        return [self.layers(images)]


class Scores(nn.Module):
    """Logit k is the sum over pixels of `weight[k] * x`, over channels and rows of an image."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, features, size, extra):
        return torch.einsum("kc,nchw->nk", self.weight, features[-1])


@pytest.fixture
def network():
    torch.manual_seed(0)
    encoder = MultiMixEncoder(channels=(4, 6)).build(1)
    return encoder.train(), LinearHead().build(encoder.spec, 2).train()


@pytest.fixture
def images():
    return torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def test_is_the_absolute_gradient_of_the_larger_logit_and_the_maximum_over_channels():
    # Logits at all-ones images of 2x2 pixels: 4 * (1 - 3) = -8 and 4 * (-2 + 0.5) = -6; the second is larger.
    head = Scores([[1.0, -3.0], [-2.0, 0.5]])
    assert torch.equal(saliency(Plain(), head, torch.ones(1, 2, 2, 2)), torch.full((1, 1, 2, 2), 2.0))
    # At minus ones the first is: its gradient is (1, -3).
    assert torch.equal(saliency(Plain(), head, -torch.ones(1, 2, 2, 2)), torch.full((1, 1, 2, 2), 3.0))


def test_agrees_with_finite_differences_of_the_logit(network, images):
    encoder, head = (part.eval().double() for part in network)
    images, step = images.double(), 1e-6
    maps = saliency(encoder.float(), head.float(), images.float())
    encoder.double(), head.double()
    for y, x in [(0, 0), (7, 9), (15, 3)]:
        moved = images.clone()
        moved[:, 0, y, x] += step
        with torch.no_grad():
            after, before = (head(encoder(each), (16, 16), None).amax(dim=1) for each in (moved, images))
        slope = (after - before) / step
        torch.testing.assert_close(maps[:, 0, y, x].double(), slope.abs(), rtol=1e-3, atol=1e-7)


def test_leaves_gradients_that_are_being_accumulated(network, images):
    parameters = [p for part in network for p in part.parameters()]
    for p in parameters:
        p.grad = torch.full_like(p, 7.0)
    parameters[0].requires_grad_(False)
    saliency(*network, images)
    assert all(torch.equal(p.grad, torch.full_like(p, 7.0)) for p in parameters)
    assert [p.requires_grad for p in parameters] == [False] + [True] * (len(parameters) - 1)


def test_keeps_no_graph(network, images):
    maps = saliency(*network, images.requires_grad_())
    assert not maps.requires_grad
    assert images.grad is None


def test_runs_without_dropout_and_restores_every_mode(network, images):
    encoder, head = network
    encoder.blocks[1].eval()
    modes = [part.training for part in (*encoder.modules(), *head.modules())]
    assert True in modes
    assert False in modes
    first = saliency(encoder, head, images)
    assert torch.equal(first, saliency(encoder, head, images))
    assert [part.training for part in (*encoder.modules(), *head.modules())] == modes
    assert torch.equal(first, saliency(encoder.eval(), head.eval(), images))


def test_restores_modes_after_an_exception(network, images):
    encoder, head = network

    def fail(*_):
        raise KeyError("inside")

    head.register_forward_hook(fail)
    with pytest.raises(KeyError, match="inside"):
        saliency(encoder, head, images)
    assert encoder.training
    assert all(part.training for part in (*encoder.modules(), *head.modules()))


def test_stays_in_evaluation_mode_when_testing(network, images):
    encoder, head = network[0].eval(), network[1].eval()
    saliency(encoder, head, images)
    assert not any(part.training for part in (*encoder.modules(), *head.modules()))


def test_works_under_no_grad(network, images):
    expected = saliency(*network, images)
    with torch.no_grad():
        maps = saliency(*network, images)
        assert not torch.is_grad_enabled()
    assert torch.equal(maps, expected)
    assert maps.abs().sum() > 0


def test_refuses_inference_mode_and_takes_its_tensors_outside(network, images):
    with torch.inference_mode():
        made = images * 1.0
        with pytest.raises(RuntimeError, match=r"turns it off; use torch\.no_grad\(\)"):
            saliency(*network, made)
    assert torch.equal(saliency(*network, made), saliency(*network, images))


def test_runs_in_float32_under_autocast_and_with_low_precision_weights(network, images):
    expected = saliency(*network, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(saliency(*network, images), expected)
    seen = []
    low = [part.bfloat16() for part in network]
    low[1].register_forward_hook(lambda _, x, y: seen.append(y.dtype))
    assert saliency(*low, images.bfloat16()).dtype == torch.bfloat16
    assert seen == [torch.float32]
    assert {p.dtype for part in low for p in part.parameters()} == {torch.bfloat16}


def test_leaves_running_statistics(images):
    encoder = Plain(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    saliency(encoder, Scores([[1.0, -3.0], [-2.0, 0.5]]), images)
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())
    assert before["layers.1.num_batches_tracked"] == 0


def test_computes_no_gradients_of_weights(images):
    encoder, head = Plain(nn.Conv2d(1, 2, 3, padding=1)), Scores([[1.0, -3.0], [-2.0, 0.5]])
    seen = []
    for p in (*encoder.parameters(), *head.parameters()):
        p.register_hook(seen.append)
    saliency(encoder, head, images)
    assert seen == []


def test_no_rows_give_no_maps(network):
    assert saliency(*network, torch.zeros(0, 1, 16, 12)).shape == (0, 1, 16, 12)


def test_norms():
    head, images = Scores([[1.0], [0.0]]), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])

    class Square(Plain):
        def forward(self, images):
            return [images**2 / 2]  # the gradient is the image itself

    assert torch.equal(saliency(Square(), head, images), images)
    third = torch.tensor([[[[0.0, 1 / 3], [2 / 3, 1.0]]]])
    torch.testing.assert_close(saliency(Square(), head, images, "minmax"), third)
    # The variance of 1, 2, 3, 4 over the whole image is 1.25.
    torch.testing.assert_close(saliency(Square(), head, images, "std"), images / 1.25**0.5)
    flat = torch.full((1, 1, 2, 2), 0.5)
    assert torch.equal(saliency(Square(), head, flat, "minmax"), torch.zeros(1, 1, 2, 2))
    assert torch.equal(saliency(Square(), head, flat, "std"), flat)


def test_refuses_a_head_without_logits(network, images):
    class Boxes(nn.Module):
        def forward(self, features, size, extra):
            return (features[-1], features[-1])

    with pytest.raises(RecipeError, match="got a tuple; point its `source` at a classification task"):
        saliency(network[0], Boxes(), images)
