"""PCK and distances, against numbers worked out by hand."""

import math

import pytest
import torch

from ssmtl_keypoints import Keypoints, Points

SIZE = (32, 48)
TASK = Keypoints("face", points=("a", "b", "c"), sigma=1.0)


def batch(xy, weight):
    rows = len(xy)
    known = torch.tensor(weight) > 0
    return Points(torch.tensor(xy), torch.tensor(weight), known, torch.tensor([SIZE] * rows))


# The first row's points span 20 columns and 10 rows: 2 pixels are near enough. The second knows one point only.
REFERENCE = batch(
    [[[10.0, 10.0], [30.0, 10.0], [20.0, 20.0]], [[40.0, 6.0], [0.0, 0.0], [0.0, 0.0]]],
    [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]],
)
FOUND = REFERENCE._replace(
    xy=torch.tensor([[[11.5, 10.0], [30.0, 13.0], [20.0, 20.0]], [[40.0, 10.0], [9.0, 9.0], [9.0, 9.0]]])
)


def scores(task, *pairs):
    metrics = task.metrics()
    for found, reference in pairs:
        metrics.update(task.as_prediction(found), reference)
    return {name: value.item() for name, value in metrics.compute().items()}


def test_known_answers():
    values = scores(TASK, (FOUND, REFERENCE))
    assert values["pck"] == pytest.approx(2 / 3)
    assert (values["pck_a"], values["pck_b"], values["pck_c"]) == (1, 0, 1)
    assert values["error_px"] == pytest.approx((1.5 + 3 + 0 + 4) / 4, abs=0.01)


def test_of_the_canvas_every_known_point_counts():
    # A tenth of 48 pixels: all four are near enough.
    assert scores(TASK.replace(pck_of="canvas"), (FOUND, REFERENCE))["pck"] == 1


def test_halves_are_as_good_as_the_whole():
    halves = [
        (Points(*(part[i : i + 1] for part in FOUND)), Points(*(p[i : i + 1] for p in REFERENCE))) for i in (0, 1)
    ]
    assert scores(TASK, *halves) == pytest.approx(scores(TASK, (FOUND, REFERENCE)), nan_ok=True)


def test_the_reference_itself_is_best():
    values = scores(TASK, (REFERENCE, REFERENCE))
    assert values["pck"] == 1
    assert values["error_px"] == pytest.approx(0, abs=0.01)


def test_left_for_right_is_wrong():
    swapped = REFERENCE._replace(xy=REFERENCE.xy[:, [1, 0, 2]])
    assert scores(TASK, (swapped, REFERENCE))["pck"] == pytest.approx(1 / 3)


def test_nothing_known_is_nan_and_no_rows_change_nothing():
    nothing = REFERENCE._replace(weight=torch.zeros(2, 3), present=torch.zeros(2, 3, dtype=torch.bool))
    assert math.isnan(scores(TASK, (FOUND, nothing))["pck"])
    none = Points(*(part[:0] for part in REFERENCE))
    assert scores(TASK, (none, none), (FOUND, REFERENCE))["pck"] == pytest.approx(2 / 3)
