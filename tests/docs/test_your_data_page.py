"""docs/your-data.md: its example is a manifest that passes, its columns are all there are, its notations are read."""

import inspect
import json
import re
from pathlib import Path

import pytest
from in_process import call
from own_folder import mask, picture

from ssmtl.cli_data import split
from ssmtl.commands.data_init import data_init
from ssmtl.manifests.columns import ABOUT, FORMS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "your-data.md").read_text()
(TABLE,) = re.findall(r"```csv\n(.*?)```", PAGE, flags=re.DOTALL)
(CLASSES,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    """The files of the page's example."""
    for number, name in enumerate("abcd"):
        picture(tmp_path / f"films/{name}.png", seed=number)
    mask(tmp_path / "masks/a.png", values=(0, 1))
    (tmp_path / "manifest.csv").write_text(TABLE)
    (tmp_path / "manifest.classes.json").write_text(CLASSES)
    return tmp_path


def test_its_example_passes_and_means_what_the_page_says(folder):
    outcome = call("data", "check", folder / "manifest.csv")
    assert outcome.code == 0, outcome
    assert "4 images; training may start" in outcome.out
    assert re.search(r"\(nothing\)[^\n]* 1 ", outcome.out), "d.png carries nothing"
    assert re.search(r"\(none of them\)[^\n]* 1 ", outcome.out), "b.png was looked at, and shows no nodule"


def test_a_class_that_is_misspelled_is_refused_where_the_file_names_the_classes(folder):
    (folder / "manifest.csv").write_text(TABLE.replace("healthy", "helthy"))
    outcome = call("data", "check", folder / "manifest.csv")
    assert outcome.code == 2
    assert "helthy" in outcome.out


def test_its_columns_are_all_there_are():
    part = PAGE.partition("## Columns")[2].partition("### Classes")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", part, flags=re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted((*FORMS, *ABOUT))


def test_a_box_around_the_whole_image_is_what_the_page_says(folder):
    """The images here have 40 x 30 pixels: a box may end with them, but not stick out."""
    for right, told in ((40, False), (60, True)):
        text = json.dumps([{"class": "nodule", "box": [0, 0, right, 30]}]).replace('"', '""')
        (folder / "manifest.csv").write_text(re.sub(r'"\[\{.*\}\]"', f'"{text}"', TABLE))
        assert ("sticks out" in call("data", "check", folder / "manifest.csv").out) == told


def test_its_folder_shapes_are_read(tmp_path):
    for place in ("train/cat/1.png", "test/dog/2.png", "unlabeled/3.png"):
        picture(tmp_path / place)
    assert data_init(tmp_path, None, "auto", force=False) == 0
    rows = (tmp_path / "manifest.csv").read_text().splitlines()
    assert rows[0] == '"image","label","split"'
    assert '"unlabeled/3.png",,' in rows


def test_the_distance_of_near_copies_is_the_default():
    default = inspect.signature(split).parameters["near"].default
    assert f"{default} of 256 bits" in PAGE
