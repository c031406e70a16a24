"""Do the masks of a column agree on what a pixel value is? Editors reorder palettes, and the numbers with them."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image

Color: TypeAlias = tuple[int, int, int]


class Swap(NamedTuple):
    """A mask whose palette gives a color to another value than most masks of its column do."""

    row: int
    color: Color
    value: int
    usual: int
    others: int


class Palettes:
    """The colors that masks of one column give to the values they show; 8 bytes a mask and value."""

    def __init__(self) -> None:
        self._rows: dict[Color, dict[int, array[int]]] = defaultdict(lambda: defaultdict(lambda: array("q")))

    def add(self, row: int, colors: Iterable[tuple[int, Color]]) -> None:
        """Take note of the (value, color) pairs of one mask."""
        for value, color in colors:
            self._rows[color][value].append(row)

    def swaps(self) -> Iterator[Swap]:
        """Yield every mask in which a color stands for another value than in most; the lower value where it's even.

        The same value in different colors is no swap: two tools may paint the same class differently.
        """
        reported = set()
        for color, by_value in self._rows.items():
            usual = min(by_value, key=lambda value: (-len(by_value[value]), value))
            for value, rows in by_value.items():
                for row in rows if value != usual else ():
                    if row not in reported:
                        reported.add(row)
                        yield Swap(row, color, value, usual, len(by_value[usual]))


def shown_colors(mask: Image.Image, values: list[int]) -> list[tuple[int, Color]]:
    """Return the color of each value that a mask in mode "P" shows, once per color; none for other modes."""
    if mask.mode != "P" or mask.palette is None:
        return []
    colors = np.frombuffer(bytes(mask.getpalette("RGB") or ()), dtype=np.uint8).reshape(-1, 3)
    found = {value: (*colors[value].tolist(),) for value in values if value < len(colors)}
    unique = list(found.values())
    return [(value, color) for value, color in found.items() if unique.count(color) == 1]
