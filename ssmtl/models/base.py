"""The contracts of a model's parts: an encoder that all tasks share, and a head for each task."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from ssmtl.component import Component
from ssmtl.task import FeatureSpec


class EncoderModule(nn.Module, ABC):
    """What an encoder builds: a module that says in `spec` what its feature maps are."""

    spec: FeatureSpec

    @abstractmethod
    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Return one map [n, spec.channels[i], h / spec.strides[i], w / spec.strides[i]] per level, finest first."""


class Encoder(Component):
    """Turns normalized images into feature maps."""

    group = "encoders"

    @abstractmethod
    def build(self, channels: int, *, pretrained: bool = True) -> EncoderModule:
        """Return the module for images of `channels` channels; raises RecipeError for a choice that can't be built.

        `pretrained=False` leaves out weights that would be downloaded or read, because a checkpoint will follow.
        """


class Head(Component):
    """Turns feature maps into the logits of one task."""

    group = "heads"

    @abstractmethod
    def build(self, features: FeatureSpec, outputs: int) -> nn.Module:
        """Return a module with `outputs` logits; raises RecipeError when the head doesn't fit the features.

        It is called with (features: list[Tensor] finest first, size: (height, width) of the images in pixels, extra:
        [n, features.extra, height, width], or None when `features.extra` is 0). A dense head returns
        [n, outputs, height, width], any other [n, outputs].
        """
