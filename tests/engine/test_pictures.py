"""What `draw_pictures` hands to tasks: the part of the canvas that shows the image, enlarged, with its annotations."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from boxed import boxes_at, found_at
from PIL import Image
from torch.utils._pytree import tree_map

from ssmtl import Model, Objective, Recipe, Source, Split, Supervised, TimmEncoder
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.evaluate import LARGEST, SplitLoader, draw_pictures, draw_row
from ssmtl.models.heads import SmpUnetDecoder
from ssmtl.pictures import at_most, enlarged, recipe_colors, unit_of, zoom_of
from ssmtl_tasks import Classification, Segmentation
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.targets import Labels

CANVAS, SHOWN = (100, 160), (80, 160)


@pytest.fixture
def drawn(monkeypatch):
    """What tasks are asked to draw."""
    calls = []

    def draw(self, image, target, pred, colors=None):
        calls.append(SimpleNamespace(image=image, target=target, pred=pred, colors=colors))
        return image

    for task in (Segmentation, Detection, Classification):
        monkeypatch.setattr(task, "draw", draw)
    return calls


def test_masks_are_enlarged_pixel_by_pixel_and_padding_is_left_out(drawn):
    image = torch.randint(0, 256, (3, *CANVAS), dtype=torch.uint8)
    labels = torch.randint(0, 3, (1, *CANVAS))
    labels[:, 5:9] = 255
    pred = torch.randn(1, 3, *CANVAS)
    task = Segmentation("scene", classes=("a", "b", "c"))
    draw_row(task, image, Labels(labels, (labels != 255).float()), pred, SHOWN, {"a": (1, 2, 3)})
    (call,) = drawn
    assert call.image.shape == (3, 160, 320)
    assert torch.equal(call.image[:, ::2, 1::2], image[:, :80])
    assert torch.equal(call.target.labels, labels[0, :80].repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert torch.equal(call.target.weight, (call.target.labels != 255).float())
    assert torch.equal(call.pred, pred[0, :, :80])
    assert call.colors == {"a": (1, 2, 3)}


@pytest.mark.parametrize(("size", "zoom"), [((33, 47), 7), ((107, 50), 3), ((320, 20), 1), ((700, 900), 1)])
def test_small_images_are_enlarged_by_a_whole_factor(size, zoom):
    labels = torch.arange(size[0] * size[1]).reshape(1, *size) % 250
    task = Segmentation("scene", classes=tuple(f"class {i}" for i in range(250)))
    assert zoom_of(size) == zoom
    moved = task.warp(Labels(labels, torch.ones(1, *size)), scale(size))
    assert torch.equal(moved.labels[0], enlarged(labels, size)[0])


def scale(size):
    """Return the geometry that `draw_row` moves targets by."""
    seen = []
    task = SimpleNamespace(warp=lambda target, geometry: (seen.append(geometry), target)[1], draw=lambda *_: None)
    draw_row(task, torch.zeros(3, *size, dtype=torch.uint8), torch.zeros(1), torch.zeros(1), size, {})
    return seen[0]


def test_boxes_land_on_the_enlarged_pixels(drawn):
    task = Detection("things", classes=("car", "bus"))
    target = boxes_at([[(10, 20, 30, 50), (3, 5, 4, 7)]], labels=[[1, 0]])
    pred = found_at([(10, 20, 30, 50), (10, 82, 30, 99), (40, 70, 60, 90)], [1, 0, 0], [0.9, 0.8, 0.7], size=CANVAS)
    draw_row(task, torch.zeros(3, *CANVAS, dtype=torch.uint8), target, pred, SHOWN, {})
    (call,) = drawn
    assert call.target.boxes[call.target.present].tolist() == [[20, 40, 60, 100], [6, 10, 8, 14]]
    assert call.target.labels[:2].tolist() == [1, 0]
    (answer,) = task.decode(tree_map(lambda part: part[None], call.pred), [call.image.shape[1:]])
    # what was found in the padding is gone, and what reaches into it ends with the image
    assert np.allclose(answer.boxes, [[20, 40, 60, 100], [80, 140, 120, 160]], atol=1e-3)
    assert answer.names == ("bus", "car")


def test_classes_are_left_as_they_are(drawn):
    task = Classification("kind", classes=("a", "b"))
    label = Labels(torch.tensor([1]), torch.tensor([1.0]))
    draw_row(task, torch.zeros(1, 20, 20, dtype=torch.uint8), label, torch.tensor([[1.0, 2.0]]), (20, 20), {})
    (call,) = drawn
    assert (int(call.target.labels), call.pred.tolist()) == (1, [1, 2])
    assert call.image.shape == (3, 320, 320)


def street(samples=4):
    scenes = StreetPhantom(canvas=(32, 64), samples=samples)
    head = RetinaNetHead(channels=8, finest_stride=8, levels=2)
    tasks = (
        Segmentation("scene", classes=scenes.classes("mask"), head=SmpUnetDecoder()),
        Detection("things", classes=("Car", "pedestrian"), head=head),
    )
    return Recipe(
        name="street",
        objectives=tuple(Objective(task, Supervised()) for task in tasks),
        sources=(Source("scenes", scenes, serves=("scene", "things")),),
        model=Model(TimmEncoder("test_resnet"), channels=3),
        validation=(Split("val", scenes.replace(split="val"), tasks=("scene", "things")),),
    )


def test_a_split_with_masks_and_boxes_is_drawn(tmp_path):
    recipe = street()
    model = recipe.model.build(list(recipe.tasks.values()))
    written = draw_pictures(model, SplitLoader(recipe, recipe.validation[0]), torch.device("cpu"), tmp_path, count=2)
    assert [path.name for path in written] == [
        "val--scene--00000.png",
        "val--things--00000.png",
        "val--scene--00003.png",
        "val--things--00003.png",
    ]
    for path in written:
        with Image.open(path) as picture:
            assert picture.width == 2 * 320 + 8
            assert picture.height >= 160 + 20


def test_a_recipe_has_one_color_per_class_the_tasks_first():
    colors = recipe_colors(street())
    scenes = StreetPhantom()
    assert list(colors)[: len(scenes.classes("mask")) + 1] == [*scenes.classes("mask"), "Car"]
    assert colors["car"] == colors["Car"]
    assert len(set(colors.values())) == len(scenes.classes("mask"))


def test_large_pictures_are_averaged_down():
    image = torch.zeros(3, 20, 2 * LARGEST, dtype=torch.uint8)
    image[:, :, ::2] = 200
    small = at_most(image, LARGEST)
    assert small.shape == (3, 10, LARGEST)
    assert (small == 100).all()
    assert torch.equal(at_most(image[:, :, :50], LARGEST), image[:, :, :50])
    assert [unit_of(image[:, :8, :side]) for side in (64, 512, 1024, 2048)] == [1, 1, 2, 4]
