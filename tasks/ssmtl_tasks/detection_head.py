"""RetinaNet's head on any encoder: a feature pyramid, anchors, and convolutions that are shared by its levels."""

from abc import ABC
from collections import OrderedDict
from functools import partial
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Float32
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead as Predictor
from torchvision.ops import FeaturePyramidNetwork

from ssmtl.errors import RecipeError
from ssmtl.models.base import Head
from ssmtl.task import FeatureSpec
from ssmtl_tasks.detection_targets import BoxPrediction

NORM_GROUPS = 32
Ratio = Annotated[float, Field(gt=0)]


class BoxHead(Head, ABC):
    """A head whose module returns a `BoxPrediction`, with a logit per class and no background."""


class RetinaNetHead(BoxHead):
    """RetinaNet's pyramid and head (Lin et al. 2017), torchvision's layers, on the encoder that all tasks share.

    Levels have strides `finest_stride`, twice that, and so on. They are the encoder's where it has such a stride, the
    deepest where it has several, as a dilated one does; the coarser ones come from 3x3 convolutions of stride 2, the
    first of them on the encoder's deepest features. With an output stride of 32, 16 or 8 these are 2, 3 or 4 levels.
    At each cell stand `octaves` x `ratios` anchors, the smallest as large as a square of `anchor_scale` cells. Raises
    RecipeError for an encoder without features at `finest_stride`, and when a bridge leads here.
    """

    channels: Annotated[int, Field(ge=1)] = 256
    finest_stride: Annotated[int, Field(ge=1)] = 8
    levels: Annotated[int, Field(ge=1, le=8)] = 5
    anchor_scale: Annotated[float, Field(gt=0)] = 4.0
    octaves: Annotated[int, Field(ge=1, le=8)] = 3
    """Sizes of anchors per level, a factor of 2^(1/octaves) apart."""
    ratios: Annotated[tuple[Ratio, ...], Field(min_length=1)] = (0.5, 1.0, 2.0)
    """Heights of anchors over their widths."""
    norm: Literal["identity", "groupnorm"] = "identity"
    """What follows each of the four convolutions before the outputs: nothing as in the paper, or 32 groups."""

    @model_validator(mode="after")
    def _groups_fit(self) -> "RetinaNetHead":
        if self.norm == "groupnorm" and self.channels % NORM_GROUPS:
            raise PydanticCustomError(
                "groups",
                "norm='groupnorm' makes {groups} groups, which {channels} channels don't divide into; "
                "give a multiple of {groups}, or norm='identity'",
                {"groups": NORM_GROUPS, "channels": self.channels},
            )
        return self

    def build(self, features: FeatureSpec, outputs: int) -> nn.Module:
        if features.extra:
            raise RecipeError(
                "a bridge hands maps to RetinaNetHead, which joins none; point the bridge's `into` at a task with a "
                "dense head such as MultiMixDecoder."
            )
        return _RetinaNet(self, features, outputs)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the levels, finest first."""
        return tuple(self.finest_stride * 2**level for level in range(self.levels))

    def from_encoder(self, features: FeatureSpec) -> tuple[int, ...]:
        """Return which of an encoder's levels the pyramid is built on, one for each stride that it has."""
        deepest = {stride: index for index, stride in enumerate(features.strides)}
        if self.finest_stride not in deepest:
            raise RecipeError(
                f"RetinaNetHead(finest_stride={self.finest_stride}) needs features at that stride, but the encoder has "
                f"strides {features.strides}; choose one of these."
            )
        found = [stride for stride in self.strides if stride in deepest]
        if found != list(self.strides[: len(found)]):
            raise RecipeError(
                f"RetinaNetHead needs features whose strides double from {self.finest_stride} on, but the encoder has "
                f"strides {features.strides}; choose a coarser finest_stride, or another encoder."
            )
        return tuple(deepest[stride] for stride in found)

    def anchor_sides(self) -> tuple[tuple[int, ...], ...]:
        """Return, per level, the sides in pixels of the squares that anchors have the area of."""
        factors = [2 ** (octave / self.octaves) for octave in range(self.octaves)]
        return tuple(tuple(int(stride * self.anchor_scale * f) for f in factors) for stride in self.strides)


class _RetinaNet(nn.Module):
    def __init__(self, config: RetinaNetHead, features: FeatureSpec, outputs: int) -> None:
        super().__init__()
        self.used, self.strides = config.from_encoder(features), config.strides
        inputs = [features.channels[index] for index in self.used]
        self.pyramid = FeaturePyramidNetwork(inputs, config.channels)
        self.coarser = _Coarser(inputs[-1], config.channels, config.levels - len(inputs))
        self.generator = AnchorGenerator(config.anchor_sides(), (config.ratios,) * config.levels)
        norm = partial(nn.GroupNorm, NORM_GROUPS) if config.norm == "groupnorm" else None
        per_cell = config.octaves * len(config.ratios)
        self.predictor = Predictor(config.channels, per_cell, outputs, norm_layer=norm)

    def forward(self, features: list[Tensor], size: tuple[int, int], extra: None) -> BoxPrediction:
        maps = self.maps(features)
        found = self.predictor(maps)
        anchors = self._anchors(maps)
        n = maps[0].shape[0]  # `len` of a tensor would become a constant when the model is exported
        return BoxPrediction(
            logits=found["cls_logits"],
            deltas=found["bbox_regression"],
            anchors=torch.cat(anchors).expand(n, -1, -1),
            size=torch.tensor(size).expand(n, -1),
            levels=torch.tensor([level.shape[0] for level in anchors]).expand(n, -1),
        )

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """Return the levels of the pyramid, finest first."""
        named = OrderedDict((str(index), features[index]) for index in self.used)
        return [*self.pyramid(named).values(), *self.coarser(features[self.used[-1]])]

    def _anchors(self, maps: list[Tensor]) -> list[Float32[Tensor, "_ 4"]]:
        # torchvision's own forward divides sizes, which puts anchors in wrong places where a level ends in half a cell.
        self.generator.set_cell_anchors(torch.float32, maps[0].device)
        anchors: list[Tensor] = self.generator.grid_anchors(
            [list(level.shape[-2:]) for level in maps], [[stride, stride] for stride in self.strides]
        )
        return anchors


class _Coarser(nn.Module):
    """Levels beyond the encoder's: 3x3 convolutions of stride 2, with ReLU between them (P6 and P7 in the paper)."""

    def __init__(self, inputs: int, channels: int, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_halving(channels if number else inputs, channels) for number in range(count))

    def forward(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        levels: list[Tensor] = []
        for conv in self.convs:
            levels.append(conv(functional.relu(levels[-1]) if levels else x))
        return levels


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, 2, 1)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
