"""What benchmarks/views.py measures on: a batch, and what users of ssmtl would otherwise pick, as they would use it."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from kornia.augmentation import AugmentationSequential, RandomErasing, RandomHorizontalFlip
from kornia.augmentation.auto import RandAugment
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from ssmtl.keyed import key
from ssmtl.views.geometry import Geometry
from ssmtl.views.policy import Policy
from ssmtl.views.presets import POOL_DENSE
from ssmtl.views.render import render
from ssmtl.views.warps import HorizontalFlip

Shape: TypeAlias = tuple[int, int, int, int]
Way: TypeAlias = Callable[[int], tuple[Tensor, ...]]

CLASSES, BOXES, IGNORE = 5, 20, 255
AREA, GRAY = (0.1, 0.3), 0.5
SHEAR = math.atan(0.3) / math.pi
"""Kornia's RandAugment multiplies shears by 180 and takes them for degrees."""
KORNIA_POOL = {
    "auto_contrast": (0.0, 1.0),
    "equalize": (0.0, 1.0),
    "invert": (0.0, 1.0),
    "solarize": (26 / 256, 1.0),
    "posterize": (1.0, 8.0),
    "color": (0.1, 1.9),
    "contrast": (0.1, 1.9),
    "brightness": (0.1, 1.9),
    "sharpness": (0.1, 1.9),
    "shear_x": (-SHEAR, SHEAR),
    "shear_y": (-SHEAR, SHEAR),
    "translate_x": (-0.15, 0.15),
    "translate_y": (-0.15, 0.15),
    "rotate": (-30.0, 30.0),
}
"""`POOL_DENSE` in Kornia's words."""
APART = 5
"""How far apart in the pool Kornia's two ops of a draw are: every op is once the first and once the second."""


@dataclass(frozen=True)
class Data:
    """Images uint8, what a teacher found in their weak views, and how those came about."""

    images: Tensor
    labels: Tensor
    boxes: Tensor
    present: Tensor
    weak: Geometry
    flipped: Tensor

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Places in the batch."""
        return np.arange(len(self.images))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return (self.images.shape[2], self.images.shape[3])

    @property
    def pool(self) -> tuple[int, ...]:
        """Places in the pools of the ops that work on these channels."""
        return tuple(i for i, op in enumerate(POOL_DENSE) if self.images.shape[1] == 3 or not op.color)


def data(shape: Shape, device: str) -> Data:
    """Draw smooth images with a little noise, blobs of classes, and boxes."""
    n, channels, *size = shape
    generator = torch.Generator().manual_seed(0)

    def blobs(maps: int) -> Tensor:
        return functional.interpolate(torch.rand(n, maps, 8, 8, generator=generator), size, mode="bilinear")

    images = (230 * blobs(channels) + 25 * torch.rand(shape, generator=generator)).to(torch.uint8)
    start, sides = torch.rand(n, BOXES, 4, generator=generator).split(2, dim=-1)
    sides = 0.05 + 0.25 * sides
    scale = torch.tensor(size[::-1] * 2)
    corners = torch.cat([0.7 * start, 0.7 * start + sides], -1) * scale
    draw = Policy(always=(HorizontalFlip(),)).sample(key("weak"), np.arange(n), (size[0], size[1]))
    return Data(
        images.to(device),
        blobs(CLASSES).argmax(1).to(device),
        corners.to(device),
        torch.ones(n, BOXES, dtype=torch.bool, device=device),
        render(images.to(device), draw).geometry,
        draw.geometry.matrix[:, 0, 0] < 0,
    )


def kornia_ways(of: Data) -> dict[str, Way]:
    """Return Kornia's pipeline on the batch, and on one image after the other."""
    names = [list(KORNIA_POOL)[i] for i in of.pool]
    keys = ["input", "mask", "bbox_xyxy"]

    def pipeline(data_keys: list[str]) -> tuple[Any, Any]:
        augment: Any = RandAugment(n=2, m=20, policy=[[(name, *KORNIA_POOL[name])] for name in names])
        blank = RandomErasing(scale=AREA, ratio=(1.0, 1.0), value=GRAY, p=1.0)
        whole = AugmentationSequential(RandomHorizontalFlip(p=0.5), augment, blank, data_keys=data_keys)
        return whole, augment  # left on the CPU: moved to a GPU, its RandAugment would mix devices

    (strong, augment), (alone, _) = pipeline(keys), pipeline(["input"])
    source = kornia_source(of)

    def dense(draw: int) -> tuple[Tensor, ...]:
        augment.rand_selector = lambda n: torch.arange(draw, draw + n * APART, APART) % len(names)
        labels, corners = source()
        image, labels, corners = strong(of.images.float().div_(255), labels, corners)
        return image, labels[:, 0], corners

    def looped(_: int) -> tuple[Tensor, ...]:
        return (torch.cat([alone(image) for image in of.images.float().div_(255).split(1)]),)

    return {"kornia_dense": dense, "kornia_looped": looped}


def kornia_source(of: Data) -> Callable[[], Any]:
    """Return Kornia's way from the weak view's labels and boxes back to the images', for the flips that were drawn."""
    keys = ["input", "mask", "bbox_xyxy"]
    weak: Any = AugmentationSequential(RandomHorizontalFlip(p=0.5), data_keys=keys)
    params = weak.forward_parameters(torch.Size(of.images.shape))
    params[0].data["batch_prob"] = of.flipped.float()
    return lambda: weak.inverse(of.labels[:, None], of.boxes, data_keys=keys[1:], params=params)


def torchvision_ways(of: Data) -> dict[str, Way]:
    """Return torchvision's ops on one uint8 image after the other, made float together."""
    whole = v2.Compose(
        [
            v2.RandomHorizontalFlip(p=0.5),
            v2.RandAugment(2, interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomErasing(p=1.0, scale=AREA, ratio=(1.0, 1.0), value=127),
        ]
    )
    return {"torchvision": lambda _: (torch.stack([whole(image) for image in of.images]).float().div_(255),)}


def pillow_ways(of: Data) -> dict[str, Way]:
    """Return Pillow's ops on one decoded picture after the other, made float together."""
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy().squeeze()) for image in of.images]
    height, width = of.size

    def shifted(image: Image.Image, *matrix: float) -> Image.Image:
        return image.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)

    every: list[Callable[[Image.Image], Image.Image]] = [
        ImageOps.autocontrast,
        ImageOps.equalize,
        ImageOps.invert,
        lambda image: ImageOps.solarize(image, random.randint(26, 256)),
        lambda image: ImageOps.posterize(image, random.randint(1, 8)),
        lambda image: ImageEnhance.Color(image).enhance(random.uniform(0.1, 1.9)),
        lambda image: ImageEnhance.Contrast(image).enhance(random.uniform(0.1, 1.9)),
        lambda image: ImageEnhance.Brightness(image).enhance(random.uniform(0.1, 1.9)),
        lambda image: ImageEnhance.Sharpness(image).enhance(random.uniform(0.1, 1.9)),
        lambda image: shifted(image, 1, random.uniform(-0.3, 0.3), 0, 0, 1, 0),
        lambda image: shifted(image, 1, 0, 0, random.uniform(-0.3, 0.3), 1, 0),
        lambda image: shifted(image, 1, 0, random.uniform(-0.15, 0.15) * width, 0, 1, 0),
        lambda image: shifted(image, 1, 0, 0, 0, 1, random.uniform(-0.15, 0.15) * height),
        lambda image: image.rotate(random.uniform(-30, 30), Image.Resampling.BILINEAR),
    ]
    pool = [every[i] for i in of.pool]

    def view(image: Image.Image) -> Tensor:
        image = ImageOps.mirror(image) if random.random() < 0.5 else image.copy()
        for op in random.sample(pool, 2):
            image = op(image)
        side = round(math.sqrt(random.uniform(*AREA) * height * width))
        side = min(side, height, width)
        left, top = random.randint(0, width - side), random.randint(0, height - side)
        image.paste("#7f7f7f", (left, top, left + side, top + side))
        return torch.from_numpy(np.array(image)).view(height, width, -1).permute(2, 0, 1)

    return {"pillow": lambda _: (torch.stack([view(picture) for picture in pictures]).float().div_(255),)}
