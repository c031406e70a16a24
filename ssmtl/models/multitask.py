"""One model for all tasks: a shared encoder, a head per task, and each head on its own rows only."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from ssmtl.component import Component
from ssmtl.errors import RecipeError, nearest
from ssmtl.models.base import Encoder
from ssmtl.models.saliency_bridge import SaliencyBridge, saliency
from ssmtl.task import FeatureSpec, Perturb, Prediction, Task

STATISTICS = {
    "symmetric": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": ((0.0,), (1.0,)),
}
"""Mean and standard deviation that each rule takes off images in [0, 1]."""

PIXELS_AT_ONCE = 2 * 256 * 256
"""Cells of the finest feature map that a CPU works on at once: MultiMix's widest map then takes 25 MB, and glibc reuses
memory only up to 32 MB."""


class Model(Component):
    """A shared encoder, the tasks' heads, and an optional bridge from one task to another.

    `channels` is that of the images. `normalize` maps [0, 1] to [-1, 1] ("symmetric"), to ImageNet's statistics, which
    needs 3 channels, or leaves it.
    """

    group = "models"

    encoder: Encoder = Field(kw_only=False)
    channels: Annotated[int, Field(ge=1, le=4)] = 1
    normalize: Literal["symmetric", "imagenet", "none"] = "symmetric"
    bridge: SaliencyBridge | None = None

    @model_validator(mode="after")
    def _three_channels_for_imagenet(self) -> "Model":
        if self.normalize == "imagenet" and self.channels != 3:
            raise PydanticCustomError(
                "imagenet",
                "normalize='imagenet' has statistics of 3 channels, but the model has {channels}; "
                "set channels=3 or normalize='symmetric'",
                {"channels": self.channels},
            )
        return self

    def build(self, tasks: Sequence[Task], *, pretrained: bool = True) -> "MultiTaskModel":
        """Build the modules; raises RecipeError for parts that don't fit each other.

        Weights are fresh, but for an encoder that is pretrained; `pretrained=False` skips that, for a run that is read
        back from its checkpoint.
        """
        return MultiTaskModel(self, tasks, pretrained=pretrained)


class MultiTaskModel(nn.Module):
    """What `Model` builds; heads are in `heads`, by task name.

    Dropout follows the module's own mode; `batch_statistics` governs batch normalization apart from it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Model, tasks: Sequence[Task], *, pretrained: bool = True) -> None:
        super().__init__()
        self.channels = config.channels
        self.bridge = config.bridge
        _check_names([task.name for task in tasks], config.bridge)
        self.encoder = config.encoder.build(config.channels, pretrained=pretrained)
        self.heads = nn.ModuleDict()
        for task in tasks:
            bridged = config.bridge is not None and config.bridge.into == task.name
            extra = config.channels + 1 if bridged else 0
            spec = FeatureSpec(self.encoder.spec.channels, self.encoder.spec.strides, extra)
            self.heads[task.name] = task.build_head(spec)
        mean, std = STATISTICS[config.normalize]
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @property
    def has_batch_statistics(self) -> bool:
        """Whether rows influence each other through batch normalization."""
        return any(isinstance(part, _BatchNorm) for part in self.modules())

    def forward(
        self,
        images: Float[Tensor, "n c h w"],
        rows: Mapping[str, Int64[Tensor, " k"]],
        perturb: Perturb | None = None,
    ) -> dict[str, Prediction]:
        """Predict, for each task named in `rows`, those rows of `images` in [0, 1], in the order given.

        The encoder runs once over all rows, and `perturb` may change its feature maps before the heads get them; `rows`
        are best on the CPU, where consecutive ones cost no copy. With batch normalization a head sees at least two
        rows; the copies that this may need don't leave this module. No rows give a prediction of length 0 that is still
        connected to all parameters; so do no images, by way of a blank one.
        Raises RecipeError for a wrong number of channels or an unknown task.
        """
        if images.shape[1] != self.channels:
            raise RecipeError(
                f"the model takes images of {self.channels} channel(s) and got {images.shape[1]}; "
                "set the readers' channels, or Model(channels=...), so that they agree."
            )
        for name in rows:
            if name not in self.heads:
                raise RecipeError(f"the model has no task '{name}'{nearest(name, self.heads.keys())}")
        if not len(images):
            none = {name: torch.zeros(0, dtype=torch.int64) for name in rows}
            with batch_statistics(self, "eval"):
                return self._pass(images.new_zeros((1, *images.shape[1:])), none, perturb)
        if images.device.type != "cpu" or self.has_batch_statistics:
            return self._pass(images, rows, perturb)
        return self._in_chunks(images, {name: index.cpu() for name, index in rows.items()}, perturb)

    def _in_chunks(
        self, images: Float[Tensor, "n c h w"], rows: Mapping[str, Int64[Tensor, " k"]], perturb: Perturb | None
    ) -> dict[str, Prediction]:
        """Run a few images at a time: rows don't influence each other, and memory that is reused stays in the cache.

        Measured at 256 pixels on one core, a MultiMix step takes 10 to 30 % less than on whole batches, whose tensors
        the allocator maps and the kernel clears anew for every operation.
        """
        chunk = max(1, PIXELS_AT_ONCE * self.encoder.spec.strides[0] ** 2 // (images.shape[2] * images.shape[3]))
        if chunk >= len(images):
            return self._pass(images, rows, perturb)
        parts: dict[str, list[Prediction]] = {name: [] for name in rows}
        order: dict[str, list[Tensor]] = {name: [] for name in rows}
        for start in range(0, len(images), chunk):
            inside = {
                name: ((index >= start) & (index < start + chunk)).nonzero()[:, 0] for name, index in rows.items()
            }
            # A task without any row still passes the first chunk, to connect its head.
            wanted = {name: i for name, i in inside.items() if len(i) or (not start and not len(rows[name]))}
            if wanted:
                local = {name: rows[name][i] - start for name, i in wanted.items()}
                for name, part in self._pass(images[start : start + chunk], local, perturb).items():
                    parts[name].append(part)
                    order[name].append(wanted[name])
        return {name: _join(parts[name], torch.cat(order[name])) for name in rows}

    def _pass(
        self, images: Float[Tensor, "n c h w"], rows: Mapping[str, Int64[Tensor, " k"]], perturb: Perturb | None
    ) -> dict[str, Prediction]:
        normalized = (images - self.mean) / self.std
        features = self.encoder(normalized)
        features = features if perturb is None else perturb(features)
        return {name: self._predict(name, index, normalized, features) for name, index in rows.items()}

    def _predict(
        self, name: str, rows: Int64[Tensor, " k"], images: Float[Tensor, "n c h w"], features: list[Tensor]
    ) -> Prediction:
        count = len(rows)
        least = 2 if self.has_batch_statistics else 1
        padded = rows if count >= least else rows.expand(least) if count else rows.new_zeros(least)
        select = _Rows(padded, len(images))
        extra = None
        if self.bridge is not None and self.bridge.into == name:
            extra = self._extra(select(images), count)
        # Rows that were made up are no sample of the data, so running statistics learn nothing from them.
        with nullcontext() if count == len(padded) else batch_statistics(self.heads[name], "hold"):
            prediction = self.heads[name]([select(level) for level in features], tuple(images.shape[-2:]), extra)
        return prediction if count == len(padded) else tree_map(lambda t: t[:count], prediction)

    def _extra(self, images: Float[Tensor, "k c h w"], count: int) -> Float[Tensor, "k d h w"]:
        """Return the image and its saliency; only the first `count` rows are asked for."""
        assert self.bridge is not None
        maps = saliency(self.encoder, self.heads[self.bridge.source], images[:count], self.bridge.norm)
        if count < len(images):
            maps = maps.expand_as(images[:, :1]) if count else torch.zeros_like(images[:, :1])
        return torch.cat([images, maps], dim=1)


class _Rows:
    """Picks rows of tensors: all of them for nothing, consecutive ones as a view, others by a copy."""

    def __init__(self, rows: Int64[Tensor, " k"], n: int) -> None:
        self.rows: slice | Tensor | None = rows
        # Values on another device are not looked at: that would wait for it.
        if rows.device.type == "cpu":
            first = int(rows[0])
            if torch.equal(rows, torch.arange(first, first + len(rows))):
                self.rows = None if len(rows) == n else slice(first, first + len(rows))

    def __call__(self, tensor: Float[Tensor, "n ..."]) -> Float[Tensor, "k ..."]:
        if self.rows is None:
            return tensor
        if isinstance(self.rows, slice):
            return tensor[self.rows]
        return tensor.index_select(0, self.rows.to(tensor.device, non_blocking=True))


def _join(parts: list[Prediction], order: Int64[Tensor, " k"]) -> Prediction:
    """Concatenate predictions leaf by leaf; row i of the result is the one whose `order` is i."""
    joined = parts[0] if len(parts) == 1 else tree_map(lambda *leaves: torch.cat(leaves), *parts)
    if torch.equal(order, torch.arange(len(order))):
        return joined
    back = order.argsort()
    return tree_map(lambda t: t.index_select(0, back), joined)


def _check_names(names: list[str], bridge: SaliencyBridge | None) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"two tasks are named '{name}'; give each a name of its own.")
        if hasattr(nn.ModuleDict, name) or name in vars(nn.ModuleDict()):
            raise RecipeError(f"a task can't be named '{name}', which PyTorch's modules use; choose another name.")
    for end in (bridge.source, bridge.into) if bridge else ():
        if end not in names:
            raise RecipeError(
                f"the saliency bridge names a task '{end}' that the model doesn't have{nearest(end, names)}"
            )
    if bridge and bridge.source == bridge.into:
        raise RecipeError(f"the saliency bridge leads from '{bridge.source}' to itself; name two different tasks.")


@contextmanager
def batch_statistics(model: nn.Module, mode: Literal["update", "batch", "eval", "hold"]) -> Iterator[None]:
    """Choose which statistics batch normalization uses in the block, and whether it updates the running ones.

    "update": those of the batch, and the running ones move. "batch": those of the batch, running ones untouched to the
    bit. "eval": the running ones. "hold": those in use before, and the running ones stay. Only batch normalization
    changes; dropout stays in the model's own mode. Everything is as before afterwards, also after an exception.
    """
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    before = [(norm, norm.training, norm.track_running_stats) for norm in norms]
    try:
        for norm, training, tracked in before:
            norm.training = training if mode == "hold" else mode != "eval"
            norm.track_running_stats = tracked and mode in ("update", "eval")
        yield
    finally:
        for norm, training, tracked in before:
            norm.training, norm.track_running_stats = training, tracked
