"""Networks that strategies are tried with: small, pixel by pixel, and trained for a few steps."""

from collections.abc import Callable
from functools import cache, lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from ssmtl.models.base import Encoder, EncoderModule
from ssmtl.models.multitask import Model, MultiTaskModel
from ssmtl.task import FeatureSpec, Perturb, Prediction, Task

SIZE = (16, 16)
"""Height and width of all images."""
IMAGES = 12
"""How many images a network learns from."""
LEARNED = {"student": 12, "teacher": 24}
"""Steps that each network was trained for."""
P = ParamSpec("P")
R = TypeVar("R")


def forward(model: MultiTaskModel, task: Task, images: Tensor, features: Perturb | None = None) -> Prediction:
    """Predict a task on images."""
    return model(images, {task.name: torch.arange(len(images))}, features)[task.name]


@cache
def network_of(task: Task, model: str) -> MultiTaskModel:
    """Return a network that works on pixels one by one, so that it follows mirrored images, after a few steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Model(PixelEncoder(), channels=3).build((task,))
        images, targets = task.fake_batch(IMAGES, 0, channels=3, size=SIZE)
        target = task.collate(targets, SIZE)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(LEARNED[model]):
            loss = task.supervised_loss(forward(network, task, images.float() / 255), target)
            optimizer.zero_grad()
            (loss.total.sum() / loss.count.sum().clamp(min=max(loss.floor, 1e-8))).backward()
            optimizer.step()
    network.zero_grad()
    return network


class PixelEncoder(Encoder):
    """Features of single pixels, at strides 1, 2 and 4; `norm` puts batch normalization in, so that rows meet."""

    norm: bool = False

    def build(self, channels: int, *, pretrained: bool = True) -> EncoderModule:
        return _PixelEncoder(channels, norm=self.norm)


class _PixelEncoder(EncoderModule):
    spec = FeatureSpec((8, 8, 8), (1, 2, 4))

    def __init__(self, channels: int, *, norm: bool) -> None:
        super().__init__()
        between = nn.BatchNorm2d(16) if norm else nn.Identity()
        self.pixels = nn.Sequential(nn.Conv2d(channels, 16, 1), between, nn.GELU(), nn.Conv2d(16, 8, 1), nn.GELU())

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Tensor]:
        finest = self.pixels(images)
        return [finest, F.avg_pool2d(finest, 2), F.avg_pool2d(finest, 4)]


def memory(size: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a cache of results for a few arguments; those that can't be hashed are computed anew."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        cached = lru_cache(maxsize=size)(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                hash((args, *kwargs.values()))
            except TypeError:
                return function(*args, **kwargs)
            return cached(*args, **kwargs)  # type: ignore[arg-type]  # they have a hash, as was just seen

        return call

    return decorate
