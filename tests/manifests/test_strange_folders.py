"""Folders that `ssmtl data init` must not misread, and addresses that no file can be called."""

import json
import os

import pytest
from own_folder import coco_json, picture

from ssmtl.datasets.remote import fetch
from ssmtl.manifests.init import write_first_manifest


def test_several_entries_of_one_image_are_left_out(tmp_path):
    picture(tmp_path / "images/1.png")
    picture(tmp_path / "images/2.png")
    coco_json(
        tmp_path / "boxes.json",
        {1: "train/1.png", 2: "val/1.png", 3: "train/2.png"},
        [(1, "x", [1, 1, 5, 5]), (2, "x", [9, 9, 5, 5]), (3, "x", [2, 3, 4, 5])],
    )
    first = write_first_manifest(tmp_path)
    (finding,) = first.findings
    assert {image: json.loads(cell)[0]["box"] for image, cell in finding.cells.items()} == {
        "images/2.png": [2, 3, 6, 8]
    }
    assert [(left.what, "may be missing" in left.why) for left in first.left_out] == [
        ("the boxes of 1 image(s): images/1.png", True)
    ]


def test_a_name_that_is_no_text_is_left_out(tmp_path):
    picture(tmp_path / "1.png")
    os.rename(picture(tmp_path / "2.png"), os.fsencode(tmp_path) + b"/M\xfcller.png")
    first = write_first_manifest(tmp_path)
    assert first.images == 1
    assert [(left.what, left.why) for left in first.left_out] == [
        ("'M\\udcfcller.png'", "its name is no UTF-8 text, as a table is; rename it")
    ]


def test_a_signed_address_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / ("1.png?X=" + "a" * 200)).write_bytes(b"picture")
    found = fetch(f"file://{tmp_path}/1.png?X={'a' * 200}")
    assert found.suffix == ".png"
    assert found.read_bytes() == b"picture"


@pytest.mark.parametrize("ending", [".png", ""])
def test_the_copy_of_an_address_keeps_its_ending(tmp_path, monkeypatch, ending):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / f"1{ending}").write_bytes(b"picture")
    assert fetch(f"file://{tmp_path}/1{ending}").suffix == ending
