"""The MultiMix study's films: what a data folder holds decides who reads it."""

import pytest

from ssmtl.datasets.chest import chest_study
from ssmtl.errors import DataError


def kinds(study):
    return [reader.kind if reader is not None else None for reader in study[:-1]]


def test_without_a_folder_films_are_phantoms_that_never_overlap():
    study = chest_study(None, (64, 64))
    assert set(kinds(study)) == {"ChestPhantom"}
    assert not study.original
    ranges = {(r.hospital, r.split, r.first) for r in study[:-1]}
    assert len(ranges) == 8
    assert {r.hospital for r in (study.films_cross, study.lungs_cross)} == {"b"}


def test_plain_folders(tmp_path):
    (tmp_path / "cxr").mkdir()
    assert kinds(chest_study(tmp_path, (64, 64))) == [
        *["ClassFolders"] * 3, None, *["MaskFolder"] * 3, None,
    ]  # fmt: skip
    (tmp_path / "cxr_cross" / "classification").mkdir(parents=True)
    (tmp_path / "cxr_cross" / "montgomery").mkdir()
    study = chest_study(tmp_path, (64, 64))
    assert study.films_cross.kind == "ClassFolders"
    assert study.films_cross.split == "all"
    assert study.lungs_cross.kind == "MaskFolder"


def test_original_layouts(tmp_path):
    for name in ("chest_xray", "ChestX-ray14", "MontgomerySet"):
        (tmp_path / name).mkdir()
    study = chest_study(tmp_path, (256, 256))
    assert kinds(study) == [*["CheX"] * 3, "NIHChestXray", *["JSRT"] * 3, "Montgomery"]
    assert study.original
    assert {reader.canvas for reader in study[:-1]} == {(256, 256)}


def test_a_missing_or_foreign_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist; check --data"):
        chest_study(tmp_path / "nowhere", (64, 64))
    with pytest.raises(DataError, match=r"holds neither 'cxr/' .* nor 'chest_xray/'"):
        chest_study(tmp_path, (64, 64))
