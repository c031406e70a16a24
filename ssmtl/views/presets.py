"""Policies under the names of the papers that they come from."""

from ssmtl.views.policy import Policy

RANDAUGMENT_MULTIMIX = (
    "AutoContrast",
    "Brightness",
    "Contrast",
    "Equalize",
    "Identity",
    "Posterize",
    "Rotate",
    "Sharpness",
    "ShearX",
    "ShearY",
    "Solarize",
    "TranslateX",
    "TranslateY",
)
"""The 15 transforms of MultiMix (Haque et al. 2021, MELBA) without the flip and the crop, which always come first."""


def identity() -> Policy:
    """Return the policy that changes nothing: MultiMix's view of the films with lung masks."""
    return Policy()


def multimix_weak(pad: float = 0.125) -> Policy:
    """Return MultiMix's weak view: flip half of the images, mirror `pad` of each side, crop back to the size.

    The authors' program pads an eighth: 32 pixels of 256.
    """
    return Policy(always=("HorizontalFlip", "ReflectCrop"), pad=pad)


def multimix_strong(pad: float = 0.125) -> Policy:
    """Return MultiMix's strong view: the weak one, then 2 of 13 RandAugment ops, each with probability one half.

    No cutout. The authors' program pads 4 pixels of 256 here (`pad=1 / 64`), a leftover of 32-pixel images; the default
    treats both views alike.
    """
    return multimix_weak(pad).replace(pool=RANDAUGMENT_MULTIMIX, num_ops=2, probability=0.5, levels=(1, 9))
