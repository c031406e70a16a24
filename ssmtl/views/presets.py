"""Policies under the names of the papers that they come from."""

from typing import Literal

from ssmtl.views.color import Saturation
from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import ReflectCrop, ScaleCrop
from ssmtl.views.levels import (
    AutoContrast,
    Brightness,
    Contrast,
    Equalize,
    Identity,
    Invert,
    Posterize,
    Solarize,
)
from ssmtl.views.pixels import Sharpness
from ssmtl.views.policy import Policy
from ssmtl.views.transform import Follow, Transform
from ssmtl.views.warps import HorizontalFlip, Rotate, ShearX, ShearY, TranslateX, TranslateY

POOL_MULTIMIX: tuple[Transform, ...] = (
    AutoContrast(),
    Brightness(0.05, 0.95),
    Contrast(0.05, 0.95),
    Equalize(),
    Identity(),
    Posterize(4, 8),
    Rotate(0, 30),
    Sharpness(0.05, 0.95),
    ShearX(0, 0.3),
    ShearY(0, 0.3),
    Solarize(0, 256),
    TranslateX(0, 0.3),
    TranslateY(0, 0.3),
)
"""MultiMix (Haque et al. 2021): the pool below without color, for gray films. Factors only darken, flatten and blur."""

POOL_FIXMATCH: tuple[Transform, ...] = (*POOL_MULTIMIX, Saturation(0.05, 0.95))
"""FixMatch (Sohn et al. 2020, Table 12) as its common PyTorch port has it: 14 ops, at levels 1 to 9 of 10."""

POOL_DENSE: tuple[Transform, ...] = (
    AutoContrast(),
    Equalize(),
    Invert(),
    Solarize(26, 256),
    Posterize(1, 8),
    Saturation(0.1, 1.9),
    Contrast(0.1, 1.9),
    Brightness(0.1, 1.9),
    Sharpness(0.1, 1.9),
    ShearX(0, 0.3),
    ShearY(0, 0.3),
    TranslateX(0, 0.15),
    TranslateY(0, 0.15),
    Rotate(0, 30),
)
"""Table 10 of the study of partially labeled data, see `dense_weak`: shear up to 17 degrees, shifts up to 15 %."""

POOL_DENSE_FIXMATCH: tuple[Transform, ...] = (
    Identity(),
    AutoContrast(),
    Equalize(),
    Invert(),
    Solarize(0, 256),
    Posterize(4, 8),
    Saturation(0.1, 1.9),
    Contrast(0.1, 1.9),
    Brightness(0.1, 1.9),
    Sharpness(0.1, 1.9),
    ShearX(0, 0.3),
    ShearY(0, 0.3),
    Rotate(0, 30),
)
"""The program of Dense FixMatch (Martí i Rabadán et al. 2022) at magnitude 10: no shifts, since crops shift already."""


def identity() -> Policy:
    """Return the policy that changes nothing: MultiMix's view of the films with lung masks."""
    return Policy()


def multimix_weak(pad: float = 0.125) -> Policy:
    """Return MultiMix's weak view: flip half of the images, mirror `pad` of each side, crop back to the size.

    The authors' program pads an eighth: 32 pixels of 256.
    """
    return Policy(always=(HorizontalFlip(), ReflectCrop(pad=pad)))


def multimix_strong(pad: float = 0.125) -> Policy:
    """Return MultiMix's strong view: the weak one, then 2 of 13 RandAugment ops, each with probability one half.

    No cutout. The authors' program pads 4 pixels of 256 here (`pad=1 / 64`), a leftover of 32-pixel images; the default
    treats both views alike.
    """
    return multimix_weak(pad).replace(pool=POOL_MULTIMIX, num_ops=2, probability=0.5, levels=(1, 9))


def cifar_weak(*, flip: bool = True) -> Policy:
    """Return the weak view of FixMatch and of MixMatch on CIFAR-10: flip half, then shift by up to 4 of 32 pixels.

    On SVHN digits aren't flipped (`flip=False`). Sohn et al. 2020; Berthelot et al. 2019.
    """
    return Policy(always=(*(HorizontalFlip(),) * flip, ReflectCrop(pad=1 / 8)))


def fixmatch_strong(*, flip: bool = True) -> Policy:
    """Return FixMatch's strong view: the weak one, 2 of 14 ops with probability one half each, and Cutout.

    Sohn et al. 2020, Appendix: gray squares of half the side, 16 of 32 pixels, whose center lies anywhere.
    """
    weak = cifar_weak(flip=flip)
    cutout = Cutout((0.25, 0.25), inside=False, fill=127 / 255)
    return weak.replace(always=(*weak.always, cutout), pool=POOL_FIXMATCH, num_ops=2, probability=0.5, levels=(1, 9))


def dense_weak(
    size: tuple[int, int] | None = None, scale: tuple[float, float] = (0.5, 2.0), *, shared_flip: bool = False
) -> Policy:
    """Return the weak view of FixMatch* and Dense FixMatch: scale, cut `size` out, flip half.

    Table 10 of the study of partially labeled data, "Multi-task learning on partially labeled datasets via
    invariant/equivariant semi-supervised learning". What some task doesn't declare, or its strategy doesn't allow, is
    left out: the flip under FixMatch*, unless both views share it.
    """
    return Policy(always=(ScaleCrop(size, scale=scale), _flip(shared=shared_flip)), derive=True)


def dense_strong(
    size: tuple[int, int] | None = None,
    scale: tuple[float, float] = (0.5, 2.0),
    *,
    crop: Follow = "overlapping",
    pool: tuple[Transform, ...] = POOL_DENSE,
    scope: Literal["batch", "sample"] = "batch",
    shared_flip: bool = False,
) -> Policy:
    """Return the strong view of FixMatch* and Dense FixMatch: a crop at the same scale, 2 ops, a flip, and Cutout.

    The ops' types are drawn once for the batch (or `scope="sample"`), without replacement, their strengths for every
    image; the blank square covers 10 to 30 %. What some task doesn't declare, or its strategy doesn't allow, is left
    out, and without shifts the crop is the weak view's: that is FixMatch* (Table 10 of the same study).
    """
    return Policy(
        always=(ScaleCrop(size, scale=scale, follow=crop), _flip(shared=shared_flip), Cutout((0.1, 0.3))),
        pool=pool,
        num_ops=2,
        scope=scope,
        distinct=True,
        derive=True,
    )


def _flip(*, shared: bool) -> HorizontalFlip:
    return HorizontalFlip(follow="same" if shared else "any")


def default_strong() -> Policy:
    """Return the strong view of a recipe that names none: 2 ops an image, of what its tasks declare, and Cutout."""
    return Policy(always=(Cutout((0.1, 0.3)),), pool=POOL_DENSE_FIXMATCH, num_ops=2, distinct=True, derive=True)
