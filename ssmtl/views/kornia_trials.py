"""Trying an augmentation of Kornia on the CPU: what it draws from a seed, and whether its matrix tells the truth."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from kornia.geometry.transform import warp_perspective
from torch import Tensor

from ssmtl.views.transform import Matrices, Size

TOLERANCE = 1e-3
"""Largest difference, of levels between 0 and 1 of a smooth image, between an augmentation and a warp by its matrix."""


@contextmanager
def sealed() -> Iterator[Callable[[int], Any]]:
    """Yield what sets the seed of torch's CPU generator, which is restored in the end; no other one is touched."""
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False), torch.no_grad():
        yield torch.default_generator.manual_seed


def matrix_of(op: Any, drawn: dict[str, Tensor], size: Size) -> Matrices:
    """Return the matrices of drawn parameters in float64, without any pixels."""
    matrix: Matrices = op.generate_transformation_matrix(
        torch.zeros((), dtype=torch.float64).expand(1, 3, *size), drawn, op.flags
    )
    return matrix.double()


def image_of(op: Any, image: Tensor, drawn: dict[str, Tensor] | None = None) -> Tensor | None:
    """Return what an augmentation makes of an image, None where it says nothing but its matrix."""
    try:
        view: Tensor = op(image, params=drawn)
    except NotImplementedError:
        return None
    return view


def probe_size(op: Any) -> Size:
    """Return the size of an image that a crop fits in."""
    wanted = op.flags.get("size", 0)
    height, width = (wanted, wanted) if isinstance(wanted, int) else wanted
    return max(48, height + 16), max(64, width + 32)


def trial(op: Any, seed: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return a smooth test image, and the matrix and the view, as far as there are any, that a seed draws for it."""
    height, width = probe_size(op)
    y, x = torch.linspace(0, 1, height, dtype=torch.float64)[:, None], torch.linspace(0, 1, width, dtype=torch.float64)
    image = torch.stack([(x + 0 * y), (y + 0 * x), (1 + torch.sin(5 * x + 3 * y * y)) / 2])[None]
    with sealed() as sow:
        sow(seed)
        drawn = op.forward_parameters(tuple(image.shape))
        known = hasattr(op, "generate_transformation_matrix")
        return image, matrix_of(op, drawn, (height, width)) if known else None, image_of(op, image, drawn)


def follows(image: Tensor, matrix: Tensor | None, view: Tensor | None) -> bool:
    """Tell whether a view is its image warped by its matrix, wherever it shows nothing but the image's inside.

    An eighth along each border is left out: crops that are cut out before they are enlarged repeat their last pixels.
    """
    if view is None or matrix is None:
        return matrix is not None
    size = (view.shape[-2], view.shape[-1])
    shown = warp_perspective(torch.cat([image, torch.ones_like(image[:, :1])], 1), matrix, size)
    rows, columns = (slice(side // 8, side - side // 8) for side in size)
    covered = shown[:, 3:, rows, columns] > 1 - 1e-9
    off = (shown[:, :3] - view)[..., rows, columns].abs() * covered
    return not off.numel() or float(off.max()) <= TOLERANCE


def same(one: tuple[Tensor | None, ...], other: tuple[Tensor | None, ...]) -> bool:
    """Tell whether two trials drew the same."""
    return all(
        (a is None and b is None) or (a is not None and b is not None and a.shape == b.shape and torch.equal(a, b))
        for a, b in zip(one, other, strict=True)
    )
