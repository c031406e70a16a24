"""Looking up the pixels that a view shows: nearest or bilinear, one pass over the result.

Three kinds of maps, told apart on the CPU. Upright ones (no turn, no shear) are separable: an index per column and an
index per row, in float64, exact. Quarter turns are upright on the transposed image. All others go through
`grid_sample`, whose coordinates are composed in float64 and added up in float32.
"""

from typing import Literal, TypeAlias, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int32, Int64, Shaped
from torch import Tensor
from torch.nn.functional import grid_sample

from ssmtl.views.geometry import is_affine, upload

Values = TypeVar("Values", bound=Tensor)
Outside: TypeAlias = Literal["zeros", "border", "reflection"]
FAR, EPSILON = 1e4, 1e-9
PIXELS_AT_ONCE = 2**16
FEW = 8
"""Images of which more than this many fit at once are small: all rows together cost fewer calls."""
NUDGE = 2.0**-10
"""What is half-way between two pixels goes to the later one; float32 must not decide otherwise."""


def rows_at_once(size: tuple[int, int], rows: int, device: torch.device) -> int:
    """Return how many images of a size to treat at once: on the CPU as many as stay in its cache, if they are few."""
    few = PIXELS_AT_ONCE // max(size[0] * size[1], 1)
    return max(rows, 1) if device.type != "cpu" or few > FEW else max(few, 1)


def is_upright(back: Float64[Tensor, "n 3 3"]) -> Bool[np.ndarray, " n"]:
    """Tell which maps send columns to columns and rows to rows."""
    return np.asarray((back.numpy()[:, [0, 1], [1, 0]] == 0).all(1) & is_affine(back))


def is_whole(back: Float64[Tensor, "n 3 3"]) -> Bool[np.ndarray, " n"]:
    """Tell which upright maps only flip and shift by whole pixels."""
    m = back.numpy()
    unit = (np.abs(m[:, [0, 1], [0, 1]]) == 1).all(1)
    return np.asarray(is_upright(back) & unit & (m == np.round(m)).all((1, 2)))


def slides(back: Float64[Tensor, "n 3 3"]) -> bool:
    """Tell whether all maps are the same one, which only flips and shifts by whole pixels."""
    return bool((back == back[:1]).all() and is_whole(back[:1]).all())


def swapped(back: Float64[Tensor, "n 3 3"]) -> Float64[Tensor, "n 3 3"]:
    """Return maps onto the transposed source."""
    return back[:, [1, 0, 2]]


def as_floats(mask: Bool[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return 1 where a mask is true and 0 elsewhere; PyTorch is many times slower to convert booleans than bytes."""
    return mask.view(torch.uint8).float()


def nearest(
    values: Values,
    back: Float64[Tensor, "n 3 3"],
    size: tuple[int, int],
    fill: int,
    *,
    valid: Bool[Tensor, "n h w"] | None = None,
    erased: Bool[Tensor, "n H W"] | None = None,
) -> Values:
    """Return per view pixel the value [n, h, w] of the source pixel that `back` sends it to.

    It is `fill` outside, where the source isn't `valid`, and where the view is `erased`.
    """
    found = cast(Values, values.new_empty((len(values), *size)))
    at_once = rows_at_once(size, len(values), values.device)
    for start in range(0, len(values), at_once):
        rows = slice(start, start + at_once)
        known = values[rows] if valid is None else torch.where(valid[rows], values[rows], fill).to(values.dtype)
        blank = None if erased is None else erased[rows]
        if slides(back[rows]):
            slide(known[:, None], back[start], found[rows].fill_(fill)[:, None])
            if blank is not None:
                found[rows].masked_fill_(blank, fill)
        elif is_upright(back[rows]).all():
            found[rows] = _indexed(known, back[rows], size, fill, blank)
        else:
            found[rows] = _gridded(known, back[rows], size, fill, blank)
    return found


def _indexed(
    values: Values,
    back: Float64[Tensor, "n 3 3"],
    size: tuple[int, int],
    fill: int,
    erased: Bool[Tensor, "n H W"] | None,
) -> Values:
    """Look values up through an index per column and an index per row."""
    height, width = values.shape[-2:]
    x, y = _coordinates(back, size, values.device)
    column, row = (torch.floor(part + (0.5 + NUDGE)).long() for part in (x, y))
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    found = values.flatten(1).gather(1, index.flatten(1)).view(index.shape)
    keep = None if erased is None else ~erased
    if not covers(back, size, (height, width)).all():
        there = _between(x, width) & _between(y, height)
        keep = there if keep is None else there & keep
    return cast(Values, found if keep is None else torch.where(keep, found, fill).to(values.dtype))


def _gridded(
    values: Values,
    back: Float64[Tensor, "n 3 3"],
    size: tuple[int, int],
    fill: int,
    erased: Bool[Tensor, "n H W"] | None,
) -> Float[Tensor, "n H W"]:
    """Look values up through `grid_sample`, which finds 0 outside; float32 holds every label."""
    work = values.dtype if values.dtype == torch.float64 else torch.float32
    places = grid(back, size, values.shape[-2:], values.device, nudge=NUDGE).to(work)
    shifted = values.to(work, copy=True).sub_(fill)[:, None]
    with torch.autocast(values.device.type, enabled=False):
        moved = grid_sample(shifted, places, "nearest", "zeros", align_corners=False)[:, 0]
    return (moved if erased is None else moved.mul_(as_floats(~erased))).add_(fill)


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
    """Tell which view pixels show a pixel of the images of `sizes`, on the CPU, in their canvas' top left corner.

    Under affine maps these are, in every row of the view, the pixels between a first and a last one.
    """
    if not is_affine(back).all():
        limits = upload(sizes, device)[..., None]
        x, y, depth = _projected(back, size, device)
        return (depth > EPSILON) & _between(x, limits[:, 1, None]) & _between(y, limits[:, 0, None])
    ends = upload(torch.from_numpy(_spans(sizes.numpy(), back.numpy(), size)), device).flatten(1)
    column = torch.arange(size[1], device=device)
    from_on = column >= torch.arange(size[1] + 1, device=device)[:, None]
    first, last = (from_on.index_select(0, end).view(-1, *size) for end in ends)
    return first & ~last


def _spans(
    sizes: Int64[np.ndarray, "n 2"], back: Float64[np.ndarray, "n 3 3"], size: tuple[int, int]
) -> Int32[np.ndarray, "2 n H"]:
    """Return from which column on, and until before which, the rows of a view show images, by affine maps."""
    slope, start = back[:, :2, :1], back[:, :2, 1:2] * np.arange(size[0]) + back[:, :2, 2:]
    low, high = -0.5 - NUDGE - start, sizes[:, ::-1, None] - 0.5 - NUDGE - start
    flat, through = slope == 0, (low <= 0) & (high > 0)
    safe = np.where(flat, 1.0, slope)
    one, other = low / safe, high / safe
    first = np.where(slope > 0, np.ceil(one), np.floor(other) + 1)
    last = np.where(slope > 0, np.ceil(other), np.floor(one) + 1)
    first, last = np.where(flat, 0, first), np.where(flat, np.where(through, size[1], 0), last)
    return np.stack([first.max(1), last.min(1)]).clip(0, size[1]).astype(np.int32)


def covers(back: Float64[Tensor, "n 3 3"], size: tuple[int, int], source: tuple[int, int]) -> Bool[np.ndarray, " n"]:
    """Tell which views a source fills: those whose corners lie on it, for affine maps."""
    m, bottom, right = back.numpy(), size[0] - 1.0, size[1] - 1.0
    corners = np.array([[0, right, 0, right], [0, 0, bottom, bottom]])
    places = m[:, :2, :2] @ corners + m[:, :2, 2:]
    limits = np.array(source[::-1])[:, None] - 0.5 - NUDGE
    return np.asarray(is_affine(back) & ((places >= -0.5 - NUDGE) & (places < limits)).all((1, 2)))


def slide(images: Shaped[Tensor, "n c h w"], back: Float64[Tensor, "3 3"], views: Shaped[Tensor, "n c H W"]) -> None:
    """Copy pixels to where one map that only flips and shifts by whole pixels shows them; other pixels stay."""
    for axis, dim in ((0, 3), (1, 2)):
        step, start = int(back[axis, axis]), int(back[axis, 2])
        side, length = images.shape[dim], views.shape[dim]
        low, high = sorted((-step * start, step * (side - 1 - start)))
        low, high = max(low, 0), min(high, length - 1)
        if low > high:
            return
        first = min(step * low, step * high) + start
        views, images = views.narrow(dim, low, high - low + 1), images.narrow(dim, first, high - low + 1)
        if step < 0:
            images = images.flip(dim)
    views.copy_(images)


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
    unit = np.eye(3)
    for axis, side in enumerate((source[1], source[0])):
        scale = 2 / max(side - 1, 1) if corners else 2 / side
        unit[axis, axis], unit[axis, 2] = scale, scale * (nudge if corners else nudge + 0.5) - 1
    into = unit @ back.numpy()
    if not is_affine(back).all():
        x, y, depth = _projected(torch.from_numpy(into), size, device)
        places = torch.stack([x, y], -1)
        return torch.where(depth[..., None] > EPSILON, places, -FAR).clamp(-FAR, FAR).float()
    m = into[:, None, :2]
    across = m[..., 0] * np.arange(size[1])[:, None] + m[..., 2]
    down = m[..., 1] * np.arange(size[0])[:, None]
    # x and y as one complex number: a single pass that vectorizes
    columns, rows = (
        upload(torch.from_numpy((part[..., 0] + 1j * part[..., 1]).astype(np.complex64)), device)
        for part in (across, down)
    )
    return torch.view_as_real(columns[:, None] + rows[:, :, None])


def _projected(
    back: Float64[Tensor, "n 3 3"], size: tuple[int, int], device: torch.device
) -> tuple[Float64[Tensor, "n H W"], Float64[Tensor, "n H W"], Float64[Tensor, "n H W"]]:
    """Return where every view pixel comes from, and the third coordinate, which is positive in front of the camera."""
    m = upload(back, device)[..., None, None]
    row = torch.arange(size[0], device=device, dtype=torch.float64)[:, None]
    column = torch.arange(size[1], device=device, dtype=torch.float64)
    x, y, depth = (m[:, axis, 0] * column + m[:, axis, 1] * row + m[:, axis, 2] for axis in range(3))
    return x / depth, y / depth, depth


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
