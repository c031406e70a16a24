"""Policies and draws in words."""

import numpy as np
import pytest

from ssmtl.component import kinds, resolve
from ssmtl.report.view_words import amount, constructor, draw_words, policy_words
from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import RandomResizedCrop, ReflectCrop, ScaleCrop
from ssmtl.views.kornia_warp import Kornia
from ssmtl.views.levels import Posterize, Solarize
from ssmtl.views.policy import Policy
from ssmtl.views.warps import HorizontalFlip, Perspective, Rot90, Rotate, ShearX, TranslateX

ROW = np.zeros(1, np.int64)


@pytest.mark.parametrize(
    ("op", "values", "words"),
    [
        (HorizontalFlip(), [], "HorizontalFlip"),
        (Rotate(), [-21.4], "Rotate -21°"),
        (Rot90(), [3.0], "Rot90 +270°"),
        (Solarize(), [103.0], "Solarize 103"),
        (Posterize(), [5.0], "Posterize 5 bits"),
        (TranslateX(), [-0.12], "TranslateX -12 %"),
        (ShearX(), [0.2], "ShearX +0.20"),
        (resolve("transforms", "Brightness")(), [1.3], "Brightness 1.30x"),
        (resolve("transforms", "Hue")(), [-0.05], "Hue -0.05 turns"),
        (resolve("transforms", "GaussianNoise")(), [0.03, 0.7], "GaussianNoise 0.03"),
        (Perspective(), [1.0, 2.0, 3.0, 9.6, 0.0, 0.0, 1.0, 1.0], "Perspective up to 10 px"),
        (ReflectCrop(), [5.0, -3.0], "ReflectCrop by (+5, -3) px"),
        (ScaleCrop(), [1.31, 12.0, -30.0], "ScaleCrop 1.31x at (12, -30) px"),
        (RandomResizedCrop(), [3.0, 4.0, 90.0, 80.0], "RandomResizedCrop of 90 x 80 at (3, 4) px"),
        (Cutout(), [3.0, 4.0, 20.0, 20.0], "Cutout of 20 x 20 px"),
        (Kornia("RandomAffine", degrees=10), [0.1], "RandomAffine"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_was_drawn(op, values, words):
    assert amount(op, values) == words


@pytest.mark.parametrize("kind", [kind for kind in kinds("transforms") if kind != "Kornia"])
def test_every_transform_has_words_of_its_own_draw(kind):
    op = resolve("transforms", kind)(p=1.0)
    draw = Policy(always=(op,)).sample(7, ROW, (20, 30))
    (applied,) = draw.record
    assert applied.op == op
    assert applied.rows.tolist() == [0]
    assert draw_words(draw, 0) == amount(op, applied.values[0].tolist())
    assert draw_words(draw, 0).startswith(kind)
    assert "nan" not in draw_words(draw, 0)


def test_rows_have_their_own_words():
    rows = np.arange(64)
    policy = Policy(always=("HorizontalFlip",), pool=(Rotate(10, 10), "Invert"), num_ops=1)
    draw = policy.sample(3, rows, (8, 8))
    flipped = draw.geometry.matrix[:, :2, :2].det() < 0
    found = [draw_words(draw, row) for row in range(64)]
    assert [words.startswith("HorizontalFlip, ") for words in found] == flipped.tolist()
    assert {words.removeprefix("HorizontalFlip, ") for words in found} == {"Rotate +10°", "Rotate -10°", "Invert"}
    assert draw_words(Policy().sample(3, rows, (8, 8)), 5) == "nothing"


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (HorizontalFlip(), "HorizontalFlip(p=0.5)"),
        (HorizontalFlip(p=1), "HorizontalFlip"),
        (Rotate(), "Rotate(0, 30)"),
        (Solarize(26, 256, p=0.5), "Solarize(26, 256, p=0.5)"),
        (ScaleCrop((8, 9), scale=(0.5, 2)), "ScaleCrop(size=(8, 9), scale=(0.5, 2.0))"),
        (Cutout(), "Cutout"),
        (Kornia("RandomAffine", degrees=10, p=0.5), "RandomAffine(degrees=10, p=0.5)"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_may_be_drawn(op, words):
    assert constructor(op) == words


def test_policies():
    pool = ("Invert", Rotate(0, 20))
    assert policy_words(Policy()) == "nothing"
    assert policy_words(Policy(pool=pool, num_ops=1)) == (
        "1 of 2 ops for each image, anywhere in their ranges: Invert, Rotate(0, 20)"
    )
    policy = Policy(
        always=("Cutout",), pool=pool, num_ops=2, scope="batch", distinct=True, probability=0.5, levels=(1, 9)
    )
    assert policy_words(policy) == (
        "Cutout; and 2 of 2 ops the same for the whole batch, never twice the same, each with probability 0.5, "
        "at levels 1 to 9 of 10: Invert, Rotate(0, 20)"
    )
