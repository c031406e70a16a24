"""Procedural chest films: the twin, made in memory, of a pneumonia set and of a lung segmentation set."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from pydantic import Field

from ssmtl import keyed
from ssmtl.batch import Sample
from ssmtl.datasets.base import Reader
from ssmtl.datasets.chest_phantom_anatomy import (
    ADULTS,
    CHILDREN,
    Build,
    bones,
    depth,
    draw_lungs,
    pose,
    soft,
    tissue,
    vessels,
)
from ssmtl.datasets.chest_phantom_findings import consolidation, distractors, draw_foci, haze
from ssmtl.datasets.chest_phantom_scanner import FILM, PORTABLE, Scanner, expose

LABELS = ("NORMAL", "PNEUMONIA")
MASKS = ("background", "lung")


class Hospital(NamedTuple):
    """Who is filmed, and with what."""

    build: Build
    scanner: Scanner


HOSPITALS = {"a": Hospital(ADULTS, FILM), "b": Hospital(CHILDREN, PORTABLE)}


class Film(NamedTuple):
    """One film with all that is true about it."""

    image: UInt8[np.ndarray, "h w"]
    lungs: Bool[np.ndarray, "h w"]
    opacity: Float32[np.ndarray, "h w"]
    """Share of the lung's air that pneumonia displaces, 0 to 1; all 0 in a normal film."""


class ChestPhantom(Reader):
    """Chest films made in memory, each annotated with a diagnosis and a lung mask.

    Film `i` is a pure function of (seed, hospital, split, i): it does not depend on `samples`, and `first` moves the
    window, so that two sources can share a split without sharing a film. The canvas decides only how finely a film is
    sampled. Of every two films (2k, 2k+1) one is normal and one shows pneumonia.

    Hospital "a" films adults on a steady machine; "b" films children with a portable one: tighter, harder in contrast,
    coarser in grain, with grid lines. Pneumonia is patchy, lies in the lungs and may swallow their edge. Normal films
    have smooth haze in its place, and both have nodules, breasts, tubes and bowel: brightness alone says little.
    """

    samples: Annotated[int, Field(ge=1, le=100_000_000)] = 600
    hospital: Literal["a", "b"] = "a"
    split: Literal["train", "val", "test"] = "train"
    first: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Index of the first film within the split."""
    seed: Annotated[int, Field(ge=0)] = 0

    def classes(self, kind: str) -> tuple[str, ...]:
        return {"label": LABELS, "mask": MASKS}.get(kind, ())

    def open(self) -> "PhantomTable":
        """Return the films as a table; nothing is read, nothing is drawn before a film is asked for."""
        return PhantomTable(self)


@dataclass(frozen=True)
class PhantomTable:
    """The films of a `ChestPhantom`, drawn when they are asked for; `table[row]` raises IndexError outside."""

    reader: ChestPhantom

    def __len__(self) -> int:
        return self.reader.samples

    def __getitem__(self, row: int) -> Sample:
        film = self.film(row)
        return Sample(
            name=self.name(row),
            image=np.repeat(film.image[None], self.reader.channels, axis=0),
            size=self.reader.canvas,
            source_size=self.reader.canvas,
            annotations={"label": int(self._diagnoses(self._index(row))[0]), "mask": film.lungs.astype(np.uint8)},
        )

    def name(self, row: int) -> str:
        """Return "hospital/split/seed-index"."""
        return f"{self.reader.hospital}/{self.reader.split}/{self.reader.seed}-{self._index(row)[0]:08d}"

    def annotated(self, kind: str) -> Bool[np.ndarray, " n"]:
        return np.full(len(self), bool(self.reader.classes(kind)))

    def labels(self, kind: str = "label") -> Int32[np.ndarray, " n"] | None:
        """Return the diagnosis of every film, without drawing one."""
        every = np.arange(self.reader.first, self.reader.first + len(self))
        return self._diagnoses(every) if kind == "label" else None

    def made_of(self, row: int, kind: str) -> tuple[bytes, ...]:
        """Return the name, which a film is a function of: processors differ in the last bit of its pixels."""
        return (self.name(row).encode(),)

    def patients(self) -> tuple[str, ...]:
        """Return the names of the films: every film is of another patient."""
        return tuple(self.name(row) for row in range(len(self)))

    def film(self, row: int) -> Film:
        """Draw one film with its hidden truth: the lungs, and how dense the pneumonia is at every pixel."""
        index = self._index(row)
        return _draw(self.reader, int(index[0]), bool(self._diagnoses(index)[0]))

    def _index(self, row: int) -> np.ndarray:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of a phantom with {len(self)} films")
        return np.array([self.reader.first + row % len(self)])

    def _diagnoses(self, index: np.ndarray) -> Int32[np.ndarray, " n"]:
        coin = keyed.uniform(_key(self.reader, "diagnosis"), index // 2, 1)[:, 0] < 0.5
        return ((index + coin) % 2).astype(np.int32)


def _key(reader: ChestPhantom, *parts: int | str) -> int:
    return keyed.key("chest phantom", reader.seed, reader.hospital, reader.split, *parts)


def _draw(reader: ChestPhantom, index: int, pneumonia: bool) -> Film:
    def dice(part: str) -> np.random.Generator:
        return np.random.default_rng(_key(reader, index, part))

    build, scanner = HOSPITALS[reader.hospital]
    frame = pose(reader.canvas, dice("pose"), scanner.zoom)
    lungs = draw_lungs(build, dice("lungs"))
    inside = np.maximum(depth(lungs[0], -1, frame), depth(lungs[1], 1, frame))
    aerated = soft(inside, 0.03)
    beam = tissue(frame, lungs, build, dice("tissue")) + bones(frame, lungs, build, dice("bones"))
    beam += distractors(frame, lungs, dice("distractors"))
    disease = dice("disease")
    foci = draw_foci(lungs, disease)
    veil = consolidation(frame, foci, disease) if pneumonia else haze(frame, foci)
    air = dice("air")
    darkness, markings = np.float32(air.uniform(0.24, 0.42)), np.float32(air.uniform(0.05, 0.16))
    beam -= aerated * (darkness * (1 - veil) - markings * vessels(frame, air))
    return Film(
        expose(beam, frame, scanner, dice("scanner")),
        inside > 0,
        np.where(pneumonia & (inside > 0), veil, np.float32(0)),
    )
