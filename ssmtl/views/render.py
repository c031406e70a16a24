"""From images and a draw to a view: levels by table lookup, all movement in one resampling, cutouts last."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from ssmtl.views.geometry import Geometry
from ssmtl.views.movement import Movement, cut
from ssmtl.views.policy import Draw
from ssmtl.views.resample import rows_at_once
from ssmtl.views.retouch import retouch, split


@final
@dataclass(frozen=True)
class Rendered:
    """A view: images in [0, 1], and how their pixels moved.

    `geometry.valid` marks the pixels that show a real pixel of the source (None: all do), so that
    `between(this.geometry, other.geometry)` moves predictions made on this view. Mirrored pixels are part of the image
    and not valid: targets aren't mirrored. What a cutout blanked for targets is not valid either. To move labels of the
    source itself, replace `geometry.valid` by the source's real pixels (or None).
    """

    image: Float[Tensor, "n c h w"]
    geometry: Geometry

    @property
    def valid(self) -> Bool[Tensor, "n h w"]:
        """Return which pixels show a real pixel of the source."""
        everywhere = torch.ones((), dtype=torch.bool, device=self.image.device)
        found = self.geometry.valid
        return everywhere.expand(len(self.image), *self.geometry.size) if found is None else found

    @classmethod
    def cat(cls, parts: Sequence["Rendered"]) -> "Rendered":
        """Join views of one size, rows in order; raises ValueError for none, or for different sizes."""
        sizes = sorted({part.geometry.size for part in parts})
        if len(sizes) != 1:
            raise ValueError(f"joining views needs one size, got {sizes or 'no views'}: render on one canvas")
        if len(parts) == 1:
            return parts[0]
        valid = _joined([part.geometry.valid for part in parts], [part.valid for part in parts])
        erased = [part.geometry.erased for part in parts]
        nowhere = [part.valid.new_zeros(part.valid.shape) for part in parts]
        real = [part.geometry.source_size for part in parts if part.geometry.source_size is not None]
        geometry = Geometry(
            torch.cat([part.geometry.matrix for part in parts]),
            sizes[0],
            valid,
            _joined(erased, nowhere),
            torch.cat(real) if len(real) == len(parts) else None,
        )
        return cls(torch.cat([part.image for part in parts]), geometry)


def _joined(masks: Sequence[Tensor | None], instead: Sequence[Tensor]) -> Tensor | None:
    """Join masks, with others instead of those that are None, unless all are."""
    if all(mask is None for mask in masks):
        return None
    return torch.cat([other if mask is None else mask for mask, other in zip(masks, instead, strict=True)])


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
    device = images.device
    with torch.autocast(device.type, enabled=False):
        movement = Movement(draw, sizes, device)
        image = torch.empty((*images.shape[:2], *draw.geometry.size), device=device)
        at_once = rows_at_once(draw.canvas, len(draw), device)
        stages = split(draw.stages, at_once)
        for part, start in enumerate(range(0, len(draw), at_once)):
            rows = slice(start, start + at_once)
            retouched = retouch(images[rows], sizes[rows], stages.get(part, ()))
            movement.run(retouched, rows, image[rows])
        erased = cut(image, draw.cuts)
    valid = movement.valid
    if erased is not None:
        valid = ~erased if valid is None else valid & ~erased
    return Rendered(image, replace(draw.geometry, valid=valid, erased=erased))


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
