"""Wide residual networks, as the semi-supervised methods for 32x32 images use them."""

from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ssmtl.checkpoint import load_checkpoint
from ssmtl.errors import CheckpointError, RecipeError
from ssmtl.models.base import Encoder, EncoderModule
from ssmtl.task import FeatureSpec

STEM = 16
"""Channels of the first convolution, and of the first stage at width 1."""
PREFIX = "encoder."
"""What a run's checkpoint puts before the names of the encoder's tensors."""


class WideResNet(Encoder):
    """A wide residual network with pre-activation (Zagoruyko and Komodakis 2016): features at strides 1, 2, 4.

    A 3x3 convolution to 16 channels, then three stages of (depth - 4) / 6 blocks, of 16, 32 and 64 times `width`
    channels. WRN-28-2 as here is the network of MixMatch (Berthelot et al. 2019), RealMix and FixMatch: the first block
    activates its input before the shortcut leaves, leaky ReLU has the `slope` 0.1, and running statistics move by
    `bn_momentum` 0.001 a step. Its 1.47 million parameters include a `LinearHead(init="glorot")` for 10 classes.

    `weights` starts from a network that was trained before: a .safetensors file, a checkpoint's folder, or a run's
    folder, of which it takes the teacher of the last checkpoint. Of a run everything but the heads is taken, as in
    RealMix's transfer study; images should be normalized as they were there. Raises RecipeError on building for a file
    that is missing, damaged, or of another network.
    """

    depth: Annotated[int, Field(ge=10)] = 28
    width: Annotated[int, Field(ge=1)] = 2
    bn_momentum: Annotated[float, Field(gt=0, le=1)] = 0.001
    slope: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weights: Path | None = None

    @field_validator("depth")
    @classmethod
    def _whole_blocks(cls, depth: int) -> int:
        if depth % 6 != 4:
            near = max(10, depth - (depth - 4) % 6)
            raise PydanticCustomError(
                "depth",
                "depth={depth} is not 6 n + 4, three stages of n blocks of two convolutions and four layers beside "
                "them; take {near} or {next}",
                {"depth": depth, "near": near, "next": near + 6},
            )
        return depth

    @field_validator("weights")
    @classmethod
    def _absolute(cls, weights: Path | None) -> Path | None:
        return None if weights is None else weights.expanduser().absolute()

    def build(self, channels: int, *, pretrained: bool = True) -> EncoderModule:
        encoder = _WideResNet(self, channels)
        if pretrained and self.weights is not None:
            encoder.load_state_dict(self._fitting(_read(self.weights), encoder.state_dict(), channels))
        return encoder

    def _fitting(self, found: dict[str, Tensor], wanted: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
        """Return what was found; raises RecipeError unless names and shapes are those that are wanted."""
        lacking, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
        other = [name for name, value in wanted.items() if name in found and found[name].shape != value.shape]
        if not (lacking or unknown or other):
            return found
        problems = [
            f"lacks {len(lacking)} of its {len(wanted)} tensors, the first is '{lacking[0]}'" if lacking else "",
            f"has {len(unknown)} that it doesn't know, the first is '{unknown[0]}'" if unknown else "",
            f"has '{other[0]}' of shape {tuple(found[other[0]].shape)} instead of {tuple(wanted[other[0]].shape)}"
            if other
            else "",
        ]
        raise RecipeError(
            f"{self.weights} doesn't fit WideResNet(depth={self.depth}, width={self.width}) for images of "
            f"{channels} channel(s): it {' and '.join(p for p in problems if p)}; set depth, width and "
            "channels to those it was trained with, or name another file."
        )


def _read(path: Path) -> dict[str, Tensor]:
    """Return an encoder's tensors from a file, or from the teacher in a folder of a checkpoint or run."""
    file = path
    if path.is_dir():
        last = path / "checkpoints" / "last"
        folder = last if last.parent.is_dir() else path
        try:
            file = load_checkpoint(folder, fall_back=False)[0] / "teacher.safetensors"
        except CheckpointError as error:
            raise RecipeError(
                "WideResNet(weights=...) takes a run's folder, one of its checkpoints, or a .safetensors file, but "
                f"{error}"
            ) from error
    if not file.is_file():
        raise RecipeError(f"WideResNet(weights=...) names {file}, but there is no such file; correct the path.")
    try:
        found = load_file(file)
    except (OSError, SafetensorError) as error:
        raise RecipeError(
            f"WideResNet(weights=...) names {file}, which can't be read as safetensors ({error}); name a .safetensors "
            "file, such as a run's checkpoints/last/teacher.safetensors."
        ) from error
    of_a_run = {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}
    return of_a_run or found


class _WideResNet(EncoderModule):
    def __init__(self, config: WideResNet, channels: int) -> None:
        super().__init__()
        widths = tuple(STEM * config.width * 2**stage for stage in range(3))
        self.spec = FeatureSpec(widths, (1, 2, 4))
        self.stem = nn.Conv2d(channels, STEM, 3, padding=1, bias=False)
        self.stages = nn.ModuleList()
        inputs = STEM
        for stage, outputs in enumerate(widths):
            blocks = [_Block(config, inputs, outputs, stride=2 if stage else 1, activate_shortcut=not stage)]
            blocks += [_Block(config, outputs, outputs) for _ in range((config.depth - 4) // 6 - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.last = _norm_and_activation(config, inputs)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                # A standard deviation of sqrt(2 / (k * k * outputs)), whatever the slope, as MixMatch's program has it.
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        # Convolutions keep this layout, in which both CPUs and GPUs compute them faster.
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return [*levels[:-1], self.last(x)]


class _Block(nn.Module):
    """Norm, activation, 3x3 convolution, twice; a 1x1 convolution brings the shortcut to another width."""

    def __init__(
        self, config: WideResNet, inputs: int, outputs: int, *, stride: int = 1, activate_shortcut: bool = False
    ) -> None:
        super().__init__()
        self.activate_shortcut = activate_shortcut
        self.before1 = _norm_and_activation(config, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.before2 = _norm_and_activation(config, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d k l"]:
        active = self.before1(x)
        shortcut = self.shortcut(active if self.activate_shortcut else x)
        residual: Tensor = self.conv2(self.before2(self.conv1(active)))
        return residual + shortcut


def _norm_and_activation(config: WideResNet, channels: int) -> nn.Sequential:
    norm = nn.BatchNorm2d(channels, momentum=config.bn_momentum)
    return nn.Sequential(norm, nn.LeakyReLU(config.slope, inplace=True))
