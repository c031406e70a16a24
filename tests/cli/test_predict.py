"""`ssmtl predict`: one CSV row per image, masks and overlays in the size of the file, nothing lost to one bad file."""

import csv
import shutil

import numpy as np
import pytest
import torch
from films import film
from in_process import call, refused
from PIL import Image

from ssmtl.datasets.canvas import place_image
from ssmtl.evaluate import predict
from ssmtl.runs import RunFolder

COLUMNS = [
    "file",
    "output",
    "diagnosis",
    "diagnosis_probability",
    "diagnosis_normal",
    "diagnosis_pneumonia",
    "lungs_area",
]


def rows(folder):
    with (folder / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def picture(path):
    with Image.open(path) as image:
        return image.copy()


@pytest.fixture
def strangers(tmp_path):
    """A gray PNG and a color JPEG, neither square nor of the size of the canvas."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    gray = Image.fromarray(film(7, sick=True)[0]).resize((75, 50))
    gray.save(folder / "gray.png")
    Image.fromarray(np.dstack([np.asarray(gray.resize((60, 90)))] * 3)).save(folder / "color.jpg")
    return folder


def test_columns_values_and_pictures(trained, strangers, tmp_path):
    out = tmp_path / "out"
    outcome = call("predict", trained.path, strangers, "--out", out)
    assert outcome.code == 0, outcome
    assert "2 of 2 images" in outcome.err
    found = {row["output"]: row for row in rows(out)}
    assert list(found) == ["color", "gray"]
    for name, size in (("gray", (75, 50)), ("color", (60, 90))):
        row = found[name]
        assert list(row) == COLUMNS
        values = {label: float(row[f"diagnosis_{label}"]) for label in ("normal", "pneumonia")}
        assert sum(values.values()) == pytest.approx(1, abs=1e-3)
        assert row["diagnosis"] == max(values, key=values.get)
        assert float(row["diagnosis_probability"]) == max(values.values())
        mask, overlay = (picture(out / part / f"{name}--lungs.png") for part in ("masks", "overlays"))
        assert mask.size == overlay.size == size
        assert mask.mode == "L"
        assert overlay.mode == "RGB"
        levels = np.asarray(mask)
        assert set(np.unique(levels)) <= {0, 255}
        assert float(row["lungs_area"]) == pytest.approx((levels > 0).mean(), abs=1e-4)


def test_a_prediction_is_what_the_model_says_of_the_image_on_its_canvas(trained, strangers, tmp_path):
    assert call("predict", trained.path, strangers / "gray.png", "--out", tmp_path / "out").code == 0
    (row,) = rows(tmp_path / "out")
    model, _, _ = RunFolder(trained.path).model("last", "teacher")
    pixels = place_image(picture(strangers / "gray.png"), (32, 32), 1, (32, 32))
    with torch.no_grad():
        outputs = predict(model, torch.from_numpy(pixels)[None], ("diagnosis", "lungs"))
    assert float(row["diagnosis_pneumonia"]) == pytest.approx(outputs["diagnosis"].softmax(1)[0, 1].item(), abs=1e-4)
    logits = torch.nn.functional.interpolate(outputs["lungs"], (50, 75), mode="bilinear", align_corners=False)
    mask = np.asarray(picture(tmp_path / "out/masks/gray--lungs.png"))
    assert (mask == 255).mean() == pytest.approx((logits > 0).float().mean().item(), abs=1e-3)


def test_the_student_and_the_teacher_answer_differently(trained, strangers, tmp_path):
    answers = []
    for weights in ("student", "teacher"):
        out = tmp_path / weights
        assert call("predict", trained.path, strangers / "gray.png", "--weights", weights, "--out", out).code == 0
        answers.append(rows(out)[0]["diagnosis_pneumonia"])
    assert answers[0] != answers[1]


def test_the_default_place_is_the_run_folder(run_copy, strangers):
    assert call("predict", run_copy, strangers / "gray.png").code == 0
    assert (run_copy / "predictions/masks/gray--lungs.png").exists()


def test_files_of_one_name_do_not_overwrite_each_other(trained, strangers, tmp_path):
    (strangers / "more").mkdir()
    shutil.copy(strangers / "color.jpg", strangers / "more/gray.jpg")
    shutil.copy(strangers / "color.jpg", strangers / "gray-2.jpg")
    out = tmp_path / "out"
    assert call("predict", trained.path, strangers, "--out", out).code == 0
    outputs = {row["file"].removeprefix(f"{strangers}/"): row["output"] for row in rows(out)}
    assert outputs == {"color.jpg": "color", "gray-2.jpg": "gray-2", "gray.png": "gray", "more/gray.jpg": "gray-3"}
    sizes = {name: picture(out / f"masks/{name}--lungs.png").size for name in outputs.values()}
    assert sizes == {"color": (60, 90), "gray-2": (60, 90), "gray": (75, 50), "gray-3": (60, 90)}


def test_a_file_that_can_not_be_read_is_reported_and_the_others_are_written(trained, strangers, tmp_path):
    (strangers / "broken.png").write_bytes((strangers / "gray.png").read_bytes()[:100])
    outcome = call("predict", trained.path, strangers, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert f"skipped: {strangers / 'broken.png'} is damaged or truncated" in outcome.err
    assert "2 of 3 images" in outcome.err
    assert "Traceback" not in outcome.err
    assert [row["output"] for row in rows(tmp_path / "out")] == ["color", "gray"]


@pytest.mark.parametrize(
    ("images", "says"),
    [((), "no image was given"), (("nowhere.png",), "there is no file or folder"), (("empty",), "holds no image")],
)
def test_nothing_to_predict(trained, tmp_path, images, says):
    (tmp_path / "empty").mkdir()
    assert says in refused("predict", trained.path, *(tmp_path / name for name in images))
