"""Scenes: images of which some have a mask, some have boxes, some both and some neither."""

from abc import ABC
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool
from PIL import Image
from pydantic import Field

from ssmtl.batch import Sample
from ssmtl.datasets.box_columns import BoxSource, SourceBoxes
from ssmtl.datasets.canvas import Fit, place_image, place_mask, shown_size
from ssmtl.datasets.decode import Mask, decode_image
from ssmtl.datasets.file_table import Strings
from ssmtl.datasets.files import FileReader, entries, files
from ssmtl.errors import DataError
from ssmtl.task import Annotation


@dataclass(frozen=True, eq=False)
class BoxFiles:
    """Boxes that `parse` reads from a file beside each image; an empty path means that nobody annotated the image."""

    root: Path
    paths: Strings
    parse: Callable[[Path], SourceBoxes]

    def annotated(self) -> Bool[np.ndarray, " n"]:
        return self.paths != ""

    def made_of(self, row: int) -> tuple[Path | bytes, ...]:
        return (self.root / str(self.paths[row]),)

    def read(self, row: int, image: str) -> SourceBoxes:
        return self.parse(self.root / str(self.paths[row]))


@dataclass(frozen=True, eq=False)
class SceneTable:
    """Decodes a row's image, mask and boxes when it is asked for. Survives pickling to workers.

    `images` and `masks` are paths relative to `root`; an empty mask path means that nobody annotated the image. Images
    of one of the `groups` must not be torn apart by a split.
    """

    root: Path
    images: Strings
    masks: Strings | None
    boxes: BoxSource | None
    groups: Strings | None
    canvas: tuple[int, int]
    channels: int
    fit: Fit
    decode: Callable[[Path], Image.Image]
    decode_mask: Callable[[Path], Mask]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Sample:
        name = self.name(row)
        image = self.decode(self.root / name)
        source = (image.height, image.width)
        shown = shown_size(source, self.canvas, self.fit)
        annotations: dict[str, Annotation] = {}
        if self.masks is not None and self.masks[row] != "":
            annotations["mask"] = place_mask(self._mask(row, source), self.canvas, shown)
        if self.boxes is not None and self.boxes.annotated()[row]:
            annotations["boxes"] = self.boxes.read(row, name).placed(source, shown)
        return Sample(name, place_image(image, self.canvas, self.channels, shown), shown, source, annotations)

    def name(self, row: int) -> str:
        return str(self.images[row])

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        if kind == "mask" and self.masks is not None:
            return self.masks != ""
        if kind == "boxes" and self.boxes is not None:
            return self.boxes.annotated()
        return np.zeros(len(self), dtype=np.bool_)

    def labels(self, kind: str = "label") -> None:
        """Return None: a scene has no single label."""

    def made_of(self, row: int, kind: str) -> tuple[Path | bytes, ...]:
        image = self.root / self.name(row)
        if kind == "boxes" and self.boxes is not None:
            return image, *self.boxes.made_of(row)
        return (image, self.root / str(self.masks[row])) if self.masks is not None else (image,)

    def patients(self) -> tuple[str, ...] | None:
        return None if self.groups is None else tuple(self.groups.tolist())

    def _mask(self, row: int, source: tuple[int, int]) -> Mask:
        assert self.masks is not None
        path = self.root / str(self.masks[row])
        mask = self.decode_mask(path)
        if mask.shape != source:
            raise DataError(
                f"{path} is {mask.shape[1]}x{mask.shape[0]} pixels, but its image {self.name(row)} is "
                f"{source[1]}x{source[0]}; a mask must have the size of its image: export it again."
            )
        return mask


class SceneReader(FileReader, ABC):
    """Color images in files below `root`, with masks and boxes."""

    channels: Annotated[int, Field(ge=1, le=4)] = 3

    def scenes(
        self,
        root: Path,
        images: Strings,
        *,
        decode_mask: Callable[[Path], Mask],
        masks: Strings | None = None,
        boxes: BoxSource | None = None,
        groups: Strings | None = None,
    ) -> SceneTable:
        """Return the table of some scenes, decoding as this reader says."""
        return SceneTable(
            root=root,
            images=images,
            masks=masks,
            boxes=boxes,
            groups=groups,
            canvas=self.canvas,
            channels=self.channels,
            fit=self.fit,
            decode=partial(decode_image, alpha=self.alpha),
            decode_mask=decode_mask,
        )


def folders(root: Path, folder: str) -> list[str]:
    """Return the names of the folders in a folder, sorted."""
    return sorted(entry.name for entry in entries(root, root / folder) if entry.is_dir())


def beside(root: Path, folder: str, suffix: str, images: dict[str, str]) -> dict[str, str]:
    """Return {stem: path} of the files `<stem><suffix>` in a folder, which annotate the images {stem: name}.

    Raises DataError for one whose image is missing.
    """
    found = {name[: -len(suffix)]: f"{folder}/{name}" for name in files(root, folder, (suffix.lower(),))}
    for stem, path in found.items():
        if stem not in images:
            raise DataError(
                f"{root / path} annotates '{stem}', but that image is missing; restore the image, or take the file out."
            )
    return found


def refuse_others(root: Path, folder: str, suffix: str) -> None:
    """Raise DataError for a folder that holds files, but none that ends in `suffix`.

    Where images may be without annotation, all of them would be, and nobody would notice.
    """
    names = files(root, folder, ("",))
    if names and not any(name.lower().endswith(suffix.lower()) for name in names):
        others = sorted({Path(name).suffix or name for name in names})
        raise DataError(
            f"{root / folder} has no {suffix} file that annotates an image, but only {', '.join(others[:4])}"
            f"{', ...' * (len(others) > 4)}; convert or rename its files, or take them out."
        )


def refuse_missing(
    root: Path,
    folder: str,
    what: str,
    images: dict[str, str],
    found: Container[str],
    otherwise: str = "take the image out",
) -> None:
    """Raise DataError for the first image {stem: name} whose annotation isn't `found`; `otherwise` is the way out."""
    for stem, name in images.items():
        if stem not in found:
            raise DataError(f"the image {name} has no {what} in {root / folder}; restore it, or {otherwise}.")


def inside(root: Path, place: str) -> Path:
    """Return the path of a file below the root; raises DataError when it leads out of it."""
    path = root / place
    if not path.resolve().is_relative_to(root):
        raise DataError(f"{path} leads out of {root}; copy the file in, or set `root` to where it is.")
    return path
