"""The decoder of DeepLabv3+ (Chen et al. 2018) on the features of any encoder."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn
from torch.nn import functional

from ssmtl.errors import RecipeError
from ssmtl.models.base import Head
from ssmtl.task import FeatureSpec

NORM_GROUPS = 32
LOW_LEVEL_STRIDE = 4
Width = Annotated[int, Field(ge=1)]
Rates = tuple[Width, Width, Width]


class DeepLabV3Plus(Head):
    """Atrous spatial pyramid pooling on the coarsest features, joined with features of stride 4.

    The low-level map is the finest of stride 4 or more. Logits are computed at its size and resized to the image's,
    bilinearly without aligned corners, as is what joins it. The pyramid projects by a 1x1 convolution as in the paper.
    `low_level_channels` is 256 in the code of Dense FixMatch (Martí i Rabadán et al. 2022) and 48 in the paper, whose
    3x3 convolutions are separable; here they are plain, as in that code. Its multi-grid is left out: the encoder's
    dilation is its own.

    An encoder shared with a detector is best kept at `TimmEncoder(output_stride=16)`, our choice where the papers
    state none: at 32 masks lose detail, and at 8, the segmentation code's choice, three of its levels have one stride,
    so a detector's pyramid has to make its coarser ones anew. Raises RecipeError when the encoder has no low-level map
    besides its coarsest one, and when a bridge leads here.
    """

    channels: Width = 256
    low_level_channels: Width = 256
    rates: Rates | None = None
    """Dilation of the three 3x3 convolutions; None: (12, 24, 36) at stride 8, (6, 12, 18) at 16, (3, 6, 9) at 32."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Rate at which whole channels are dropped, after the pyramid and before the logits."""
    norm: Literal["batchnorm", "groupnorm"] = "batchnorm"
    """Batch statistics of image pooling come from as many values as there are images; 32 groups need no batch."""

    @model_validator(mode="after")
    def _groups_fit(self) -> "DeepLabV3Plus":
        if self.norm == "groupnorm":
            for width in (self.channels, self.low_level_channels):
                if width % NORM_GROUPS:
                    raise PydanticCustomError(
                        "groups",
                        "norm='groupnorm' makes {groups} groups, which {width} channels don't divide into; "
                        "give a multiple of {groups}, or norm='batchnorm'",
                        {"groups": NORM_GROUPS, "width": width},
                    )
        return self

    def build(self, features: FeatureSpec, outputs: int) -> nn.Module:
        if features.extra:
            raise RecipeError(
                "a bridge hands maps to DeepLabV3Plus, which joins none; point the bridge's `into` at a task with "
                "another dense head, such as SmpUnetDecoder."
            )
        return _Decoder(self, features, outputs)

    def dilations(self, stride: int) -> Rates:
        """Return `rates`, or what covers as many pixels at `stride` as the paper's rates do at 16."""
        first = max(1, 6 * 16 // stride)
        return self.rates or (first, 2 * first, 3 * first)

    def low_level(self, features: FeatureSpec) -> int:
        """Return the index of the encoder's low-level map."""
        for index, stride in enumerate(features.strides[:-1]):
            if stride >= LOW_LEVEL_STRIDE:
                return index
        raise RecipeError(
            f"DeepLabV3Plus joins the coarsest features with finer ones of stride {LOW_LEVEL_STRIDE} or more, but the "
            f"encoder has strides {features.strides}; choose a pyramid such as TimmEncoder(name='resnet50')."
        )


class _Decoder(nn.Module):
    """smp's ASPP, and around it a decoder of our own: smp's fixes the low-level width at 48 and its place in the list.

    smp's ASPP drops single cells; `nn.Dropout2d` behind it drops channels, as Dense FixMatch's code does.
    """

    def __init__(self, config: DeepLabV3Plus, features: FeatureSpec, outputs: int) -> None:
        from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPP

        super().__init__()
        self.low_level = config.low_level(features)
        rates, width = config.dilations(features.strides[-1]), config.channels
        self.pyramid = nn.Sequential(
            ASPP(features.channels[-1], width, rates, separable=False, dropout=0.0),
            nn.Dropout2d(config.dropout),
        )
        self.reduce = _block(nn.Conv2d(features.channels[self.low_level], config.low_level_channels, 1, bias=False))
        self.fuse = nn.Sequential(
            _block(nn.Conv2d(width + config.low_level_channels, width, 3, padding=1, bias=False)),
            _block(nn.Conv2d(width, width, 3, padding=1, bias=False)),
            nn.Dropout2d(config.dropout),
        )
        self.logits = nn.Conv2d(width, outputs, 1)
        if config.norm == "groupnorm":
            _group_norms(self)

    def forward(self, features: list[Tensor], size: tuple[int, int], extra: None) -> Float[Tensor, "n outputs h w"]:
        fine = self.reduce(features[self.low_level])
        coarse = _resize(self.pyramid(features[-1]), (fine.shape[-2], fine.shape[-1]))
        return _resize(self.logits(self.fuse(torch.cat([coarse, fine], dim=1))), size)


def _block(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


def _group_norms(module: nn.Module) -> None:
    """Replace batch normalization, which is what smp's parts are made with."""
    for name, part in module.named_children():
        if isinstance(part, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(NORM_GROUPS, part.num_features))
        else:
            _group_norms(part)


def _resize(maps: Float[Tensor, "n c a b"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
