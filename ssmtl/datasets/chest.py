"""The films of the MultiMix study: which reader reads what, for a data folder or without one."""

from pathlib import Path
from typing import Literal, NamedTuple

from ssmtl.datasets.base import Reader
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.datasets.chex import CheX
from ssmtl.datasets.folders import ClassFolders, MaskFolder
from ssmtl.datasets.jsrt import JSRT
from ssmtl.datasets.montgomery import Montgomery
from ssmtl.datasets.nih import NIHChestXray
from ssmtl.errors import DataError

Canvas = tuple[int, int]
Split = Literal["train", "val", "test"]


class ChestStudy(NamedTuple):
    """Readers for diagnosis (films) and segmentation (lungs): training, validation, test, and other hospitals.

    The films of another hospital are None where the data folder doesn't hold them.
    """

    films: Reader
    films_validation: Reader
    films_test: Reader
    films_cross: Reader | None
    lungs: Reader
    lungs_validation: Reader
    lungs_test: Reader
    lungs_cross: Reader | None
    original: bool
    """True when these are the published data sets, in their original layouts."""


def chest_study(data: Path | None, canvas: Canvas, seed: int = 0) -> ChestStudy:
    """Return the study's readers for what `data` holds.

    None: phantoms of two hospitals. A folder with `cxr/` (and `cxr_cross/`, for other hospitals): plain class and mask
    folders. A folder with `chest_xray/` and `JSRT/` (and `ChestX-ray14/`, `MontgomerySet/`): the original layouts.
    Raises DataError for any other.
    """
    if data is None:
        return phantom_study(canvas, seed)
    if not data.is_dir():
        raise DataError(f"the data folder {data} does not exist; check --data, or leave it out to train on phantoms.")
    if (data / "cxr").is_dir():
        return _plain(data, canvas)
    if (data / "chest_xray").is_dir():
        return _original(data, canvas)
    raise DataError(
        f"the data folder {data} holds neither 'cxr/' (plain folders) nor 'chest_xray/' (the original layouts: "
        "chest_xray/, JSRT/, MontgomerySet/, ChestX-ray14/); check --data, or leave it out to train on phantoms."
    )


def phantom_study(canvas: Canvas, seed: int = 0) -> ChestStudy:
    """Return phantoms: diagnosis and lung films are different films of hospital "a", the cross sets of hospital "b"."""

    def phantom(samples: int, split: Split, first: int = 0, hospital: Literal["a", "b"] = "a") -> Reader:
        return ChestPhantom(samples=samples, split=split, first=first, hospital=hospital, seed=seed, canvas=canvas)

    return ChestStudy(
        films=phantom(800, "train"),
        films_validation=phantom(100, "val"),
        films_test=phantom(400, "test"),
        films_cross=phantom(200, "test", hospital="b"),
        lungs=phantom(150, "train", first=100_000),
        lungs_validation=phantom(40, "val", first=100_000),
        lungs_test=phantom(100, "test", first=100_000),
        lungs_cross=phantom(100, "test", first=100_000, hospital="b"),
        original=False,
    )


def _plain(data: Path, canvas: Canvas) -> ChestStudy:
    films, cross = data / "cxr" / "classification", data / "cxr_cross" / "classification"
    lungs, montgomery = data / "cxr" / "segmentation", data / "cxr_cross" / "montgomery"
    return ChestStudy(
        films=ClassFolders(films, canvas=canvas),
        films_validation=ClassFolders(films, split="val", canvas=canvas),
        films_test=ClassFolders(films, split="test", canvas=canvas),
        films_cross=ClassFolders(cross, split="all", canvas=canvas) if cross.is_dir() else None,
        lungs=MaskFolder(lungs, canvas=canvas),
        lungs_validation=MaskFolder(lungs, split="val", canvas=canvas),
        lungs_test=MaskFolder(lungs, split="test", canvas=canvas),
        lungs_cross=MaskFolder(montgomery, split="all", canvas=canvas) if montgomery.is_dir() else None,
        original=False,
    )


def _original(data: Path, canvas: Canvas) -> ChestStudy:
    films, lungs = data / "chest_xray", data / "JSRT"
    nih, montgomery = data / "ChestX-ray14", data / "MontgomerySet"
    return ChestStudy(
        films=CheX(films, canvas=canvas),
        films_validation=CheX(films, split="val", canvas=canvas),
        films_test=CheX(films, split="test", canvas=canvas),
        films_cross=NIHChestXray(nih, canvas=canvas) if nih.is_dir() else None,
        lungs=JSRT(lungs, canvas=canvas),
        lungs_validation=JSRT(lungs, split="val", canvas=canvas),
        lungs_test=JSRT(lungs, split="test", canvas=canvas),
        lungs_cross=Montgomery(montgomery, canvas=canvas) if montgomery.is_dir() else None,
        original=True,
    )
