"""The network of MultiMix: an encoder-decoder whose decoder takes in the image and the saliency at 1/8 resolution.

Follows the tables of the ISBI supplement (Haque et al. 2021, Tables 1 and 2; the same as MELBA Tables 4 and 5).
"""

from itertools import pairwise
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ssmtl.errors import RecipeError
from ssmtl.models.base import Encoder, EncoderModule, Head
from ssmtl.models.dropout import Dropout
from ssmtl.task import FeatureSpec

Probability = Annotated[float, Field(ge=0, lt=1)]
Width = Annotated[int, Field(ge=1)]


class MultiMixEncoder(Encoder):
    """Blocks of two 3x3 convolutions, with 2x2 max pooling between them: features at strides 1, 2, 4, 8, 16.

    `channels` are the widths, finest first; `slope` belongs to LeakyReLU. Features are what the decoder gets as skips:
    after dropout, before pooling. With a `LinearHead(max_pool=True)` it is the published classifier.
    """

    channels: Annotated[tuple[Width, ...], Field(min_length=2)] = (16, 32, 64, 128, 256)
    dropout: Probability = 0.25
    slope: Annotated[float, Field(ge=0)] = 0.2

    def build(self, channels: int, *, pretrained: bool = True) -> EncoderModule:
        return _Encoder(self, channels)


class MultiMixDecoder(Head):
    """From coarse to fine: upsample x2, join the skip, two 3x3 convolutions; last a 1x1 convolution to the logits.

    Upsampling is bilinear with aligned corners. What a bridge hands over is resized to the second coarsest level and
    joined there with the skip: 256 + 128 + 2 = 386 input channels in the published network, 384 without a bridge.
    Raises RecipeError for features that don't start at stride 1 and double.
    """

    dropout: Probability = 0.25
    slope: Annotated[float, Field(ge=0)] = 0.2

    def build(self, features: FeatureSpec, outputs: int) -> nn.Module:
        if features.strides != tuple(2**level for level in range(len(features.strides))) or len(features.strides) < 2:
            raise RecipeError(
                f"MultiMixDecoder needs feature maps at strides 1, 2, 4, ..., but got strides {features.strides}; "
                "use MultiMixEncoder, or another decoder such as SmpUnetDecoder."
            )
        return _Decoder(self, features, outputs)


class _InstanceNorm(nn.Module):
    """Instance normalization without parameters or running statistics: the same in training and evaluation."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        # A group per channel is the same function, and PyTorch's CPU kernel for it is several times as fast.
        return functional.group_norm(x, x.shape[1])


def _block(inputs: int, outputs: int, dropout: float, slope: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        _InstanceNorm(),
        nn.LeakyReLU(slope, inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        _InstanceNorm(),
        nn.LeakyReLU(slope, inplace=True),
        Dropout(dropout),
    )


class _Encoder(EncoderModule):
    def __init__(self, config: MultiMixEncoder, channels: int) -> None:
        super().__init__()
        self.spec = FeatureSpec(config.channels, tuple(2**level for level in range(len(config.channels))))
        self.blocks = nn.ModuleList(
            _block(inputs, outputs, config.dropout, config.slope)
            for inputs, outputs in pairwise((channels, *config.channels))
        )

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        stride = self.spec.strides[-1]
        height, width = images.shape[-2:]
        if height % stride or width % stride or min(height, width) < 2 * stride:
            raise RecipeError(
                f"MultiMixEncoder got images of {height} x {width} pixels; both sides must be multiples of {stride}, "
                f"at least {2 * stride}. Change the readers' canvas, or the size that views cut."
            )
        x = images
        features: list[Tensor] = []
        for block in self.blocks:
            x = block(functional.max_pool2d(features[-1], 2) if features else x)
            features.append(x)
        return features


class _Decoder(nn.Module):
    def __init__(self, config: MultiMixDecoder, features: FeatureSpec, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _block(coarse + fine + (features.extra if level == 0 else 0), fine, config.dropout, config.slope)
            for level, (coarse, fine) in enumerate(pairwise(reversed(features.channels)))
        )
        self.logits = nn.Conv2d(features.channels[0], outputs, 1)

    def forward(
        self, features: list[Tensor], size: tuple[int, int], extra: Float[Tensor, "n e h w"] | None
    ) -> Float[Tensor, "n outputs h w"]:
        x = features[-1]
        for level, (block, skip) in enumerate(zip(self.blocks, reversed(features[:-1]), strict=True)):
            joined = [_resize(x, skip), skip]
            if level == 0 and extra is not None:
                joined.append(_resize(extra, skip))
            x = block(torch.cat(joined, dim=1))
        logits: Tensor = self.logits(x)
        return logits


def _resize(x: Float[Tensor, "n c h w"], like: Float[Tensor, "n d k l"]) -> Float[Tensor, "n c k l"]:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
