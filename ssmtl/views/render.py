"""From images and a draw to a view: levels by table lookup, all movement in one resampling, cutouts last."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from ssmtl.views.geometry import Geometry
from ssmtl.views.movement import cut, move
from ssmtl.views.policy import Draw
from ssmtl.views.retouch import retouch


@final
@dataclass(frozen=True)
class Rendered:
    """A view: images in [0, 1], how their pixels moved, and which pixels show a real pixel of the source.

    Mirrored pixels are part of the image and not `valid`: targets aren't mirrored; what a cutout blanked for targets is
    not valid either. `geometry.valid` is `valid`, so that `between(this.geometry, other.geometry)` moves predictions
    made on this view, and `geometry.matrix` stays on the CPU. To move labels of the source itself, replace
    `geometry.valid` by the source's real pixels (or None).
    """

    image: Float[Tensor, "n c h w"]
    geometry: Geometry
    valid: Bool[Tensor, "n h w"]

    @classmethod
    def cat(cls, parts: Sequence["Rendered"]) -> "Rendered":
        """Join views of one size, rows in order; raises ValueError for none, or for different sizes."""
        sizes = sorted({part.geometry.size for part in parts})
        if len(sizes) != 1:
            raise ValueError(f"joining views needs one size, got {sizes or 'no views'}: render on one canvas")
        if len(parts) == 1:
            return parts[0]
        valid = torch.cat([part.valid for part in parts])
        erased = None
        if any(part.geometry.erased is not None for part in parts):
            erased = torch.cat([_erased_or_none(part) for part in parts])
        real = [part.geometry.source_size for part in parts if part.geometry.source_size is not None]
        matrix = torch.cat([part.geometry.matrix for part in parts])
        source_size = torch.cat(real) if len(real) == len(parts) else None
        geometry = Geometry(matrix, sizes[0], valid, erased, source_size)
        return cls(torch.cat([part.image for part in parts]), geometry, valid)


@torch.no_grad()
def render(images: Num[Tensor, "n c h w"], draw: Draw) -> Rendered:
    """Render the view that was drawn for each image, in float32 whatever the autocast, on the images' device.

    Images are uint8, or float in [0, 1], which the photometric ops round to 8 bits. The rest of a canvas that an image
    doesn't fill keeps its levels, doesn't enter histograms, moves along, and is never valid. Mirroring is at the edges
    of the canvas, without repeating the outermost pixels.

    Raises ValueError for images of another type or range, or that don't fit the draw in number or size. Looking at the
    range of float images waits for the device; uint8 never does.
    """
    _check(images, draw)
    sizes = draw.geometry.source_size
    if sizes is None:
        sizes = torch.tensor([draw.canvas]).expand(len(draw), 2)
    with torch.autocast(images.device.type, enabled=False):
        image, valid = move(retouch(images, sizes, draw.stages), sizes, draw)
        erased = cut(image, draw.cuts)
    if erased is not None:
        valid = valid & ~erased
    return Rendered(image, replace(draw.geometry, valid=valid, erased=erased), valid)


def _check(images: Tensor, draw: Draw) -> None:
    expected = (len(draw), *draw.canvas)
    if (images.shape[0], *images.shape[2:]) != expected:
        raise ValueError(
            f"images of shape {tuple(images.shape)} don't fit a draw of (rows, height, width) {expected}: sample the "
            "policy for these rows and this size"
        )
    if images.is_floating_point():
        low, high = (float(end) for end in images.aminmax()) if images.numel() else (0.0, 1.0)
        if not (low >= 0 and high <= 1):
            raise ValueError(f"float images must be in [0, 1], got {low:g} to {high:g}: render before normalizing")
    elif images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 (0 to 255) or float (0 to 1), got {images.dtype}: convert them first")


def _erased_or_none(part: Rendered) -> Bool[Tensor, "n h w"]:
    return torch.zeros_like(part.valid) if part.geometry.erased is None else part.geometry.erased
