"""Which reader a data folder gets, and what is told when it gets none."""

import json

import numpy as np
import pytest
from PIL import Image

from ssmtl.datasets.bdd100k import BDD100K
from ssmtl.datasets.camvid import CamVid
from ssmtl.datasets.cityscapes import Cityscapes
from ssmtl.datasets.street import bdd100k_study, street_study
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.errors import DataError


def test_without_data_the_streets_are_phantoms_of_which_no_two_are_the_same():
    study = street_study(None, train_set="train+trainextra+sequence")
    readers = [study.train, study.validation_masks, study.test_masks, *(reader for _, reader in study.extra)]
    assert {type(reader) for reader in readers} == {StreetPhantom}
    assert {reader.canvas for reader in readers} == {(64, 128)}
    names = [table.name(row) for reader in readers for table in [reader.open()] for row in (0, len(table) - 1)]
    assert len(set(names)) == len(names)
    assert [reader.open().annotated("boxes").any() for reader in readers] == [True, True, True, False, False]
    assert street_study(None, 96).train.canvas == (96, 192)


def test_scenes_that_nobody_annotated_have_the_same_pixels():
    seen, bare = (StreetPhantom(canvas=(32, 64), samples=2, annotated=yes).open()[1] for yes in (True, False))
    assert np.array_equal(seen.image, bare.image)
    assert set(seen.annotations) == {"mask", "boxes"}
    assert bare.annotations == {}


def test_cityscapes_is_scored_where_it_is_annotated(tmp_path):
    (tmp_path / "leftImg8bit").mkdir()
    study = street_study(tmp_path, train_set="train+trainextra+sequence")
    assert study.train == Cityscapes(tmp_path, canvas=(1024, 2048))
    assert study.test_masks == study.test_boxes == study.train.replace(split="val")
    assert [(name, reader.part) for name, reader in study.extra] == [("trainextra", "extra"), ("sequence", "sequence")]


def test_camvid_has_splits_of_its_own_and_no_unlabeled_frames(tmp_path):
    (tmp_path / "classes.json").write_text(json.dumps({}))
    study = street_study(tmp_path, 96)
    assert study.train == CamVid(tmp_path, canvas=(96, 128))
    assert (study.validation_masks.split, study.test_boxes.split) == ("val", "test")
    with pytest.raises(DataError, match="holds CamVid, which has no unlabeled frames; use its train set alone"):
        street_study(tmp_path, train_set="train+trainextra")


def test_bdd100k_scores_each_task_on_frames_of_its_own(tmp_path):
    (tmp_path / "images").mkdir()
    study = bdd100k_study(tmp_path)
    assert study.train == BDD100K(tmp_path, canvas=(720, 1280))
    assert (study.test_masks.part, study.test_boxes.part) == ("10k", "100k")
    assert study.test_masks.split == study.test_boxes.split == "val"
    assert bdd100k_study(None).name == "phantoms"


@pytest.mark.parametrize("study", [street_study, bdd100k_study])
def test_folders_of_something_else_are_refused(study, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(DataError, match="check --data, or leave it out to train on phantoms"):
        study(tmp_path)
    with pytest.raises(DataError, match="nowhere does not exist; check --data"):
        study(tmp_path / "nowhere")
