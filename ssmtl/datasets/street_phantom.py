"""Procedural street scenes: the twin, made in memory, of a set for segmentation and detection from a car."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64, UInt8
from pydantic import Field
from scipy.ndimage import find_objects

from ssmtl import keyed
from ssmtl.batch import Sample
from ssmtl.datasets.base import Reader, Side
from ssmtl.datasets.street_phantom_backdrop import CAR, CLASSES, SKY, Backdrop, Weather, look, noise
from ssmtl.datasets.street_phantom_camera import Camera, Grid, mount, project, rays
from ssmtl.datasets.street_phantom_layout import plan
from ssmtl.datasets.street_phantom_paint import Seen, paint, shadows
from ssmtl.datasets.street_phantom_sensor import expose, forecast
from ssmtl.datasets.street_phantom_things import UNDEFINED, Thing
from ssmtl.datasets.street_phantom_traffic import furnish, populate
from ssmtl.task import BoxList

BOXED = CLASSES[CAR:]
FEWEST_PIXELS = 12
LEAST_SHARE = 0.1
FINE = 20_000
"""Canvases of up to this many pixels are looked at twice as finely and averaged, so that edges are smooth."""


class Scene(NamedTuple):
    """One scene with all that is true about it."""

    image: UInt8[np.ndarray, "3 h w"]
    mask: UInt8[np.ndarray, "h w"]
    instances: Int32[np.ndarray, "h w"]
    """Which car, pedestrian or bicyclist is seen, counting from 1; 0 where there is none."""
    labels: Int64[np.ndarray, " m"]
    """Class of each instance, an index into the "boxes" classes."""
    share: Float32[np.ndarray, " m"]
    """Share of each instance that is neither hidden nor off the canvas, 0 to 1."""
    boxes: BoxList


class StreetPhantom(Reader):
    """Street scenes made in memory, seen from a car, annotated with masks and boxes.

    Scene `i` is a pure function of (seed, split, i): it does not depend on `samples`, and `first` moves the window, so
    that two sources can share a split without sharing a scene. The canvas decides only how finely a scene is sampled,
    and how far to the sides it reaches: its shorter side always sees the same.

    Cars, pedestrians and bicyclists have boxes: the half-open hull of what is seen of one. Without a box, but with
    their pixels in the mask, are those seen in fewer than 12 pixels or by less than a tenth of themselves, the part off
    the canvas included. About one scene in twenty has no box. In the mask 255 is the own car's hood, signs and clutter.
    Road and pavement, houses, cars and clothes share their colors: texture, shape and place tell them apart.
    """

    canvas: tuple[Side, Side] = (128, 256)
    channels: Literal[1, 3] = 3
    samples: Annotated[int, Field(ge=1, le=100_000_000)] = 600
    split: Literal["train", "val", "test"] = "train"
    first: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Index of the first scene within the split."""
    annotated: bool = True
    """Whether somebody annotated the scenes; otherwise they are there to be learned from without labels."""
    seed: Annotated[int, Field(ge=0)] = 0

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"mask": CLASSES, "boxes": BOXED}.get(kind, ())

    def open(self) -> "StreetTable":
        """Return the scenes as a table; nothing is read, nothing is drawn before a scene is asked for."""
        return StreetTable(self)


@dataclass(frozen=True)
class StreetTable:
    """The scenes of a `StreetPhantom`, drawn when they are asked for; `table[row]` raises IndexError outside."""

    reader: StreetPhantom

    def __len__(self) -> int:
        return self.reader.samples

    def __getitem__(self, row: int) -> Sample:
        scene = self.scene(row)
        return Sample(
            name=self.name(row),
            image=scene.image if self.reader.channels == 3 else _gray(scene.image),
            size=self.reader.canvas,
            source_size=self.reader.canvas,
            annotations={"mask": scene.mask, "boxes": scene.boxes} if self.reader.annotated else {},
        )

    def name(self, row: int) -> str:
        """Return "split/seed-index"."""
        return f"{self.reader.split}/{self.reader.seed}-{self._index(row):08d}"

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return np.full(len(self), self.reader.annotated and bool(self.reader.classes(kind)))

    def labels(self, kind: str = "label") -> None:
        """Return None: a street has no single label."""

    def made_of(self, row: int, kind: str) -> tuple[bytes, ...]:
        """Return the name, which a scene is a function of: processors differ in the last bit of its pixels."""
        return (self.name(row).encode(),)

    def patients(self) -> tuple[str, ...]:
        """Return the names of the scenes: every scene is of another street."""
        return tuple(self.name(row) for row in range(len(self)))

    def scene(self, row: int) -> Scene:
        """Draw one scene with its hidden truth: which instance every pixel shows, and how much of each is seen."""
        return _draw(self.reader, self._index(row))

    def _index(self, row: int) -> int:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a phantom with {len(self)} scenes")
        return self.reader.first + row % len(self)


def _gray(image: UInt8[np.ndarray, "3 h w"]) -> UInt8[np.ndarray, "1 h w"]:
    """Weigh colors as ITU-R BT.601 does."""
    return (np.tensordot(np.array([0.299, 0.587, 0.114]), image, axes=1)[None] + 0.5).astype(np.uint8)


def _draw(reader: StreetPhantom, index: int) -> Scene:
    def dice(part: str) -> np.random.Generator:
        return np.random.default_rng(keyed.key("street phantom", reader.seed, reader.split, index, part))

    camera, street, weather = mount(dice("camera")), plan(dice("street")), forecast(dice("weather"))
    things = furnish(street, dice("furniture")) + populate(street, camera, dice("traffic"))
    grid = Grid(reader.canvas, 2 if reader.canvas[0] * reader.canvas[1] <= FINE else 1)
    backdrop, seen = look(street, camera, rays(camera, grid), weather), paint(things, camera, grid)
    light = _light(backdrop, things, seen, camera, weather, grid)
    label = np.array([0, *(thing.kind for thing in things)], np.uint8)[seen.thing]
    mask = np.where(seen.thing > 0, label, backdrop.label.reshape(grid.size))
    instances = seen.thing.copy()
    _hood(light, mask, instances, dice("hood"))
    centers = (slice(None, None, grid.fine),) * 2
    labels, share, instances = _instances(instances, things, seen.area, grid)
    planes = np.ascontiguousarray(light.transpose(2, 0, 1))
    image = expose(planes if grid.fine == 1 else _halve(planes), dice("sensor"))
    return Scene(image, mask[centers].copy(), instances, labels, share, outline(instances, labels, share))


def _halve(light: Float32[np.ndarray, "3 h w"]) -> Float32[np.ndarray, "3 _ _"]:
    """Average the points in and between pixel centers, with weights 1/4, 1/2, 1/4 along both axes."""
    before = np.concatenate([light[:, :1], light[:, 1:-1:2]], axis=1)
    light = np.float32(0.5) * light[:, ::2] + np.float32(0.25) * (before + light[:, 1::2])
    before = np.concatenate([light[:, :, :1], light[:, :, 1:-1:2]], axis=2)
    return np.float32(0.5) * light[:, :, ::2] + np.float32(0.25) * (before + light[:, :, 1::2])


def _light(
    backdrop: Backdrop, things: list[Thing], seen: Seen, camera: Camera, weather: Weather, grid: Grid
) -> Float32[np.ndarray, "h w 3"]:
    """Return the light that reaches every pixel: the street in its shadows, things over it, haze over all."""
    color = backdrop.color
    dark = np.flatnonzero(backdrop.ground & shadows(things, weather.sun, camera, grid).ravel())
    color[dark] *= np.float32(1 - weather.shadow)
    air = np.where(backdrop.label == SKY, 0, 1 - np.exp(backdrop.distance / np.float32(-weather.visibility)))
    color += air.astype(np.float32)[:, None] * (weather.haze - color)
    hit = np.flatnonzero(seen.thing)
    if hit.size:
        color[hit] = _surfaces(things, seen, hit, camera, weather, grid)
    return color.reshape(*grid.size, 3)


def _surfaces(
    things: list[Thing], seen: Seen, hit: Int64[np.ndarray, " n"], camera: Camera, weather: Weather, grid: Grid
) -> Float32[np.ndarray, "n 3"]:
    """Return what things look like at the pixels that show one; their texture is as fine as they are far."""
    owner, face = seen.thing.ravel()[hit] - 1, seen.face.ravel()[hit] - 1
    _, depth = project(camera, np.array([(thing.place[0], 0.0, thing.place[1]) for thing in things]), grid)
    meters = (depth / camera.focal / grid.unit).astype(np.float32)[owner] * 14
    rows, columns = hit // grid.size[1] * meters, hit % grid.size[1] * meters
    grain = noise(1.0)[rows.astype(np.int32) & 255, columns.astype(np.int32) & 255]
    rough = np.array([thing.rough for thing in things], np.float32)[owner]
    air = (1 - np.exp(-depth / weather.visibility)).astype(np.float32)[owner, None]
    color = np.concatenate([thing.color for thing in things])[face] * (1 + rough * grain)[:, None]
    return color + air * (weather.haze - color)


def _hood(
    light: Float32[np.ndarray, "h w 3"],
    mask: UInt8[np.ndarray, "h w"],
    instances: Int32[np.ndarray, "h w"],
    rng: np.random.Generator,
) -> None:
    """Put the own car's hood over the bottom of some scenes, in place."""
    present, rise, bend = rng.random() < 0.4, rng.uniform(0.02, 0.1), rng.uniform(0.01, 0.06)
    paint = rng.uniform(0.03, 0.6) * (1 + rng.normal(0, 0.1, 3))
    if not present:
        return
    height, width = mask.shape
    across = (np.arange(width) + 0.5 - width / 2) / min(mask.shape)
    up = (height - np.arange(height) - 0.5)[:, None] / min(mask.shape)
    hood = up < rise - bend * np.square(across)
    light[hood] = paint + np.zeros_like(light[hood]) + 0.6 * np.broadcast_to(up, mask.shape)[hood][:, None]
    mask[hood], instances[hood] = UNDEFINED, 0


def _instances(
    shown: Int32[np.ndarray, "H W"], things: list[Thing], area: Float64[np.ndarray, " t"], grid: Grid
) -> tuple[Int64[np.ndarray, " m"], Float32[np.ndarray, " m"], Int32[np.ndarray, "h w"]]:
    """Number those that have boxes and are seen, from 1; return their classes, visible shares and map."""
    centers = shown[:: grid.fine, :: grid.fine]
    points, pixels = (np.bincount(plane.ravel(), minlength=len(things) + 1)[1:] for plane in (shown, centers))
    kinds = np.array([thing.kind for thing in things], np.int64)
    kept = np.flatnonzero((pixels > 0) & (kinds >= CAR) & (kinds != UNDEFINED))
    number = np.zeros(len(things) + 1, np.int32)
    number[kept + 1] = np.arange(1, len(kept) + 1)
    return kinds[kept] - CAR, (points[kept] / area[kept]).astype(np.float32), number[centers]


def outline(
    instances: Int32[np.ndarray, "h w"], labels: Int64[np.ndarray, " m"], share: Float32[np.ndarray, " m"]
) -> BoxList:
    """Return the half-open hulls of the instances that are seen well enough."""
    spans = find_objects(instances, len(labels))
    pixels = np.bincount(instances.ravel(), minlength=len(labels) + 1)[1:]
    kept = np.flatnonzero((pixels >= FEWEST_PIXELS) & (share >= LEAST_SHARE))
    edges = [[spans[i][1].start, spans[i][0].start, spans[i][1].stop, spans[i][0].stop] for i in kept]
    return BoxList(np.array(edges, np.float32).reshape(-1, 4), labels[kept], np.zeros(len(kept), np.bool_))
