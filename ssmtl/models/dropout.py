"""Elementwise dropout whose mask costs one random byte per element on a CPU."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

LOWEST = -(2**63)


class Dropout(nn.Module):
    """`nn.Dropout` with the same distribution, several times as fast on a CPU.

    PyTorch's CPU kernel draws a number per element on one thread, which costs more than the convolution before it.
    Where `p` is a multiple of 1/256, 64 random bits decide about 8 elements, exactly. Elsewhere this is `nn.Dropout`.
    Draws follow `torch.manual_seed`, but are not those of `nn.Dropout`.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ValueError(f"dropout got p = {p}; a probability in [0, 1) was expected.")
        self.p = p

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if not self.training or self.p == 0.0:
            return x
        threshold = self.p * 256
        if x.device.type != "cpu" or threshold != int(threshold):
            return functional.dropout(x, self.p)
        return _masked(x, _keep(x, int(threshold)), 1.0 / (1.0 - self.p))

    def extra_repr(self) -> str:
        """Show the probability, as `nn.Dropout` does."""
        return f"p={self.p}"


def _keep(x: Float[Tensor, "..."], threshold: int) -> Bool[Tensor, "..."]:
    """Return True with probability 1 - threshold / 256."""
    bits = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(LOWEST, None)
    kept = bits.view(torch.uint8)[: x.numel()] >= threshold
    return kept.view(x.shape)


class _Masked(torch.autograd.Function):
    """x * keep * scale, which keeps a byte per element for the backward pass instead of four."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(keep)
        ctx.scale = scale
        return _apply(x, keep, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (keep,) = ctx.saved_tensors
        return _apply(grads[0], keep, ctx.scale), None, None


def _apply(x: Float[Tensor, "..."], keep: Bool[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
    # Multiplying by booleans goes through type promotion and takes twice as long as converting them first.
    return keep.view(torch.int8).to(x.dtype).mul_(x).mul_(scale)


def _masked(x: Float[Tensor, "..."], keep: Bool[Tensor, "..."], scale: float) -> Float[Tensor, "..."]:
    out: Tensor = _Masked.apply(x, keep, scale)
    return out
