"""Scores against numbers worked out by hand."""

import math

import pytest
import torch

from ssmtl_depth import Depth, DepthMap, DepthPrediction

TASK = Depth("depth")


def batch(predicted, true, weight=None):
    true, predicted = torch.tensor(true), torch.tensor(predicted)
    weight = torch.ones_like(true) if weight is None else torch.tensor(weight)
    return (
        DepthPrediction(predicted.log(), torch.zeros_like(true)),
        DepthMap(true.log(), weight, torch.ones_like(true, dtype=torch.bool)),
    )


def scores(*batches):
    metrics = TASK.metrics()
    for pred, target in batches:
        metrics.update(pred, target)
    return {name: value.item() for name, value in metrics.compute().items()}


def test_scores_by_hand():
    # |p - y| / y: 0.2, 0.3, 0.5, 0; ratios 1.2, 1.3, 2, 1: two of four are below 1.25
    found = scores(batch([[[2.4, 2.6, 1.0, 7.0]]], [[[2.0, 2.0, 2.0, 7.0]]]))
    squares = [math.log(1.2) ** 2, math.log(1.3) ** 2, math.log(2) ** 2, 0]
    assert found["abs_rel"] == pytest.approx(0.25, rel=1e-5)
    assert found["delta1"] == 0.5
    assert found["rmse_log"] == pytest.approx(math.sqrt(sum(squares) / 4), rel=1e-5)


def test_pixels_are_pooled_over_the_split_and_unknown_ones_left_out():
    first = batch([[[4.0, 4.0]]], [[[2.0, 2.0]]], weight=[[[1.0, 0.0]]])
    second = batch([[[2.0, 2.0], [2.0, 50.0]]], [[[2.0, 2.0], [2.0, 2.0]]], weight=[[[1.0, 1.0], [1.0, 0.0]]])
    assert scores(first, second) == pytest.approx({"abs_rel": 0.25, "delta1": 0.75, "rmse_log": math.log(2) / 2})


def test_the_limit_itself_is_too_far():
    assert scores(batch([[[1.2499]]], [[[1.0]]]))["delta1"] == 1
    assert scores(batch([[[1.2501]]], [[[1.0]]]))["delta1"] == 0
    assert scores(batch([[[1.0]]], [[[1.2501]]]))["delta1"] == 0


def test_without_any_known_pixel_scores_are_nan():
    assert all(math.isnan(value) for value in scores(batch([[[1.0]]], [[[1.0]]], weight=[[[0.0]]])).values())
