"""Reading annotations, Gaussians on a grid, and where maps have their peaks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.errors import DataError
from ssmtl_keypoints.points import collate_points, gaussians, locate, read_points, spread

CLASSES = ("nose", "Left_Eye", "right_eye")
WANTED = ("left_eye", "nose")


def annotation(**changed):
    rows = {"nose": (10.0, 20.0, 2), "Left_Eye": (5.5, 6.25, 1), "right_eye": (0, 0, 0), **changed}
    return np.array([rows[name] for name in CLASSES], np.float32)


def test_points_are_found_by_name_whatever_their_order_and_case():
    target = read_points(annotation(), CLASSES, WANTED, "face")
    assert target.xy.tolist() == [[5.5, 6.25], [10, 20]]
    assert target.weight.tolist() == [1, 1]


def test_a_hidden_point_teaches_and_an_absent_one_does_not():
    target = read_points(annotation(), CLASSES, ("left_eye", "right_eye"), "face")
    assert target.weight.tolist() == [1, 0]
    assert target.present.tolist() == [True, False]


def test_what_stands_in_an_absent_point_does_not_matter():
    target = read_points(annotation(right_eye=(np.nan, -1e9, 0)), CLASSES, ("right_eye",), "face")
    assert target.xy.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("given", "points", "sentence"),
    [
        (annotation()[:2], WANTED, r"got float32 of shape \(2, 3\) for points; it expects float32 of shape \(3, 3\)"),
        ([1, 2], WANTED, r"got list for points"),
        (annotation(), ("left_eey",), r"'left_eey', which the reader doesn't annotate.*did you mean 'Left_Eye'\?"),
        (annotation(nose=(1, 1, 3)), WANTED, r"visibility 3 for 'nose'; expected 0 \(unknown\), 1 \(hidden\) or 2"),
        (annotation(nose=(np.inf, 1, 2)), WANTED, r"the place \(inf, 1.0\) for 'nose', expected pixels"),
    ],
)
def test_bad_annotations_are_refused(given, points, sentence):
    with pytest.raises(DataError, match=sentence):
        read_points(given, CLASSES, points, "face")


@pytest.mark.parametrize("place", [(32, 3), (-0.6, 3), (3, 16), (3, -1)])
def test_a_point_outside_of_the_canvas_is_refused(place):
    target = read_points(annotation(nose=(*place, 2)), CLASSES, ("nose",), "face")
    with pytest.raises(DataError, match=r"'nose' at .* on a canvas of \(16, 32\).*visibility 0"):
        collate_points([target], (16, 32), ("nose",), "face")


def test_collating_fills_in_what_is_not_annotated():
    target = read_points(annotation(), CLASSES, WANTED, "face")
    batch = collate_points([None, target], (24, 32), WANTED, "face")
    assert batch.weight.tolist() == [[0, 0], [1, 1]]
    assert batch.present.tolist() == [[False, False], [True, True]]
    assert batch.size.tolist() == [[24, 32], [24, 32]]
    assert collate_points([], (24, 32), WANTED, "face").xy.shape == (0, 2, 2)


def test_a_gaussian_in_the_middle_of_pixels_has_the_known_ratios():
    down, across = gaussians(torch.tensor([[[3.0, 2.0]]]), (5, 7), sigma=1.0)
    row = across.exp()[0, 0]
    assert row[4] / row[3] == pytest.approx(math.exp(-1 / 2), rel=1e-5)
    assert row[5] / row[3] == pytest.approx(math.exp(-4 / 2), rel=1e-5)
    assert down.exp()[0, 0].argmax() == 2


@given(x=st.floats(0, 15), y=st.floats(0, 11), sigma=st.floats(0.5, 4))
def test_a_gaussian_is_a_distribution_also_at_the_border(x, y, sigma):
    down, across = gaussians(torch.tensor([[[x, y]]]), (12, 16), sigma)
    assert (down[..., None] + across[..., None, :]).exp().sum().item() == pytest.approx(1, abs=1e-5)


@given(x=st.floats(6, 25), y=st.floats(6, 17))
def test_a_gaussians_place_is_found_finer_than_a_pixel(x, y):
    down, across = gaussians(torch.tensor([[[x, y]]]), (24, 32), 1.5)
    xy, confidence = locate(down[..., None] + across[..., None, :], reach=5)
    assert xy[0, 0].tolist() == pytest.approx([x, y], abs=0.02)
    assert confidence.item() == pytest.approx(1, abs=2e-3)


def test_the_confidence_is_the_probability_around_the_peak():
    logits = torch.full((1, 1, 8, 8), -100.0)
    logits[0, 0, 2, 2], logits[0, 0, 2, 3], logits[0, 0, 7, 7] = math.log(0.5), math.log(0.2), math.log(0.3)
    xy, confidence = locate(logits, reach=1)
    assert confidence.item() == pytest.approx(0.7, abs=1e-5)
    assert xy[0, 0].tolist() == pytest.approx([2 + 0.2 / 0.7, 2], abs=1e-4)


def test_an_undecided_map_has_the_confidence_of_its_window():
    _, confidence = locate(torch.zeros(1, 1, 20, 20), reach=2)
    assert confidence.item() <= 25 / 400 + 1e-6


def test_the_spread_is_the_longer_side_of_the_known_points():
    rows = [annotation(nose=(1, 1, 2), Left_Eye=(4, 9, 2), right_eye=(30, 1, 0)), annotation(Left_Eye=(0, 0, 0))]
    targets = [read_points(row, CLASSES, CLASSES, "face") for row in rows]
    assert spread(collate_points([*targets, None], (32, 32), CLASSES, "face")).tolist() == [8, 0, 0]
