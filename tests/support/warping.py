"""Views by hand, and Kornia's word on where their pixels go."""

import torch
from kornia.geometry.transform import warp_perspective

from ssmtl.keyed import key, uniform
from ssmtl.views.geometry import Geometry, apply, inverse
from ssmtl.views.policy import Draw
from ssmtl.views.render import render

MARGIN = 2e-3
"""Pixels; nearer to an edge than a lookup's nudge, either answer will do."""


def images_of(rows, channels, size, seed=0):
    """Random levels from 1 to 255, so that nothing of the image is black."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 256, (rows, channels, *size), dtype=torch.uint8, generator=generator)


def numbers_of(op, rows, seed=0):
    """Numbers for `op.draw` on so many rows."""
    return uniform(key("test", seed, op.kind), torch.arange(rows).numpy(), op.numbers)


def matrix_of(*rows):
    return torch.tensor([rows], dtype=torch.float64)


def shift(x, y):
    return matrix_of([1, 0, x], [0, 1, y], [0, 0, 1])


def show(images, matrix, size, **fields):
    """Render images through matrices, one a row, as a view of a size."""
    return render(images, Draw(Geometry(matrix, size, **fields), tuple(images.shape[-2:])))


def sampled(images, matrix, size):
    """Kornia's bilinear warp of levels in [0, 1], in float64, and which pixels take nothing from outside."""
    levels = images.double() / 255 if images.dtype == torch.uint8 else images.double()
    warped = warp_perspective(levels, matrix, size, align_corners=True)
    covered = warp_perspective(torch.ones_like(levels), matrix, size, align_corners=True) > 1 - 1e-9
    return warped, covered


def outside(matrix, size, canvas):
    """Which view pixels lie clearly outside of the canvas, or behind the camera."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in size), indexing="ij")
    centers = torch.stack([x, y], -1).flatten(0, 1).expand(len(matrix), -1, 2)
    places, depth = apply(inverse(matrix), centers)
    limits = torch.tensor(canvas[::-1], dtype=torch.float64) - 0.5
    beyond = ((places < -0.5 - MARGIN) | (places > limits + MARGIN)).any(-1) | (depth <= 0)
    return beyond.unflatten(1, size)


def kornia_matrix(augmentation, rows, size, **drawn):
    """The float64 matrix [rows, 3, 3] of an augmentation whose drawn parameters are replaced by `drawn`."""
    shape = torch.Size((rows, 1, *size))
    parameters = {**augmentation.forward_parameters(shape), **drawn}
    pixel_free = torch.empty((), dtype=torch.float64).expand(shape)
    return augmentation.generate_transformation_matrix(pixel_free, parameters, augmentation.flags)
