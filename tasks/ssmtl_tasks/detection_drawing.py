"""Pictures of boxes with what is in them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor


def draw_boxes(
    image: UInt8[Tensor, "3 h w"],
    boxes: Float[Tensor, "m 4"],
    captions: Sequence[str],
    color: tuple[int, int, int],
) -> UInt8[Tensor, "3 h w"]:
    """Return a copy of `image` with the outermost pixels inside of each box in `color`, and its caption above them.

    Boxes are half-open in pixels of `image`, at least a pixel wide and high.
    """
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
    pen = ImageDraw.Draw(picture)
    for (left, top, right, bottom), caption in zip(boxes.round().tolist(), captions, strict=True):
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color)
        height = pen.textbbox((0, 0), caption)[3]
        pen.text((left + 1, max(0, top - height - 1)), caption, fill=color)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).to(image.device)
