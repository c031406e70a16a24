"""Scenes are functions of their index, and their depth is what a camera would measure."""

import numpy as np
import pytest
from scipy.ndimage import find_objects, label

from ssmtl_depth import DepthPhantom
from ssmtl_depth.scene import BALL, BALL_RADIUS, EYE, FOCAL, REACH

READER = DepthPhantom(samples=40)


def test_a_scene_depends_on_its_index_alone():
    whole, window = READER.open(), READER.replace(samples=3, first=20).open()
    again = READER.open()
    for row in range(3):
        ours, theirs = whole[20 + row], window[row]
        assert ours.name == theirs.name
        assert np.array_equal(ours.image, theirs.image)
        assert np.array_equal(ours.annotations["depth"], theirs.annotations["depth"])
        assert np.array_equal(ours.image, again[20 + row].image)
    assert not np.array_equal(whole[0].image, whole[1].image)
    assert not np.array_equal(whole[0].image, READER.replace(split="test").open()[0].image)
    assert not np.array_equal(whole[0].image, READER.replace(seed=1).open()[0].image)
    with pytest.raises(IndexError):
        whole[40]


def test_depth_is_there_for_every_so_manieth_scene_and_said_to_be():
    table = READER.replace(depth_every=3, first=2).open()
    measured = ["depth" in table[row].annotations for row in range(40)]
    assert measured == table.annotated("depth").tolist()
    assert measured[:5] == [False, True, False, False, True]
    assert table.annotated("mask").all()
    assert not table.annotated("boxes").any()
    assert READER.annotates("depth")
    assert not READER.annotates("boxes")


def test_labels_are_known_without_drawing_and_both_occur():
    table = READER.open()
    assert table.labels().tolist() == [table[row].annotations["label"] for row in range(40)]
    assert set(table.labels().tolist()) == {0, 1}
    assert table.labels("label:sex") is None


def test_depth_is_in_range_and_unknown_in_the_sky():
    for row in range(40):
        scene = READER.open().scene(row)
        known = scene.depth > 0
        assert scene.depth.dtype == np.float32
        assert known.mean() > 0.3
        assert scene.depth[known].min() > 1
        assert scene.depth.max() < REACH
        assert not known[0, scene.mask[0] == 0].any()  # the sky is above


def test_the_ground_has_the_depth_of_a_plane():
    """On a plane, 1 / depth grows evenly from row to row: by one over (focal length in pixels times height)."""
    scene = READER.open().scene(0)
    inverse = np.where((scene.depth > 0) & (scene.mask == 0), 1 / np.maximum(scene.depth, 1e-3), np.nan)
    rows = np.nanmedian(inverse[-12:], axis=1)
    assert np.diff(rows) == pytest.approx(1 / (FOCAL * 64 * EYE), rel=0.01)


def test_balls_look_as_large_as_their_distance_says():
    """A disk of focal length in pixels times radius over distance; whole disks are found by their shape."""
    found = []
    for row in range(60):
        scene = DepthPhantom(samples=60).open().scene(row)
        parts, _ = label(scene.mask == BALL)
        for number, (rows, columns) in enumerate(find_objects(parts), start=1):
            part, depth = parts[rows, columns] == number, scene.depth[rows, columns]
            measured = depth[part & (depth > 0)]
            height, width = part.shape
            inside = rows.start and rows.stop < 64 and columns.start and columns.stop < 96
            disk = abs(height - width) <= 1 and 0.7 < part.mean() < 0.85 and width >= 9
            if inside and disk and np.ptp(measured) < BALL_RADIUS:
                found.append((width, 2 * FOCAL * 64 * BALL_RADIUS / (measured.min() + BALL_RADIUS)))
    widths, expected = np.array(found).T
    assert len(found) >= 10
    assert widths.max() / widths.min() > 2
    assert np.abs(widths - expected).max() < 1.5


def test_gray_scenes_have_one_channel():
    assert READER.replace(channels=1).open()[0].image.shape == (1, 64, 96)
