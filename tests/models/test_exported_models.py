"""Every encoder, head and task leaves as a file that does what the model does, for any number of images."""

import numpy as np
import pytest
import torch
from boxed import found_at
from torch import nn
from unchecked import unchecked

from ssmtl import LinearHead, Model, MultiMixDecoder, MultiMixEncoder, SaliencyBridge, SmpUnetDecoder, TimmEncoder
from ssmtl.component import kinds, resolve, walk
from ssmtl.errors import RecipeError
from ssmtl.export import (
    Deployed,
    describe,
    largest_difference,
    record,
    run_onnx,
    save_onnx,
    save_program,
    smallest,
)
from ssmtl.models.deeplab import DeepLabV3Plus
from ssmtl.models.wide_resnet import WideResNet
from ssmtl.task import Output
from ssmtl_tasks import Classification, Segmentation
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.detection_head import RetinaNetHead
from ssmtl_tasks.multi_label import MultiLabel

SIZE = (64, 96)
SCENE = ("sky", "road", "car")
KIND = Classification("kind", classes=("a", "b", "c"), head=LinearHead(max_pool=True))
SMALL = DeepLabV3Plus(channels=8, low_level_channels=8)


def boxes(**fields):
    return Detection("boxes", classes=("p", "q"), head=RetinaNetHead(channels=8, finest_stride=4, levels=3), **fields)


MODELS = {
    "timm": (
        Model(TimmEncoder("test_resnet"), channels=3),
        (KIND, Segmentation("scene", classes=SCENE, head=SmpUnetDecoder(channels=(16, 8, 8, 8, 8))), boxes()),
    ),
    "dilated": (
        Model(TimmEncoder("test_resnet", output_stride=16), channels=3, normalize="imagenet"),
        (Segmentation("scene", classes=SCENE, head=SMALL), boxes()),
    ),
    "wide": (
        Model(WideResNet(depth=10, width=1), channels=1),
        (KIND, MultiLabel("signs", classes=("x", "y"))),
    ),
    "bridged": (
        Model(MultiMixEncoder(channels=(4, 8)), bridge=SaliencyBridge("kind", "lungs", norm="minmax")),
        (KIND, Segmentation("lungs", classes=("lung",), head=MultiMixDecoder())),
    ),
}


@pytest.fixture(autouse=True)
def _unchecked():
    """While a model is recorded its sizes are symbols, which run-time type checks take for anything but numbers."""
    with unchecked():
        yield


def deployed(name):
    torch.manual_seed(0)
    config, tasks = MODELS[name]
    model = config.build(tasks)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
    return Deployed(model, {task.name: task for task in tasks})


def test_nothing_that_a_model_can_have_is_missing_here():
    used = {part.kind for config, tasks in MODELS.values() for value in (config, *tasks) for part in walk(value)}
    for group in ("encoders", "heads", "tasks"):
        ours = {
            kind for kind in kinds(group) if resolve(group, kind).__module__.split(".")[0] in ("ssmtl", "ssmtl_tasks")
        }
        assert len(ours) > 2
        assert ours <= used, f"export has no test of {ours - used}"


@pytest.mark.parametrize(("name", "dynamic"), [("timm", True), ("bridged", True), ("dilated", False), ("wide", False)])
def test_both_formats_say_what_the_model_says_for_one_image_and_for_more(name, dynamic, tmp_path):
    module, file = deployed(name), tmp_path / "model.onnx"
    channels, outputs = module.model.channels, describe(module, SIZE)
    program = record(module, SIZE, dynamic=dynamic)
    shapes = [(1, channels, *SIZE), (3, channels, *SIZE)]
    if dynamic:
        side = smallest(program, module)
        shapes = [(2, channels, side, side), (1, channels, side + module.stride, 2 * side + module.stride)]
    save_onnx(program, list(outputs), {"recipe": name}, file)
    assert largest_difference(module, run_onnx(file), shapes) < 1e-4
    assert largest_difference(module, save_program(program, {}, tmp_path / "model.pt2"), shapes) < 1e-5


def test_the_code_for_boxes_finds_what_the_task_finds():
    task = boxes(score_threshold=0.3, nms=0.4)
    draw = np.random.default_rng(0)
    corners = draw.uniform(0, 40, (60, 2))
    places = np.concatenate([corners, corners + draw.uniform(5, 25, (60, 2))], axis=1).round(3)
    pred = found_at(
        [tuple(place) for place in places], draw.integers(0, 2, 60).tolist(), draw.uniform(size=60).tolist()
    )
    outputs = {f"boxes.{name}": output.values.numpy() for name, output in task.exported(pred).items()}
    names = {"found": outputs}
    _, code, _ = task.reading().split("```")
    exec(code.removeprefix("python"), names)
    (expected,) = task.decode(pred, [tuple(pred.size[0].tolist())])
    assert len(expected.boxes) > 5
    np.testing.assert_allclose(np.array([box for box, _, _ in names["answers"]]), expected.boxes, atol=1e-3)
    assert [int(label) for _, label, _ in names["answers"]] == expected.labels.tolist()
    np.testing.assert_allclose([score for *_, score in names["answers"]], expected.scores, atol=1e-6)


def test_a_task_that_does_not_decode_leaves_its_prediction_under_the_names_of_its_fields():
    model = deployed("timm").model
    plain = Deployed(model, {"kind": object(), "boxes": object()})
    outputs = describe(plain, SIZE)
    fields = ("logits", "deltas", "anchors", "size", "levels")
    assert list(outputs) == ["kind.prediction", *(f"boxes.{name}" for name in fields)]
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, *SIZE), {"kind": torch.zeros(1, dtype=torch.int64)})["kind"]
    torch.testing.assert_close(outputs["kind.prediction"].values, logits)


def test_a_model_that_can_not_be_recorded_is_refused_in_a_sentence():
    module = deployed("wide")
    task = module.tasks["kind"]

    class Peeking(nn.Module):
        def forward(self, features, size, extra):
            return features[-1].mean(dim=(2, 3)) * (1.0 if float(features[-1].sum()) > 0 else 2.0)

    module.model.heads[task.name] = Peeking()
    with pytest.raises(RecipeError, match=r"PyTorch can't record this model \(.*; predict with ssmtl itself"):
        record(module, SIZE, dynamic=False)


def test_a_difference_is_found():
    class Zeros(Deployed):
        def outputs(self, images):
            return {"a": Output(torch.zeros(len(images), 3), "")}

    module = Zeros(deployed("wide").model, {})

    def off_by(difference):
        return largest_difference(module, lambda images: {"a": torch.full((2, 3), difference)}, [(2, 1, 8, 8)])

    assert off_by(1e-4) == pytest.approx(1e-4)
    with pytest.raises(RecipeError, match=r"by 0.002 on random images of shape \(2, 1, 8, 8\)"):
        off_by(0.002)
    with pytest.raises(RecipeError, match="by nan"):
        off_by(float("nan"))
