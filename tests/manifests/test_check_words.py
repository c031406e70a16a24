"""`ssmtl data check` as people type it: tables, exit codes, the stamp, and no training before it."""

import csv

import pytest
from checked import image, write_manifest
from in_process import call, refused

from ssmtl.datasets.manifest import Manifest
from ssmtl.errors import DataError
from ssmtl.manifests.stamp import stamp_path


@pytest.fixture
def manifest(tmp_path):
    rows = [[image(tmp_path, at), ["cat", "dog"][at % 2], "train", ""] for at in range(4)]
    rows[1][3] = "[]"
    return write_manifest(tmp_path, "image label split boxes", rows, {"label": ["cat", "dog"], "boxes": ["car"]})


def edit(manifest, before, after):
    manifest.write_text(manifest.read_text().replace(before, after))


def test_a_good_manifest_passes_and_training_may_start(manifest):
    with pytest.raises(DataError, match="has not been checked"):
        Manifest.of(manifest).open()
    outcome = call("data", "check", manifest)
    assert outcome.code == 0
    assert f"{manifest} passed its check: 4 images; training may start." in outcome.out
    assert "Images by class in 'label'" in outcome.out
    assert len(Manifest.of(manifest).open()) == 4


def test_training_never_starts_after_a_refusal(manifest):
    assert call("data", "check", manifest).code == 0
    (manifest.parent / "images/3.png").write_bytes(b"")
    sentence = refused("data", "check", manifest)
    assert sentence.startswith(f"{manifest} is refused for 1 problem in 1 row, and training won't start on it;")
    assert not stamp_path(manifest).exists()
    with pytest.raises(DataError, match="was refused by `ssmtl data check`"):
        Manifest.of(manifest).open()


def test_an_edit_after_the_check_is_checked_again(manifest):
    assert call("data", "check", manifest).code == 0
    edit(manifest, "cat", "dog")
    with pytest.raises(DataError, match="has changed since it was checked"):
        Manifest.of(manifest).open()


def test_problems_are_grouped_on_the_screen_and_written_in_full(tmp_path, manifest):
    edit(manifest, "cat", "cta")
    outcome = call("data", "check", manifest, "--out", tmp_path / "problems.csv")
    assert outcome.code == 2
    assert "(and 1 more like this)" in outcome.out
    assert "did you mean 'cat'?" in outcome.out
    with (tmp_path / "problems.csv").open() as stream:
        found = [(row["row"], row["kind"]) for row in csv.DictReader(stream)]
    assert [line for line, kind in found if kind == "refused"] == ["2", "4"]


def test_a_refusal_that_can_be_repaired_says_how_and_the_copy_passes(manifest):
    edit(manifest, "train", "Train")
    fixed = manifest.with_name("own-fixed.csv")
    assert f"`ssmtl data check {manifest} --fix {fixed}` repairs 4 of them in a copy" in refused(
        "data", "check", manifest
    )
    outcome = call("data", "check", manifest, "--fix", fixed)
    assert outcome.code == 0
    assert f"{fixed} passed its check" in outcome.out
    assert "Train" in manifest.read_text()
    assert not stamp_path(manifest).exists()
    assert stamp_path(fixed).exists()
    with manifest.with_name("own-fixed.fixes.csv").open() as stream:
        changes = [(row["line"], row["column"], row["before"], row["after"]) for row in csv.DictReader(stream)]
    assert changes == [(str(line), "split", "Train", "train") for line in (2, 3, 4, 5)]


def test_the_matrix_says_which_annotations_images_carry(manifest):
    out = call("data", "check", manifest).out
    matrix = [line.split() for line in out[out.index("Images by the annotations") :].splitlines()]
    rows = [[word for word in words if word not in "│|┃"] for words in matrix]
    assert ["label", "+", "boxes", "1", "1"] in rows
    assert ["label", "3", "3"] in rows
    assert ["all", "4", "4"] in rows


def test_no_table_no_tables(tmp_path):
    assert "is missing or not a file" in refused("data", "check", tmp_path / "none.csv")
