"""Left and right: what a mirror image does to the names of points.

A mirrored face is a face again, but its left eye is where a right eye was. Whoever moves points with a mirrored image
has to exchange the names of each pair too, or the network is taught that left and right are the same.
"""

import re

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from ssmtl.errors import nearest
from ssmtl.views.geometry import Geometry

Pairs = tuple[tuple[str, str], ...]
MIRRORS = ("HorizontalFlip", "VerticalFlip")
"""Transforms of ssmtl that turn an image into a mirror image; turns, shears and crops don't."""
_SIDED = re.compile(r"(?:^|_)(?:left|right)", re.IGNORECASE)


def check_pairs(points: tuple[str, ...], pairs: Pairs) -> None:
    """Raise ValueError unless pairs are of different `points`, none in two, and hold all that name a side.

    A point in no pair lies on the mirror's axis, such as a nose, and keeps its name.
    """
    named = [name for pair in pairs for name in pair]
    for name in named:
        if name not in points:
            raise ValueError(f"mirrored names '{name}', which is no point of the task{nearest(name, points)}")
        if named.count(name) > 1:
            raise ValueError(f"mirrored names '{name}' twice; a point has one counterpart: name it in one pair")
    for name in points:
        if _SIDED.search(name) and name not in named:
            raise ValueError(
                f"mirrored leaves out '{name}', which a mirror image turns into its counterpart; pair it, such as "
                "mirrored=(('left_eye', 'right_eye'),), or leave `mirrored` out, so that images aren't flipped"
            )


def exchanged(points: tuple[str, ...], pairs: Pairs) -> Int64[Tensor, " k"]:
    """Return, for each point, the index of the point whose name it has in a mirror image."""
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return torch.tensor([points.index(other.get(name, name)) for name in points])


def mirrors(geometry: Geometry) -> Bool[Tensor, " n"]:
    """Tell, on the CPU, which rows end up as mirror images: two mirrors make none.

    The determinant of a map's derivative at (x, y) is that of its matrix over the third coordinate's cube. What a
    camera sees has a positive one, so that the matrix alone decides, also in perspective.
    """
    negative: Tensor = torch.linalg.det(geometry.matrix) < 0
    return negative
