"""What the task makes of annotations, views and files, and what it refuses."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from ssmtl import (
    DenseFixMatch,
    FixMatchStar,
    Model,
    MultiMixEncoder,
    Objective,
    PiModel,
    Policy,
    PseudoLabel,
    Recipe,
    Source,
    Supervised,
    Views,
)
from ssmtl.commands.recipes import load_recipe
from ssmtl.errors import DataError
from ssmtl.views.framing import RandomResizedCrop, ScaleCrop
from ssmtl.views.geometry import Geometry
from ssmtl.views.presets import default_strong, dense_strong, dense_weak
from ssmtl.views.warps import Perspective

from ssmtl_depth import Depth, DepthMap, DepthPhantom, DepthPrediction
from ssmtl_depth.depth import RESCALING

TASK = Depth("depth")
RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "depth_and_objects.py"


def float32(values):
    return np.array(values, dtype=np.float32)


def a_recipe(**changes):
    options = {"strategy": DenseFixMatch(), "views": Views(), **changes}
    return Recipe(
        name="test",
        objectives=(Objective(TASK, options["strategy"]),),
        sources=(Source("scenes", options.get("reader", DepthPhantom(samples=8)), serves=("depth",)),),
        model=Model(MultiMixEncoder(), channels=3),
        views=options["views"],
    )


def test_unknown_depth_is_nan_zero_or_less():
    target = TASK.target(float32([[2.0, 0.0, np.nan, -1.0, 5.0]]), ())
    assert target.valid.tolist() == [[True, False, False, False, True]]
    assert target.weight.tolist() == [[1, 0, 0, 0, 1]]
    assert target.log_depth.tolist() == [pytest.approx([math.log(2), 0, 0, 0, math.log(5)])]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (np.ones((4, 4), np.uint16), r"uint16 of shape \(4, 4\).*float32 map.*meters.*/ 1000"),
        (np.ones((1, 4, 4), np.float32), r"shape \(1, 4, 4\).*\(height, width\)"),
        (3, "got int for depth"),
        (float32([[2500.0]]), "2500 meters; expected at most 1000.*unknown"),
        (float32([[np.inf]]), "inf meters.*write 0 or NaN"),
    ],
)
def test_what_is_no_depth_in_meters_is_refused_in_a_sentence(annotation, words):
    with pytest.raises(DataError, match=words):
        TASK.target(annotation, ())


def test_depth_of_another_size_than_the_images_is_refused():
    with pytest.raises(DataError, match=r"depth of \(2, 3\) pixels .* images of \(4, 4\)"):
        TASK.collate([TASK.target(np.ones((2, 3), np.float32), ())], (4, 4))


def test_a_flip_moves_depth_exactly_and_a_shift_leaves_nothing_behind():
    target = TASK.collate([TASK.target(float32([[1.0, 2.0, 0.0, 4.0]]), ())], (1, 4))
    flip = torch.tensor([[[-1.0, 0, 3], [0, 1, 0], [0, 0, 1]]], dtype=torch.float64)
    flipped = TASK.warp(target, Geometry(flip, (1, 4)))
    assert flipped.log_depth.exp().tolist() == [[pytest.approx([4, 1, 2, 1])]]
    assert flipped.valid.tolist() == [[[True, False, True, True]]]
    shift = torch.tensor([[[1.0, 0, 2], [0, 1, 0], [0, 0, 1]]], dtype=torch.float64)
    shifted = TASK.warp(target, Geometry(shift, (1, 4)))
    assert shifted.valid.tolist() == [[[False, False, True, True]]]
    assert shifted.weight.tolist() == [[[0, 0, 1, 1]]]


def test_turning_invents_no_depth_between_a_thing_and_what_is_behind_it():
    depth = np.full((16, 16), 20.0, np.float32)
    depth[4:12, 4:12] = 2.0
    target = TASK.collate([TASK.target(depth, ())], (16, 16))
    cos, sin = math.cos(0.4), math.sin(0.4)
    middle = 7.5 - 7.5 * (cos + sin), 7.5 - 7.5 * (cos - sin)
    turn = torch.tensor([[[cos, sin, middle[0]], [-sin, cos, middle[1]], [0, 0, 1]]], dtype=torch.float64)
    turned = TASK.warp(target, Geometry(turn, (16, 16)))
    assert {round(value) for value in turned.log_depth[turned.valid].exp().tolist()} == {2, 20}


@pytest.mark.parametrize("op", [ScaleCrop(scale=(0.5, 2.0)), RandomResizedCrop(), Perspective()])
def test_views_that_draw_things_larger_are_refused_in_a_sentence(op):
    views = Views(weak=Policy(always=(op,)), strong=default_strong())
    with pytest.raises(
        ValidationError, match="the task 'depth' declares neither in invariant_to nor in equivariant_to"
    ):
        a_recipe(views=views)


def test_the_readme_quotes_the_refusal():
    with pytest.raises(ValidationError) as raised:
        a_recipe(views=Views(weak=Policy(always=(ScaleCrop(scale=(0.5, 2.0)),)), strong=default_strong()))
    sentence = raised.value.errors()[0]["msg"].removeprefix("Value error, ")
    assert sentence in " ".join((RECIPE.parents[1] / "README.md").read_text().split())


def test_derived_views_leave_out_what_rescales_and_keep_the_rest():
    recipe = a_recipe(views=Views(weak=dense_weak(), strong=dense_strong()))
    kept = {
        name
        for view in ("weak", "strong")
        for op in recipe.policy(recipe.sources[0], view).transforms()
        for name in op.names
    }
    assert kept.isdisjoint(RESCALING)
    assert {"HorizontalFlip", "Rotate", "ShearX", "TranslateX", "Cutout", "Brightness"} <= kept


@pytest.mark.parametrize("strategy", [Supervised(), PseudoLabel(), DenseFixMatch(0.8), FixMatchStar()])
def test_strategies_that_ask_for_pseudo_labels_take_it(strategy):
    assert a_recipe(strategy=strategy).tasks == {"depth": TASK}


def test_a_strategy_that_compares_distributions_is_refused():
    with pytest.raises(ValidationError, match="PiModel needs a task with the ability Distributions, which Depth"):
        a_recipe(strategy=PiModel())


def test_a_reader_without_depth_is_refused():
    from ssmtl.datasets.street_phantom import StreetPhantom

    with pytest.raises(ValidationError, match="the task 'depth' learns from 'depth' annotations, but StreetPhantom"):
        a_recipe(reader=StreetPhantom(canvas=(64, 96)))


def test_answers_have_the_size_of_the_source_and_files_hold_whole_millimeters():
    pred = DepthPrediction(torch.full((1, 4, 4), math.log(2.5)), torch.zeros(1, 4, 4))
    (answer,) = TASK.decode(pred, [(6, 10)])
    assert answer.shape == (6, 10)
    assert answer.dtype == np.float32
    record = TASK.record(answer)
    assert record.columns == {"depth_near": "2.500", "depth_median": "2.500", "depth_far": "2.500"}
    assert record.maps[""].dtype == np.uint16
    assert (record.maps[""] == 2500).all()
    assert TASK.record(float32([[0.0001, 70.0]])).maps[""].tolist() == [[1, 65535]]  # 0 would mean unknown


def test_a_fresh_head_predicts_the_typical_depth_and_is_unsure():
    head = Depth("depth", typical=20.0).build_head(MultiMixEncoder().build(3).spec)
    torch.nn.init.zeros_(head.maps.logits.weight)
    torch.nn.init.zeros_(head.maps.logits.bias)
    encoder = MultiMixEncoder().build(3)
    pred = head(encoder(torch.zeros(1, 3, 32, 32)), (32, 32), None)
    assert pred.log_depth.exp().mean().item() == pytest.approx(20.0, rel=1e-5)
    assert TASK.confidence(pred).item() == pytest.approx(1 - 0.8 ** math.exp(-math.log1p(math.exp(-4))), abs=0.01)


def test_pictures_share_one_scale_of_colors_and_unknown_is_gray():
    depth = np.geomspace(1, 16, 64 * 64, dtype=np.float32).reshape(64, 64)
    depth[:8] = 0
    target = TASK.target(depth, ())
    nothing, image = TASK.collate([None], (64, 64)), torch.zeros(3, 64, 64, dtype=torch.uint8)
    nothing = DepthMap(*(part[0] for part in nothing))
    truth, guess = TASK.draw(image, target, None), TASK.draw(image, nothing, TASK.as_prediction(target))
    both = TASK.draw(image, target, TASK.as_prediction(target))
    assert truth.shape == guess.shape == image.shape
    assert torch.equal(TASK.draw(image, nothing, None), image)
    assert (truth[:, :8, -4:] == 100).all()
    assert both.shape[2] > 2 * 64
    assert truth[:, 40, 40].tolist() in both[:, :, :64].flatten(1).T.tolist()
    assert (guess[:, :4, :4] != 0).all()  # no words on so small a picture
    assert truth[:, 9, -1].float().mean() > truth[:, -1, -1].float().mean()  # the nearest is the brightest


def test_the_recipe_runs_on_both_tasks():
    recipe = load_recipe(RECIPE)(seed=1)
    assert list(recipe.tasks) == ["depth", "objects"]
    assert recipe.headline("depth") == "depth/delta1"
