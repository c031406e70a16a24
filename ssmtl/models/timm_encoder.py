"""Any encoder of timm that returns feature maps."""

from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from ssmtl.errors import RecipeError, nearest
from ssmtl.models.base import Encoder, EncoderModule
from ssmtl.task import FeatureSpec

DILATED = (8, 16)
"""Output strides that timm is asked for: those of its models that end at 32 anyway often don't know the option."""


class TimmEncoder(Encoder):
    """The feature pyramid of a timm model, such as "resnet18" or "convnext_atto".

    `pretrained=True` downloads the weights that timm names; nothing else uses the network. `weights` is a file
    (.safetensors, or .pth read without pickle) in the form of timm's own. Either is adapted to the number of channels.
    `output_stride` keeps the coarsest levels finer by dilation, where the model can, and as much in every block of a
    level (no multi-grid); 32 is what most models have, and None leaves the model's own.
    """

    name: str = Field(kw_only=False)
    pretrained: bool = False
    weights: Path | None = None
    output_stride: Literal[8, 16, 32] | None = None

    @model_validator(mode="after")
    def _one_origin_of_weights(self) -> "TimmEncoder":
        if self.pretrained and self.weights:
            raise PydanticCustomError("weights", "give either pretrained=True or weights=..., not both")
        return self

    def build(self, channels: int, *, pretrained: bool = True) -> EncoderModule:
        import timm

        if not timm.is_model(self.name):
            raise RecipeError(f"timm has no model '{self.name}'{nearest(self.name, timm.list_models())}")
        if not pretrained or self.weights is None:
            return _Timm(self._create(channels, pretrained=pretrained and self.pretrained))
        if not self.weights.is_file():
            raise RecipeError(
                f"TimmEncoder(weights=...) names {self.weights}, but there is no such file; correct the path."
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            fresh = self._create(channels, pretrained=False)
            torch.manual_seed(0)
            loaded = self._create(channels, pretrained=True, pretrained_cfg_overlay={"file": str(self.weights)})
        self._check_loaded(fresh, loaded)
        return _Timm(loaded)

    def _create(self, channels: int, **options: Any) -> nn.Module:
        import timm

        if self.output_stride in DILATED:
            options["output_stride"] = self.output_stride
        try:
            module: nn.Module = timm.create_model(self.name, features_only=True, in_chans=channels, **options)
        except Exception as error:  # timm and the hub's client raise some ten unrelated classes here
            wanted = f" with output_stride={self.output_stride}" if self.output_stride else ""
            source = f" from {self.weights}" if self.weights else " with downloaded weights" if self.pretrained else ""
            raise RecipeError(
                f"timm could not build '{self.name}'{wanted} as an encoder for {channels} channel(s){source}: "
                f"{type(error).__name__} {error}; choose another model, or change these options."
            ) from error
        info: Any = module.feature_info
        coarsest = info.reduction()[-1]
        if self.output_stride not in (None, coarsest):
            raise RecipeError(
                f"'{self.name}' has features down to stride {coarsest}, not {self.output_stride}; "
                "leave out output_stride, or choose another model."
            )
        return module

    def _check_loaded(self, fresh: nn.Module, loaded: nn.Module) -> None:
        """Refuse a file of another model: timm loads what matches and leaves the rest at random."""
        before = fresh.state_dict()
        left = [k for k, v in loaded.state_dict().items() if v.dim() > 1 and torch.equal(v, before[k])]
        if left:
            raise RecipeError(
                f"{self.weights} lacks weights for {len(left)} layer(s) of '{self.name}', the first is '{left[0]}'; "
                "give a file of this model, with timm's parameter names."
            )


class _Timm(EncoderModule):
    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        info = backbone.feature_info
        self.spec = FeatureSpec(tuple(info.channels()), tuple(info.reduction()))
        self.channels_last = str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        features: list[Tensor] = self.backbone(images)
        return [x.permute(0, 3, 1, 2) for x in features] if self.channels_last else features
