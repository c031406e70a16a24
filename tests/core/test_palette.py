"""Colors of classes: one per name, and told apart by everybody."""

from itertools import combinations

import numpy as np
import pytest
from skimage.color import rgb2lab

from ssmtl.palette import IGNORED, PALETTE, class_colors

WITHOUT_GREEN_CONES = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
WITHOUT_RED_CONES = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
"""Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB."""


def closest(colors, cones):
    """Return the smallest distance between two of these colors in CIELAB, as seen with some cones (None: all)."""
    levels = np.array(colors) / 255
    if cones is not None:
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        seen = (linear @ np.array(cones).T).clip(0, 1)
        levels = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(levels[None])[0]
    return min(np.linalg.norm(one - other) for one, other in combinations(lab, 2))


def test_classes_of_one_name_share_a_color_and_background_has_none():
    colors = class_colors(["background", "road", "Car", "bus", "car", "road"])
    assert list(colors) == ["road", "Car", "bus", "car"]
    assert colors["Car"] == colors["car"]
    assert len(set(colors.values())) == 3


def test_colors_come_again_only_after_all_of_them():
    colors = list(class_colors(f"class {i}" for i in range(45)).values())
    assert colors[:20] == list(PALETTE)
    assert colors[20:40] == colors[:20]


@pytest.mark.parametrize(("cones", "least"), [(None, 26), (WITHOUT_GREEN_CONES, 15), (WITHOUT_RED_CONES, 15)])
def test_twenty_colors_are_told_apart_by_everybody(cones, least):
    assert len(set(PALETTE)) == 20
    assert closest(PALETTE, cones) > least  # 2.3 is just noticeable


def test_no_color_is_gray():
    assert all(max(color) - min(color) >= 40 for color in PALETTE)
    assert len(set(IGNORED)) == 1
