"""Which files `ssmtl predict` takes from folders, and whose answers stand, without any model."""

import json
import os

import pytest
from PIL import Image

from ssmtl.answers import MASKS, OVERLAYS, Answers
from ssmtl.datasets.decode import decode_image
from ssmtl.datasets.shapes_phantom import ShapesPhantom
from ssmtl.errors import DataError
from ssmtl.predict import _entries
from ssmtl.predict_batches import Loaded, load
from ssmtl.prediction_files import _write_csv
from ssmtl.prediction_log import Entry, PredictionLog


def picture(path, shade=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (shade, 2, 3)).save(path)
    return path


def test_what_was_written_is_not_predicted_and_hidden_files_neither(tmp_path):
    out = tmp_path / "out"
    for name in ("1.png", "sub/2.png", "masks/3.png", "._1.png", "out/own.png"):
        picture(tmp_path / name)
    for folder in (MASKS, OVERLAYS):
        picture(out / folder / "1--lungs.png")
    found = [str(entry.path.relative_to(tmp_path)) for entry in _entries([tmp_path], out)]
    assert found == ["1.png", "masks/3.png", "out/own.png", "sub/2.png"]


def test_an_image_whose_pictures_another_one_took_is_predicted_again(tmp_path):
    one, other = (Entry(picture(tmp_path / folder / "1.png"), "1") for folder in ("a", "b"))
    out = tmp_path / "out"
    drawn = picture(out / "overlays/1--boxes.png")
    answers = Answers(pictures=[str(drawn.relative_to(out))])
    with PredictionLog(out, {"run": "x"}) as log:
        log.append(one, (6, 8), answers)
        assert log.has(one)
        log.append(other, (6, 8), answers)
        assert (log.has(one), log.has(other)) == (False, True)
    with PredictionLog(out, {"run": "x"}) as log:
        assert (log.has(one), log.has(other)) == (False, True)
        log.append(one, (6, 8), answers)
        assert (log.has(one), log.has(other)) == (True, False)


def test_the_first_of_several_shots_is_predicted_but_not_trained_on(tmp_path):
    path = tmp_path / "phone.jpg"
    shots = [Image.new("RGB", (8, 6), (shade, shade, shade)) for shade in (200, 10)]
    shots[0].save(path, format="MPO", save_all=True, append_images=shots[1:])
    loaded = load(Entry(path, "phone"), ShapesPhantom(samples=1))
    assert isinstance(loaded, Loaded)
    assert abs(loaded.image.getpixel((3, 3))[0] - 200) < 4
    with pytest.raises(DataError, match="animated"):
        decode_image(path)


def test_a_name_that_is_no_text_costs_no_predictions(tmp_path):
    name = os.fsdecode(b"M\xfcller.png")
    _write_csv(tmp_path / "a.csv", ("file",), [{"file": name}, {"file": "Mueller.png"}])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").split() == ["file", r"M\udcfcller.png", "Mueller.png"]
    assert json.loads(json.dumps(name)) == name
