"""`ssmtl predict` for boxes and for masks of several classes: places in the source image, counts, colors."""

import csv

import numpy as np
import pytest
import torch
from boxed import found_at
from in_process import call
from PIL import Image

from ssmtl.answers import write_answers
from ssmtl.errors import RecipeError
from ssmtl.palette import class_colors
from ssmtl_tasks import Classification, Segmentation
from ssmtl_tasks.detection import Detection

SCENE = Segmentation("scene", classes=("background", "road", "car"))
THINGS = Detection("things", classes=("car", "bus"))
COLORS = class_colors(("road", "car", "bus"))
RECIPE = '''"""Boxes and masks in tiny streets."""

from pathlib import Path

from ssmtl import Model, Objective, Recipe, SmpUnetDecoder, Source, Split, Supervised, TimmEncoder
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl_tasks import Segmentation
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead


def recipe(*, data: Path | None = None, seed: int = 0) -> Recipe:
    """Train one step.

    Args:
        data: Not used.
        seed: Seed of everything.
    """
    scenes = StreetPhantom(canvas=(32, 64), samples=4)
    head = RetinaNetHead(channels=8, finest_stride=8, levels=2)
    tasks = (
        Segmentation("scene", classes=scenes.classes("mask"), head=SmpUnetDecoder()),
        Detection("things", classes=scenes.classes("boxes"), head=head, score_threshold=0.0),
    )
    return Recipe(
        name="street",
        objectives=tuple(Objective(task, Supervised()) for task in tasks),
        sources=(Source("scenes", scenes, serves=("scene", "things")),),
        model=Model(TimmEncoder("test_resnet"), channels=3),
        validation=(Split("val", scenes.replace(split="val"), tasks=("scene", "things")),),
        steps=1,
        seed=seed,
    )
'''


@pytest.fixture
def answer(tmp_path):
    """Return what is written of a model that knows the answer, of 100 x 50 gray pixels, padded to 64 x 64."""

    def ask(*tasks, **outputs):
        image = Image.new("RGB", (100, 50), (90, 90, 90))
        return write_answers({task.name: task for task in tasks}, outputs, image, (32, 64), tmp_path, "one", COLORS)

    return ask


def test_two_tasks_of_one_column_are_refused(answer):
    tasks = Classification("label", classes=("a", "b")), Classification("label_a", classes=("x", "y"))
    logits = torch.zeros(1, 2)
    with pytest.raises(RecipeError, match=r"'label' and 'label_a' both write the column 'label_a' of predictions\.csv"):
        answer(*tasks, label=logits, label_a=logits)


def test_a_class_called_like_a_column_of_the_answer_is_refused(answer):
    with pytest.raises(RecipeError, match=r"the task 'label' has a class 'probability', whose column"):
        answer(Classification("label", classes=("a", "probability")), label=torch.zeros(1, 2))


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_boxes_come_back_to_the_pixels_of_a_padded_image(answer, tmp_path):
    """The canvas shows 100 x 50 pixels in 64 x 32, so that a pixel of it is 1.5625 pixels of the image."""
    canvas = [(16, 8, 32, 24), (16, 24, 32, 40), (10, 40, 20, 60)]
    found = found_at(canvas, [0, 1, 0], [0.9, 0.4, 0.8], size=(64, 64))
    said = answer(THINGS, things=found)
    assert said.objects == [
        {"task": "things", "category": "car", "bbox": [25, 12.5, 25, 25], "area": 625, "score": 0.9},
        {"task": "things", "category": "bus", "bbox": [25, 37.5, 25, 12.5], "area": 312.5, "score": 0.4},
    ]
    assert said.pictures == ["overlays/one--things.png"]
    assert said.columns == {"things_car": "1", "things_bus": "0"}
    overlay = picture(tmp_path / "overlays/one--things.png")
    assert overlay.shape == (50, 100, 3)
    assert (overlay[20:38, 25] == COLORS["car"]).all()
    assert not (overlay == COLORS["bus"]).all(-1).any()


def test_masks_of_several_classes_come_back_as_indices_shares_and_colors(answer, tmp_path):
    labels = torch.zeros(64, 64, dtype=torch.int64)
    labels[8:24, 16:32], labels[32:] = 2, 1
    logits = 20.0 * torch.nn.functional.one_hot(labels, 3).permute(2, 0, 1)[None].float()
    said = answer(SCENE, scene=logits)
    shares = {name: float(value) for name, value in said.columns.items()}
    assert shares == pytest.approx(
        {"scene_background_area": 0.875, "scene_road_area": 0, "scene_car_area": 0.125}, abs=0.01
    )
    mask, overlay = (picture(tmp_path / part / "one--scene.png") for part in ("masks", "overlays"))
    assert mask.shape == (50, 100)
    assert (mask[13:37, 26:49] == 2).all()
    assert (mask[:, 52:] == 0).all()
    assert (overlay[:, 52:] == 90).all()
    assert overlay[25, 40].tolist() == [round(0.4 * 90 + 0.6 * part) for part in COLORS["car"]]


def test_a_run_with_boxes_writes_a_row_per_box_and_a_legend(tmp_path):
    (tmp_path / "street.py").write_text(RECIPE)
    run, out = tmp_path / "run", tmp_path / "out"
    assert call("run", tmp_path / "street.py", "--out", run, "--workers", 0, "--quiet").code == 0
    Image.new("RGB", (50, 40), (9, 99, 200)).save(tmp_path / "a.png")
    outcome = call("predict", run, tmp_path / "a.png", "--out", out)
    assert outcome.code == 0, outcome
    with (out / "boxes.csv").open(newline="") as stream:
        boxes = list(csv.DictReader(stream))
    assert list(boxes[0]) == ["file", "output", "task", "label", "score", "left", "top", "right", "bottom"]
    assert all(0 <= float(box["left"]) < float(box["right"]) <= 50 for box in boxes)
    assert all(0 <= float(box["top"]) < float(box["bottom"]) <= 40 for box in boxes)
    scores = [float(box["score"]) for box in boxes]
    assert scores == sorted(scores, reverse=True)
    with (out / "predictions.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert int(row["things_car"]) == sum(b["label"] == "car" and float(b["score"]) >= 0.5 for b in boxes)
    assert {path.name for path in (out / "overlays").iterdir()} == {"a--scene.png", "a--things.png", "legend.png"}
