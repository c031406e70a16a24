"""Heads that work on any encoder: a linear classifier, and the U-Net decoder of segmentation-models-pytorch."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ssmtl.errors import RecipeError
from ssmtl.models.base import Head
from ssmtl.task import FeatureSpec


class LinearHead(Head):
    """Global average of the coarsest features, then one linear layer; `max_pool` puts a 2x2 max pool first.

    MultiMix's classifier has the max pool (ISBI supplement, Table 1: 16 x 16 to 8 x 8 at 256 pixels). `init` draws the
    weights: PyTorch's own way, or Glorot's uniform one with a bias of zero, as MixMatch's program has it. Raises
    RecipeError when a bridge leads here: there is nowhere to join a map.
    """

    max_pool: bool = False
    init: Literal["torch", "glorot"] = "torch"

    def build(self, features: FeatureSpec, outputs: int) -> nn.Module:
        if features.extra:
            raise RecipeError(
                "a bridge hands maps to LinearHead, which has no maps to join them with; "
                "point the bridge's `into` at a task with a dense head such as MultiMixDecoder."
            )
        head = _Linear(features.channels[-1], outputs, max_pool=self.max_pool)
        if self.init == "glorot":
            nn.init.xavier_uniform_(head.linear.weight)
            nn.init.zeros_(head.linear.bias)
        return head


class SmpUnetDecoder(Head):
    """The U-Net decoder of segmentation-models-pytorch, then a 3x3 convolution to the logits.

    `channels` are the widths from coarse to fine; the finest that the encoder has no level for are left out. What a
    bridge hands over is resized to the second coarsest level and joined with that skip, as in MultiMix. Raises
    RecipeError when the encoder has fewer than two levels.
    """

    channels: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (256, 128, 64, 32, 16)
    norm: Literal["batchnorm", "instancenorm", "identity"] = "batchnorm"

    def build(self, features: FeatureSpec, outputs: int) -> nn.Module:
        levels = len(features.channels)
        if levels < 2:
            raise RecipeError(
                "SmpUnetDecoder needs feature maps at two or more levels, but the encoder returns one; "
                "choose a pyramid such as TimmEncoder(name='resnet18')."
            )
        if len(self.channels) < levels:
            raise RecipeError(
                f"SmpUnetDecoder has channels={self.channels}, but the encoder returns {levels} levels of features; "
                "give a width for each level."
            )
        return _SmpUnet(features, self.channels[:levels], self.norm, outputs)


class _Linear(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, max_pool: bool) -> None:
        super().__init__()
        self.max_pool = max_pool
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, features: list[Tensor], size: tuple[int, int], extra: None) -> Float[Tensor, "n outputs"]:
        x = features[-1]
        if self.max_pool:
            x = functional.max_pool2d(x, 2)
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


class _SmpUnet(nn.Module):
    def __init__(self, features: FeatureSpec, channels: tuple[int, ...], norm: str, outputs: int) -> None:
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        super().__init__()
        *finer, joined, coarsest = features.channels
        # The decoder drops its first input, a skip at full resolution that timm's encoders don't have.
        levels = (0, *finer, joined + features.extra, coarsest)
        self.decoder = UnetDecoder(levels, channels, n_blocks=len(channels), use_norm=norm)
        self.logits = nn.Conv2d(channels[-1], outputs, 3, padding=1)

    def forward(
        self, features: list[Tensor], size: tuple[int, int], extra: Float[Tensor, "n e h w"] | None
    ) -> Float[Tensor, "n outputs h w"]:
        *finer, joined, coarsest = features
        if extra is not None:
            small = functional.interpolate(extra, size=joined.shape[-2:], mode="bilinear", align_corners=True)
            joined = torch.cat([joined, small], dim=1)
        full_size = features[0].new_empty((0, 0, *size))
        logits: Tensor = self.logits(self.decoder([full_size, *finer, joined, coarsest]))
        return logits
