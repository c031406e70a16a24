"""Optimizers as values; weight decay never touches norms and biases (any parameter of one dimension or less)."""

from abc import abstractmethod
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from ssmtl.component import Component

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]


class Optimizer(Component):
    """Builds a torch optimizer over a model's trainable parameters; `lr` is the rate that the schedule scales."""

    group = "optimizers"

    lr: Rate = 1e-3
    weight_decay: Decay = 0.0

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer."""

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Return two groups: parameters that decay, and those of at most one dimension, which don't."""
        trainable = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]


class Adam(Optimizer):
    """Adam with torch's default betas; a weight decay is added to the gradient (L2)."""

    lr: Rate = Field(default=1e-4, kw_only=False)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameter_groups(model), lr=self.lr)


class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov momentum."""

    lr: Rate = Field(default=0.03, kw_only=False)
    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9
    nesterov: bool = True

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameter_groups(model), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): kernels shrink by 1 - lr * weight_decay a step.

    MixMatch (Berthelot et al. 2019) and RealMix multiply kernels by 1 - 0.02 * 0.002 = 1 - 4e-5 after Adam's step.
    PyTorch does so before the step: the same but for that share of one update. Neither biases nor norms decay, of
    which some programs shrink scales and even running statistics.
    """

    lr: Rate = Field(default=2e-3, kw_only=False)
    weight_decay: Decay = 0.02

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameter_groups(model), lr=self.lr)
