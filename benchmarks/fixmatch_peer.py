"""FixMatch's training step as it is usually written: Pillow images, torchvision transforms, one float32 forward.

Every image is opened, augmented and normalized for itself in a worker process of a DataLoader; one loader serves
labeled images, another the weak and the strong view of unlabeled ones. The network sees all views in one batch,
contiguous and in float32.
"""

import copy
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

THRESHOLD, DECAY, LR, MOMENTUM, WEIGHT_DECAY = 0.95, 0.999, 0.03, 0.9, 5e-4
SIDE, GRAY = 16, (127, 127, 127)

Views = tuple[Tensor, ...]


class BasicBlock(nn.Module):
    """Two convolutions with pre-activation, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, activate_before_residual: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, momentum=0.001)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, momentum=0.001)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.activate_before_residual = activate_before_residual

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        out = functional.leaky_relu(self.bn1(x), 0.1)
        if self.activate_before_residual:
            x = out
        out = self.conv2(functional.leaky_relu(self.bn2(self.conv1(out)), 0.1))
        return out + (x if self.shortcut is None else self.shortcut(x))


class Network(nn.Module):
    """WRN-28-2 with its classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        blocks, inputs = [], 16
        for outputs, stride in ((32, 1), (64, 2), (128, 2)):
            for index in range(4):
                blocks.append(BasicBlock(inputs, outputs, stride if index == 0 else 1, inputs == 16))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(inputs, momentum=0.001)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of normalized images."""
        x = functional.leaky_relu(self.bn(self.blocks(self.conv1(x))), 0.1)
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class PeerStep:
    """Network, moving average and optimizer, and what happens to them in a step."""

    def __init__(self, weights: Sequence[Tensor], classes: int, device: str, threshold: float = THRESHOLD) -> None:
        self.network = Network(classes)
        names = self.network.state_dict().keys()
        self.network.load_state_dict(dict(zip(names, weights, strict=True)))
        self.network.to(device).train()
        self.average = copy.deepcopy(self.network).eval()
        self.device, self.threshold = device, threshold
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        no_decay = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": no_decay, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, lr=LR, momentum=MOMENTUM, nesterov=True)

    def loss(self, labeled: Tensor, labels: Tensor, weak: Tensor, strong: Tensor) -> Tensor:
        """Return the loss of normalized images: that of the labels, and of confident predictions on the weak view."""
        logits = self.network(torch.cat([labeled, weak, strong]))
        on_labeled, (on_weak, on_strong) = logits[: len(labeled)], logits[len(labeled) :].chunk(2)
        confidence, guessed = on_weak.detach().softmax(dim=-1).max(dim=-1)
        mask = (confidence >= self.threshold).float()
        consistency = (functional.cross_entropy(on_strong, guessed, reduction="none") * mask).mean()
        return functional.cross_entropy(on_labeled, labels) + consistency

    def __call__(self, labeled: tuple[Views, Tensor], unlabeled: tuple[Views, Tensor]) -> Tensor:
        """Make one optimizer step and move the average; return the loss."""
        ((images,), labels), ((weak, strong), _) = labeled, unlabeled
        parts = [part.to(self.device, non_blocking=True) for part in (images, labels, weak, strong)]
        loss = self.loss(*parts)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.mul_(DECAY).add_(value, alpha=1 - DECAY)
            for mean, value in zip(self.average.buffers(), self.network.buffers(), strict=True):
                mean.copy_(value)
        return loss.detach()


class Cutout:
    """A gray square around a point anywhere in the picture."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Draw it."""
        x, y = (random.randrange(side) for side in image.size)
        half = SIDE // 2
        ImageDraw.Draw(image).rectangle((x - half, y - half, x + half - 1, y + half - 1), fill=GRAY)
        return image


def pipelines() -> tuple[Any, Any]:
    """Return what makes the weak and the strong view of a picture."""
    shift = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4, padding_mode="reflect")]
    strong = [transforms.RandAugment(num_ops=2, magnitude=10), Cutout()]
    tensor = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    return transforms.Compose([*shift, *tensor]), transforms.Compose([*shift, *strong, *tensor])


class Pictures(Dataset[tuple[Views, int]]):
    """Images uint8 [n, 32, 32, 3] as Pillow pictures, each in all of the views."""

    def __init__(
        self, images: np.ndarray[Any, np.dtype[np.uint8]], labels: Sequence[int], views: Sequence[Any]
    ) -> None:
        self.images, self.labels, self.views = images, labels, views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Views, int]:
        picture = Image.fromarray(self.images[index])
        return tuple(view(picture) for view in self.views), self.labels[index]


def endless(pictures: Pictures, batch: int, workers: int, pin: bool) -> Iterator[Any]:
    """Yield batches, drawn anew all the time."""
    sampler = RandomSampler(pictures, replacement=True, num_samples=2**40)
    return iter(DataLoader(pictures, batch, sampler=sampler, num_workers=workers, drop_last=True, pin_memory=pin))
