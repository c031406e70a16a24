"""Pictures of one row: the reference in green, the prediction in red."""

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries
from torch import Tensor

REFERENCE = (0, 200, 0)
PREDICTED = (230, 0, 0)


def draw_contours(
    image: UInt8[Tensor, "3 h w"], labels: Integer[Tensor, "h w"], color: tuple[int, int, int]
) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` with the inner outline of every region of `labels` that isn't 0."""
    regions = labels.cpu().numpy()
    edges = find_boundaries(regions, mode="inner", background=0)  # type: ignore[no-untyped-call]
    return torch.where(torch.from_numpy(edges).to(image.device), image.new_tensor(color)[:, None, None], image)


def write_lines(image: UInt8[Tensor, "3 h w"], lines: list[tuple[str, tuple[int, int, int]]]) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` with lines of colored text on black in its top left corner."""
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
    pen = ImageDraw.Draw(picture)
    top = 0.0
    for text, color in lines:
        box = pen.textbbox((2, top + 1), text)
        pen.rectangle((0, top, box[2] + 2, box[3] + 1), fill=(0, 0, 0))
        pen.text((2, top + 1), text, fill=color)
        top = box[3] + 1
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).to(image.device)
