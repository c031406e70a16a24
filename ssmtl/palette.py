"""One color per class: the same in masks, boxes and legends, wherever a class of that name appears.

Colors begin with those of Okabe and Ito (2008), which people tell apart however they see color; every one is
far from all others in CIELAB, both as it is and as seen without red or green cones (Machado et al. 2009). None is
gray, black or white: gray means ignored.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

Color: TypeAlias = tuple[int, int, int]
Colors: TypeAlias = Mapping[str, Color]

PALETTE: tuple[Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (0, 255, 135),
    (225, 15, 75),
    (150, 150, 255),
    (135, 0, 195),
    (0, 255, 255),
    (60, 105, 255),
    (180, 165, 75),
    (195, 240, 195),
    (135, 0, 120),
    (165, 225, 90),
    (0, 0, 255),
    (75, 60, 15),
    (120, 30, 60),
)
BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)
BRIGHT = 120
"""Luma from which on a color carries black, and not white."""
IGNORED: Color = (100, 100, 100)
"""The color of what no loss and no metric sees."""
BACKGROUND = "background"
"""The class that has no color: the image shows through."""
PLACED = ("mask", "boxes")
"""Kinds of annotations that belong to places in the image, and whose classes have colors."""


def class_colors(names: Iterable[str]) -> dict[str, Color]:
    """Return a color per name in their order, the same for names that differ in case; background has none.

    The first 20 differ; after these, colors come again.
    """
    colors: dict[str, Color] = {}
    places: dict[str, int] = {}
    for name in names:
        if (folded := name.casefold()) != BACKGROUND:
            colors[name] = PALETTE[places.setdefault(folded, len(places)) % len(PALETTE)]
    return colors


def ink_on(color: Color) -> Color:
    """Return black or white, whichever shows better on or beside a color."""
    red, green, blue = color
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue >= BRIGHT else WHITE
