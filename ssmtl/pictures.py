"""Small pictures: gray to RGB, heat over an image, PNG files."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from PIL import Image
from torch import Tensor


def to_rgb(image: UInt8[Tensor, "c h w"]) -> UInt8[Tensor, "3 h w"]:
    """Return the first channel three times, or the first three channels."""
    return image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)


def heat(
    image: UInt8[Tensor, "3 h w"], values: Float[Tensor, "1 h w"], strength: float = 0.55
) -> UInt8[Tensor, "3 h w"]:
    """Lay `values`, scaled to their own 99th percentile, over an image: transparent where 0, yellow where strong."""
    top = torch.quantile(values.flatten(), 0.99).clamp(min=1e-12)
    level = (values[0] / top).clamp(0, 1)
    colors = torch.from_numpy(colormaps["inferno"](level.numpy())[..., :3].transpose(2, 0, 1) * 255.0)
    mixed = image * (1 - strength * level) + colors * (strength * level)
    return mixed.round().clamp(0, 255).to(torch.uint8)


def save_png(image: UInt8[Tensor, "c h w"], path: Path) -> Path:
    """Write a gray or RGB picture; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image.cpu().numpy()
    Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path)
    return path
