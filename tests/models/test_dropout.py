import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmtl.models.dropout import Dropout

N = 1 << 20


@pytest.mark.parametrize("p", [0.25, 0.5, 1 / 256, 0.3])
def test_rate_and_scale(p):
    torch.manual_seed(0)
    out = Dropout(p).train()(torch.ones(N))
    kept = out != 0
    assert torch.allclose(out[kept], torch.tensor(1 / (1 - p)))
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=5 * (p * (1 - p) / N) ** 0.5)


def test_every_byte_of_a_draw_is_unbiased_and_neighbors_are_independent():
    # 64-bit draws of PyTorch leave the sign bit 0 by default: one element in eight would be dropped twice as often.
    torch.manual_seed(0)
    kept = (Dropout(0.25).train()(torch.ones(N)) != 0).float().view(-1, 8)
    assert (kept.mean(dim=0) - 0.75).abs().max() < 5 * (0.1875 / len(kept)) ** 0.5
    off_diagonal = torch.corrcoef(kept.T) - torch.eye(8)
    assert off_diagonal.abs().max() < 5 / len(kept) ** 0.5


def test_follows_the_seed():
    drop, x = Dropout(0.25).train(), torch.ones(1000)
    torch.manual_seed(3)
    first, second = drop(x), drop(x)
    torch.manual_seed(3)
    assert torch.equal(drop(x), first)
    assert not torch.equal(first, second)


def test_gradient_uses_the_mask_of_the_forward_pass():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    out = Dropout(0.25).train()(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient, out.ne(0).double() / 0.75)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_shape_and_dtype(dtype):
    x = torch.randn(2, 3, 5, 7).to(dtype).contiguous(memory_format=torch.channels_last)
    out = Dropout(0.25).train()(x)
    assert (out.shape, out.dtype) == (x.shape, dtype)
    torch.testing.assert_close(out[out != 0], x[out != 0] / 0.75)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 5), max_size=3), st.booleans())
def test_takes_any_shape(shape, transposed):
    x = torch.ones(shape)
    out = Dropout(0.25).train()(x.T if transposed and x.dim() == 2 else x)
    assert out.numel() == x.numel()
    assert set(out.unique().tolist()) <= {0.0, torch.tensor(1 / 0.75).item()}


def test_is_the_identity_outside_of_training():
    x = torch.randn(10)
    assert Dropout(0.25).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"a probability in \[0, 1\) was expected"):
        Dropout(p)
