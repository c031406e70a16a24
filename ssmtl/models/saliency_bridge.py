"""The saliency bridge: what the classifier looks at, handed to the decoder as a map (MELBA Sec. 2.3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from ssmtl.component import Component
from ssmtl.errors import RecipeError
from ssmtl.models.base import EncoderModule

Norm = Literal["none", "minmax", "std"]


class SaliencyBridge(Component):
    """Hands the image and the saliency of the task `source` to the dense head of the task `into`; both are names.

    `norm` scales each image's map: "none" leaves the raw gradient, as published, which is small beside the image;
    "minmax" brings it to [0, 1], usually better behaved; "std" divides it by its standard deviation.
    """

    group = "models"

    source: str = Field(kw_only=False)
    into: str = Field(kw_only=False)
    norm: Norm = "none"


def saliency(
    encoder: EncoderModule, head: nn.Module, images: Float[Tensor, "n c h w"], norm: Norm = "none"
) -> Float[Tensor, "n 1 h w"]:
    """Return |d (largest logit) / d image|, the maximum over channels, without a gradient.

    The pass is in evaluation mode and in float32, whatever the caller's modes and autocast; modes, running statistics,
    and the parameters with their `.grad` stay as they are. Works under `torch.no_grad`; raises RuntimeError under
    `torch.inference_mode`, and RecipeError when the head doesn't return one tensor of logits.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError("saliency needs autograd, but torch.inference_mode() turns it off; use torch.no_grad().")
    if images.shape[0] == 0:  # `len` of a tensor would become a constant when the model is exported
        return images.new_zeros((0, 1, *images.shape[2:]))
    with _evaluating(encoder, head), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        leaf = images.detach().float().clone() if images.is_inference() else images.detach().float()
        leaf.requires_grad_()
        features = functional_call(encoder, _constants(encoder), (leaf,))
        logits = functional_call(head, _constants(head), (features, tuple(leaf.shape[-2:]), None))
        if not isinstance(logits, Tensor):
            raise RecipeError(
                f"a saliency bridge starts from a head that returns one tensor of logits, but got a "
                f"{type(logits).__name__}; point its `source` at a classification task."
            )
        (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), leaf)
    return _normalize(gradient.abs().amax(dim=1, keepdim=True), norm).to(images.dtype)


def _constants(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers in float32, cut off from the module: no gradient and no hook can reach it."""
    tensors = chain(module.named_parameters(), module.named_buffers())
    return {name: t.detach().float() if t.is_floating_point() else t.detach() for name, t in tensors}


@contextmanager
def _evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put every part in evaluation mode, and each back into its own mode: frozen parts stay frozen."""
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training


def _normalize(maps: Float[Tensor, "n 1 h w"], norm: Norm) -> Float[Tensor, "n 1 h w"]:
    if norm == "none":
        return maps
    if norm == "minmax":
        maps = maps - maps.amin(dim=(2, 3), keepdim=True)
        spread = maps.amax(dim=(2, 3), keepdim=True)
    else:
        spread = maps.std(dim=(2, 3), keepdim=True, correction=0)
    return maps / torch.where(spread > 0, spread, 1.0)
