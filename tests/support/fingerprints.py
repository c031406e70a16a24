"""What every row of a batch drew, bit by bit; `python tests/support/fingerprints.py` prints it for some policies."""

import hashlib

import numpy as np

from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import RandomResizedCrop, ReflectCrop, ScaleCrop
from ssmtl.views.kornia_warp import Kornia
from ssmtl.views.policy import Policy
from ssmtl.views.presets import POOL_DENSE, dense_strong, fixmatch_strong, multimix_strong
from ssmtl.views.warps import Perspective, Rot90, VerticalFlip

SIZE = (48, 60)
SEVERAL = {
    "multimix": multimix_strong(),
    "fixmatch": fixmatch_strong(),
    "dense": dense_strong((32, 40)),
    "resized": Policy(always=(RandomResizedCrop((40, 40)),)),
    "everything": Policy(
        always=(
            ScaleCrop((40, 40), scale=(0.5, 2), follow="overlapping"),
            ReflectCrop(p=0.7),
            VerticalFlip(follow="same"),
            Kornia("RandomAffine", degrees=(-30, 30), scale=(0.8, 1.2)),
            Cutout((0.1, 0.3), ratio=(0.5, 2), p=0.8),
        ),
        pool=(*POOL_DENSE, Perspective(), Rot90(), "GaussianNoise", "ColorJitter"),
        num_ops=3,
        distinct=True,
        probability=0.8,
        levels=(0, 10),
    ),
}


def fingerprints(policy, rows, *, key=3, shared=4):
    """Return a digest for each of `rows` of matrices, ops in their order, their values, and rectangles."""
    draw = policy.sample(key, np.asarray(rows), SIZE, shared=shared)
    parts = [[matrix.numpy().tobytes()] for matrix in draw.geometry.matrix]
    for place, matrix in enumerate([] if draw.framed is None else draw.framed):
        parts[place].append(matrix.numpy().tobytes())
    for op, index, values in (
        *((stage.op, stage.rows, stage.values) for stage in draw.stages),
        *((cut.op, cut.rows, cut.rectangles) for cut in draw.cuts),
    ):
        for place, numbers in zip(index.tolist(), values, strict=True):
            parts[place].append(repr(op).encode() + numbers.numpy().tobytes())
    return [hashlib.sha256(b"|".join(part)).hexdigest()[:16] for part in parts]


if __name__ == "__main__":
    for name, policy in SEVERAL.items():
        print(name, *fingerprints(policy, range(24)))  # noqa: T201 - it is a program here
