"""Names of the transforms that come with ssmtl: the vocabulary in which tasks declare their symmetries.

What each does, its range and its unit are said in its class: levels, pixels, warps, framing and erasing in this folder.
"""

LEVELS: tuple[str, ...] = (
    "AutoContrast",
    "Brightness",
    "Contrast",
    "Equalize",
    "Identity",
    "Invert",
    "Posterize",
    "Solarize",
)
"""Those that give every level of a channel a new one."""
FILTERS: tuple[str, ...] = ("GaussianBlur", "GaussianNoise", "Grayscale", "Hue", "Saturation", "Sharpness")
"""Those that look at neighboring pixels, or at the other channels."""
PHOTOMETRIC: tuple[str, ...] = (*LEVELS, *FILTERS, "ColorJitter", "Cutout")
"""Those that leave every pixel where it is."""
FRAMES: tuple[str, ...] = ("RandomResizedCrop", "ReflectCrop", "ScaleCrop")
"""Those that choose which part of the image is seen, and at which size."""
WARPS: tuple[str, ...] = (
    "HorizontalFlip",
    "Perspective",
    "Rot90",
    "Rotate",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "VerticalFlip",
)
"""Those that move pixels within the frame."""
GEOMETRIC: tuple[str, ...] = (*FRAMES, *WARPS)
"""Those that move pixels."""
