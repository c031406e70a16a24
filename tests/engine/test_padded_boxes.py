"""Boxes on a padded canvas are scored as they are predicted: nothing is found beyond the image's end."""

import numpy as np
import pytest
import torch
from boxed import found_at

from ssmtl.batch import Sample
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.evaluate import SplitLoader, evaluate
from ssmtl.models.multitask import Model
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source, Split
from ssmtl.strategies.supervised import Supervised
from ssmtl.task import BoxList
from ssmtl_tasks.detection import Detection

CANVAS, SHOWN = (64, 64), (32, 48)
BOX = [30.0, 10.0, 48.0, 32.0]


class OneImage:
    """A table of one image that fills half of the canvas, with a car at its lower right corner."""

    def __len__(self):
        return 1

    def __getitem__(self, row):
        boxes = BoxList(np.array([BOX], np.float32), np.array([0]), np.array([False]))
        image = np.zeros((3, *CANVAS), np.uint8)
        return Sample(name="one", image=image, size=SHOWN, source_size=SHOWN, annotations={"boxes": boxes})

    def name(self, row):
        return "one"

    def annotated(self, kind):
        return np.array([kind == "boxes"])


@pytest.mark.parametrize("beyond", [False, True])
def test_boxes_end_where_the_image_does(monkeypatch, beyond):
    task = Detection("cars", classes=("car", "pedestrian", "bicyclist"))
    street = StreetPhantom(canvas=CANVAS, samples=1)
    recipe = Recipe(
        name="cars",
        objectives=(Objective(task, Supervised()),),
        sources=(Source("street", street, serves=("cars",)),),
        test=(Split("test", street, tasks=("cars",)),),
        model=Model(TimmEncoder("test_resnet"), channels=3),
    )
    monkeypatch.setattr(StreetPhantom, "open", lambda self: OneImage())
    reach = [30.0, 10.0, 60.0, 44.0]  # runs on into the padding, where the IoU would be 396 / 1020
    away = [50.0, 34.0, 62.0, 60.0]  # lies in the padding, and would be wrong
    boxes = [reach, away] if beyond else [reach]
    pred = found_at(boxes, [0, 0][: len(boxes)], [0.8, 0.9][: len(boxes)], classes=3, size=CANVAS)

    class Stub(torch.nn.Module):
        def forward(self, images, rows):
            return {"cars": pred}

    scores = evaluate(Stub(), SplitLoader(recipe, recipe.test[0]), torch.device("cpu"))
    assert scores["cars/map"] == pytest.approx(1)
