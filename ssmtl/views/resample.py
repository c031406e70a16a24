"""Looking up the pixels that a view shows: nearest or bilinear, one pass over the result.

Three kinds of maps, told apart on the CPU. Upright ones (no turn, no shear) are separable: an index per column and an
index per row, in float64, exact. Quarter turns are upright on the transposed image. All others go through
`grid_sample`, whose coordinates are composed in float64 and rounded to float32 once.
"""

from typing import Literal, TypeAlias, TypeVar, cast

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor
from torch.nn.functional import grid_sample

from ssmtl.views.geometry import is_affine, upload

Values = TypeVar("Values", bound=Tensor)
Outside: TypeAlias = Literal["zeros", "border", "reflection"]
FAR = 1e4
NUDGE = 2.0**-10
"""What is half-way between two pixels goes to the later one; float32 must not decide otherwise."""


def is_upright(back: Float64[Tensor, "n 3 3"]) -> Bool[Tensor, " n"]:
    """Tell which maps send columns to columns and rows to rows."""
    return (back[:, [0, 1], [1, 0]] == 0).all(1) & is_affine(back)


def is_whole(back: Float64[Tensor, "n 3 3"]) -> Bool[Tensor, " n"]:
    """Tell which upright maps only flip and shift by whole pixels."""
    unit = (back[:, [0, 1], [0, 1]].abs() == 1).all(1)
    return is_upright(back) & unit & (back == back.round()).flatten(1).all(1)


def swapped(back: Float64[Tensor, "n 3 3"]) -> Float64[Tensor, "n 3 3"]:
    """Return maps onto the transposed source."""
    return back[:, [1, 0, 2]]


def nearest(values: Values, back: Float64[Tensor, "n 3 3"], size: tuple[int, int], fill: int) -> Values:
    """Return per view pixel the value [n, h, w] of the source pixel that `back` sends it to; `fill` outside."""
    if bool(is_upright(back).all()):
        index, found = _upright(back, size, values.shape[-2:], values.device)
        picked = values.flatten(1).gather(1, index.flatten(1)).view(index.shape)
        return cast(Values, torch.where(found, picked, fill).to(values.dtype))
    work = values.dtype if values.dtype == torch.float64 else torch.float32
    places = grid(back, size, values.shape[-2:], values.device, nudge=NUDGE).to(work)
    with torch.autocast(values.device.type, enabled=False):
        moved = grid_sample((values.to(work) - fill)[:, None], places, "nearest", "zeros", align_corners=False)
    return cast(Values, (moved[:, 0] + fill).to(values.dtype))


def bilinear(
    images: Float[Tensor, "n c h w"], back: Float64[Tensor, "n 3 3"], size: tuple[int, int], outside: Outside
) -> Float[Tensor, "n c H W"]:
    """Sample images, and `outside` zeros, their outermost pixels, or their reflection about the outermost pixels."""
    corners = outside == "reflection"  # otherwise `grid_sample` would reflect about the edge, repeating the outermost
    places = grid(back, size, images.shape[-2:], images.device, corners=corners).to(images.dtype)
    with torch.autocast(images.device.type, enabled=False):
        return grid_sample(images, places, "bilinear", outside, align_corners=corners)


def shown(
    sizes: Int64[Tensor, "n 2"], back: Float64[Tensor, "n 3 3"], size: tuple[int, int], device: torch.device
) -> Bool[Tensor, "n H W"]:
    """Tell which view pixels show a pixel of the images of `sizes`, on the CPU, in their canvas' top left corner."""
    if bool(is_upright(back).all()):
        x, y = _coordinates(back, size, device)
        limits = upload(sizes, device)[..., None, None]
        return _between(x, limits[:, 1]) & _between(y, limits[:, 0])
    height, width = (int(side) for side in sizes.amax(0)) if len(sizes) else (1, 1)
    rows, columns = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    limits = upload(sizes, device)[..., None, None]
    there = (rows < limits[:, 0]) & (columns < limits[:, 1])
    return nearest(there.float(), back, size, 0) > 0.5


def covers(back: Float64[Tensor, "n 3 3"], size: tuple[int, int], source: tuple[int, int]) -> Bool[Tensor, " n"]:
    """Tell which views a source fills: those whose corners lie on it, for affine maps."""
    bottom, right = size[0] - 1.0, size[1] - 1.0
    corners = torch.tensor([[0, 0], [right, 0], [0, bottom], [right, bottom]], dtype=torch.float64)
    x, y = (corners @ back[:, :2, :2].mT + back[:, None, :2, 2]).unbind(-1)
    return is_affine(back) & (_between(x, source[1]) & _between(y, source[0])).all(1)


def copy(
    images: Shaped[Tensor, "n c h w"], back: Float64[Tensor, "n 3 3"], size: tuple[int, int], outside: Outside
) -> Shaped[Tensor, "n c H W"]:
    """Copy pixels by maps that only flip and shift by whole pixels; outside as in `bilinear`, never zeros."""
    height, width = images.shape[-2:]
    x, y = (part.long() for part in _coordinates(back, size, images.device))
    x, y = (
        (_mirror(x, width), _mirror(y, height))
        if outside == "reflection"
        else (x.clamp(0, width - 1), y.clamp(0, height - 1))
    )
    index = (y * width + x).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).unflatten(2, size)


def grid(
    back: Float64[Tensor, "n 3 3"],
    size: tuple[int, int],
    source: torch.Size | tuple[int, int],
    device: torch.device,
    *,
    nudge: float = 0.0,
    corners: bool = False,
) -> Float[Tensor, "n h w 2"]:
    """Return the grid for `grid_sample(align_corners=corners)` on sources of a size (height, width)."""
    unit = torch.eye(3, dtype=torch.float64)
    for axis, side in enumerate((source[1], source[0])):
        scale = 2 / max(side - 1, 1) if corners else 2 / side
        unit[axis, axis], unit[axis, 2] = scale, scale * (nudge if corners else nudge + 0.5) - 1
    m = upload(unit @ back, device)[..., None, None]
    row = torch.arange(size[0], device=device, dtype=torch.float64)[:, None]
    column = torch.arange(size[1], device=device, dtype=torch.float64)
    if bool(is_affine(back).all()):  # x and y as one complex number: a single pass that vectorizes
        across = torch.complex(m[:, 0, 0] * column + m[:, 0, 2], m[:, 1, 0] * column + m[:, 1, 2])
        down = torch.complex(m[:, 0, 1] * row, m[:, 1, 1] * row)
        return torch.view_as_real(across.to(torch.complex64) + down.to(torch.complex64))
    x, y, depth = (m[:, axis, 0] * column + m[:, axis, 1] * row + m[:, axis, 2] for axis in range(3))
    places = torch.stack([x, y], -1) / depth[..., None]
    return torch.where(depth[..., None] > 1e-9, places, -FAR).clamp(-FAR, FAR).float()


def _upright(
    back: Float64[Tensor, "n 3 3"], size: tuple[int, int], source: torch.Size, device: torch.device
) -> tuple[Int64[Tensor, "n H W"], Bool[Tensor, "n H W"]]:
    """Return the flat index of the pixel nearest to each view pixel, and whether there is one."""
    height, width = source
    x, y = _coordinates(back, size, device)
    column, row = (torch.floor(part + (0.5 + NUDGE)).long() for part in (x, y))
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    return index, _between(x, width) & _between(y, height)


def _between(along: Float64[Tensor, "..."], side: int | Tensor) -> Bool[Tensor, "..."]:
    return (along >= -0.5 - NUDGE) & (along < side - 0.5 - NUDGE)


def _coordinates(
    back: Float64[Tensor, "n 3 3"], size: tuple[int, int], device: torch.device
) -> tuple[Float64[Tensor, "n 1 W"], Float64[Tensor, "n H 1"]]:
    """Return the source column of every view column and the source row of every view row of upright maps."""
    m = upload(back, device)[..., None, None]
    row = torch.arange(size[0], device=device, dtype=torch.float64)[:, None]
    column = torch.arange(size[1], device=device, dtype=torch.float64)
    return m[:, 0, 0] * column + m[:, 0, 2], m[:, 1, 1] * row + m[:, 1, 2]


def _mirror(index: Int64[Tensor, "..."], side: int) -> Int64[Tensor, "..."]:
    """Reflect indices into 0..side-1, about the centers of the first and the last pixel."""
    period = max(2 * (side - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if side > 1 else torch.zeros_like(index)
