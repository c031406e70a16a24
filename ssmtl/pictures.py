"""Pictures of predictions: gray to RGB, heat over an image, panels beside each other, PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from ssmtl.blocks import BODY, Key, Picture, beside, legend, stack, text
from ssmtl.palette import PLACED, Color, class_colors
from ssmtl.recipe import Recipe
from ssmtl.task import Classified, Croppable

SMALLEST = 320
"""Longest side in pixels that an image on a picture has at least."""
UNIT = 512
"""Longest side in pixels up to which lines are a pixel thick; on larger pictures lines and letters grow along."""
GAP = 8
NAMES = ("reference", "prediction")


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


def unit_of(image: UInt8[Tensor, "c h w"]) -> int:
    """Return what lines and letters on an image are multiplied by, so that they stay legible when it is shrunk."""
    return max(1, round(max(image.shape[1:]) / UNIT))


def zoom_of(size: tuple[int, int]) -> int:
    """Return the whole factor by which an image of (height, width) is enlarged, so that letters fit on it."""
    return -(-SMALLEST // max(size))


def enlarged(part: Shaped[Tensor, "c H W"], size: tuple[int, int]) -> Shaped[Tensor, "c _ _"]:
    """Return the top left (height, width) pixels of an image or map, each repeated `zoom_of(size)` times both ways."""
    zoom, shown = zoom_of(size), part[:, : size[0], : size[1]]
    return shown.repeat_interleave(zoom, 1).repeat_interleave(zoom, 2)


def at_most(image: UInt8[Tensor, "3 h w"], side: int) -> UInt8[Tensor, "3 _ _"]:
    """Return an image averaged down to `side` pixels where it is longer."""
    picture = from_tensor(image)
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return to_tensor(picture)


def side_by_side(
    reference: UInt8[Tensor, "3 h w"], prediction: UInt8[Tensor, "3 h w"], keys: Sequence[Key]
) -> UInt8[Tensor, "3 H W"]:
    """Return two panels with their names above and a legend below."""
    unit = unit_of(reference)
    panels = [(from_tensor(panel), panel.shape[2]) for panel in (reference, prediction)]
    names = [(text(name, width, size=BODY * unit), width) for name, (_, width) in zip(NAMES, panels, strict=True)]
    rows = [beside(names, GAP * unit), beside(panels, GAP * unit)]
    if keys:
        small = legend(keys, rows[0].width // unit)
        rows.append(small.resize((small.width * unit, small.height * unit), Image.Resampling.LANCZOS))
    return to_tensor(stack(rows, 2 * unit))


def recipe_colors(recipe: Recipe) -> dict[str, Color]:
    """Return a color for every class of a recipe's mask and box tasks, then of what else its readers annotate."""
    tasks = [task for task in recipe.tasks.values() if isinstance(task, Croppable) and isinstance(task, Classified)]
    splits = (*recipe.validation, *recipe.test)
    readers = [*(source.reader for source in recipe.sources), *(split.reader for split in splits)]
    learned = [name for task in tasks for name in task.classes]
    kinds = (*PLACED, *(task.reads for task in tasks))
    annotated = [name for reader in readers for kind in kinds for name in reader.classes(kind)]
    return class_colors([*learned, *annotated])


def from_tensor(image: UInt8[Tensor, "3 h w"]) -> Picture:
    """Return an RGB image as a picture to draw on."""
    return Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))


def to_tensor(picture: Picture) -> UInt8[Tensor, "3 h w"]:
    """Return an RGB picture as an image on the CPU."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def save_map(values: Shaped[np.ndarray, "h w"], path: Path) -> Path:
    """Write a map of 8-bit or 16-bit numbers as a gray picture; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def save_png(image: UInt8[Tensor, "c h w"], path: Path) -> Path:
    """Write a gray or RGB picture; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image.cpu().numpy()
    Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path)
    return path
