"""The pictures of a run as data URIs: what the evaluation drew, grouped by split and task, with captions."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

NAME = re.compile(r"^(?P<split>.+?)--(?P<task>.+)--(?P<number>\d+)$")
SALIENCY = "saliency"
"""Last word of the task part of a saliency map's file name."""
MOST = 12
LONGEST_SIDE = 1024
WIDE = 512
"""Width in pixels above which pictures need room for more than one panel."""


class Picture(NamedTuple):
    """One image: a `data:image/png` URI, its size in pixels, and the text for those who don't see it."""

    uri: str
    width: int
    height: int
    alt: str
    number: str


@dataclass(frozen=True)
class Gallery:
    """The pictures of one task on one split; `left_out` counts those beyond the first dozen."""

    split: str
    task: str
    saliency: bool
    pictures: tuple[Picture, ...]
    left_out: int = 0

    @property
    def wide(self) -> bool:
        """Tell if pictures show several panels."""
        return any(picture.width > WIDE for picture in self.pictures)


def read_galleries(folder: Path) -> tuple[list[Gallery], list[str]]:
    """Return the galleries of `<split>--<task>--<number>.png` files, and what is missing or damaged in sentences."""
    found: dict[tuple[str, str], list[tuple[str, Path]]] = {}
    problems = []
    for path in sorted(folder.glob("*.png")):
        match = NAME.match(path.stem)
        if match is None:
            problems.append(f"{path.name} is not named <split>--<task>--<number>.png and was left out.")
            continue
        found.setdefault((match["split"], match["task"]), []).append((match["number"], path))
    if not found:
        problems.append("There are no pictures of predictions; a finished run draws them.")
    galleries = []
    for (split, task), files in found.items():
        pictures = []
        saliency = task.rpartition(" ")[2] == SALIENCY
        shows = " map" if saliency else ": reference and prediction"
        for number, path in files[:MOST]:
            try:
                pictures.append(_read(path, alt=f"{split}, image {number}, {task}{shows}", number=number))
            except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
                problems.append(f"{path.name} can't be read as a picture ({error}) and was left out.")
        left_out = max(0, len(files) - MOST)
        galleries.append(Gallery(split, task, saliency, tuple(pictures), left_out))
    return galleries, problems


def _read(path: Path, *, alt: str, number: str) -> Picture:
    """Decode and encode again, so that nothing but pixels of a bounded size reaches the page."""
    with Image.open(path, formats=("PNG",)) as file:
        image = file.convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, image.width, image.height, alt, number)
