"""Policies and draws: what may be drawn, how often, and that a row's draw is its own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ssmtl.component import Component, plugins
from ssmtl.views.erasing import Cutout
from ssmtl.views.framing import ReflectCrop
from ssmtl.views.levels import Brightness, Invert, Posterize
from ssmtl.views.policy import Policy
from ssmtl.views.presets import (
    POOL_DENSE,
    POOL_MULTIMIX,
    dense_strong,
    dense_weak,
    fixmatch_strong,
    identity,
    multimix_strong,
    multimix_weak,
)
from ssmtl.views.transform import Graded, Photometric
from ssmtl.views.warps import HorizontalFlip, Rotate, TranslateX

SIZE = (256, 192)
MANY = np.arange(6000)
NAMES = ("Posterize", "Solarize")


def by_row(draw):
    """Return what each row drew, in a form that compares: its matrices, and (op, value) of its stages in order."""
    stages = [[] for _ in range(len(draw))]
    for stage in draw.stages:
        for row, value in zip(stage.rows.tolist(), stage.values.tolist(), strict=True):
            stages[row].append((stage.op.kind, value))
    return list(
        zip(
            draw.geometry.matrix.tolist(),
            (draw.framed if draw.framed is not None else draw.geometry.matrix).tolist(),
            stages,
            strict=True,
        )
    )


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 10**9), max_size=12, unique=True), key=st.integers(0, 2**64 - 1))
def test_a_row_draws_the_same_alone_and_in_any_company(rows, key):
    policy = multimix_strong()
    together = by_row(policy.sample(key, np.array(rows, dtype=np.int64), SIZE))
    for row, drawn in zip(rows, together, strict=True):
        assert by_row(policy.sample(key, np.array([row]), SIZE)) == [drawn]


def test_keys_differ_and_repeat():
    policy, rows = multimix_strong(), np.arange(50)
    assert by_row(policy.sample(1, rows, SIZE)) == by_row(policy.sample(1, rows, SIZE))
    assert by_row(policy.sample(1, rows, SIZE)) != by_row(policy.sample(2, rows, SIZE))


def test_identity_draws_nothing():
    draw = identity().sample(7, np.arange(5), SIZE)
    assert draw.geometry.is_identity.all()
    assert draw.stages == ()
    assert identity().transforms() == ()


def test_no_rows():
    draw = multimix_strong().sample(7, np.arange(0), SIZE)
    assert len(draw) == 0
    assert draw.geometry.matrix.shape == (0, 3, 3)
    assert draw.stages == ()


def test_weak_flips_half_and_shifts_up_to_an_eighth():
    matrix = multimix_weak().sample(3, MANY, SIZE).geometry.matrix
    flipped = matrix[:, 0, 0] == -1
    x = torch.where(flipped, matrix[:, 0, 2] - 191, matrix[:, 0, 2])
    assert flipped.double().mean() == pytest.approx(0.5, abs=0.03)
    assert (x.min(), x.max()) == (-24, 24)
    assert (matrix[:, 1, 2].min(), matrix[:, 1, 2].max()) == (-32, 32)
    assert torch.corrcoef(torch.stack([x, matrix[:, 1, 2], flipped.double()])).triu(1).abs().max() < 0.05


def test_authors_strong_crop_is_a_preset_away():
    matrix = multimix_strong(pad=1 / 64).replace(pool=(), num_ops=0).sample(3, MANY, (256, 256)).geometry.matrix
    assert matrix[:, 1, 2].abs().max() == 4


def test_every_op_of_the_pool_comes_equally_often_at_every_level():
    pool = [op for op in POOL_MULTIMIX if op.kind in ("Brightness", "Posterize", "Solarize", "Sharpness")]
    policy = multimix_strong().replace(pool=tuple(pool), always=())
    draw = policy.sample(11, MANY, SIZE)
    counts = dict.fromkeys((op.kind for op in policy.pool), 0)
    levels = []
    for stage in draw.stages:
        counts[stage.op.kind] += len(stage.rows)
        if stage.op.kind == "Brightness":
            levels += ((stage.values[:, 0] - 0.05) / 0.09).round().tolist()
    assert sum(counts.values()) / (2 * len(MANY)) == pytest.approx(0.5, abs=0.02)
    assert min(counts.values()) / max(counts.values()) > 0.9
    assert sorted(set(levels)) == list(range(1, 10))
    assert np.bincount(np.array(levels, dtype=int))[1:].std() < 30


def test_signs_are_even_and_levels_limit_the_angle():
    policy = Policy(pool=("Rotate",), num_ops=1, levels=(1, 9))
    matrix = policy.sample(5, MANY, SIZE).geometry.matrix
    angles = torch.rad2deg(torch.atan2(matrix[:, 0, 1], matrix[:, 0, 0])).round()
    assert set(angles.abs().tolist()) == {3.0 * v for v in range(1, 10)}
    assert (angles > 0).double().mean() == pytest.approx(0.5, abs=0.03)


def test_draws_with_replacement_keep_the_drawn_order():
    policy = Policy(pool=NAMES, num_ops=2)
    chains = {tuple(name for name, _ in stages) for _, _, stages in by_row(policy.sample(0, np.arange(60), SIZE))}
    assert chains == {(a, b) for a in NAMES for b in NAMES}


def test_warps_compose_in_the_drawn_order_after_the_frame():
    policy = multimix_strong().replace(pool=(TranslateX(0, 0.6),), num_ops=2, probability=1.0, levels=(5, 5))
    draw = policy.sample(9, np.arange(200), (100, 100))
    moved = draw.geometry.matrix @ torch.linalg.inv(draw.framed)
    assert set(moved[:, 0, 2].round().tolist()) == {-60.0, 0.0, 60.0}
    assert torch.allclose(moved[:, :2, :2], torch.eye(2, dtype=torch.float64))
    assert (draw.framed[:, 0, 0] == -1).any()


def test_multimix_strong_is_the_published_pool():
    """15 transforms (Haque et al. 2021): flip, crop, and the 13 that can be drawn."""
    policy = multimix_strong()
    assert sorted(op.kind for op in policy.transforms()) == [
        "AutoContrast", "Brightness", "Contrast", "Equalize", "HorizontalFlip", "Identity", "Posterize", "ReflectCrop",
        "Rotate", "Sharpness", "ShearX", "ShearY", "Solarize", "TranslateX", "TranslateY",
    ]  # fmt: skip
    assert (policy.num_ops, policy.probability, policy.levels) == (2, 0.5, (1, 9))
    assert multimix_weak() == Policy(always=("HorizontalFlip", "ReflectCrop"))
    assert multimix_weak(0.25).always[1].pad == 0.25


def test_a_batch_draws_its_ops_together_and_their_strengths_apart():
    policy = dense_strong().replace(always=(), pool=POOL_DENSE)
    for key in range(40):
        draw = policy.sample(key, np.arange(6), SIZE)
        for stage in draw.stages:
            assert stage.rows.tolist() == list(range(6))
        moves = draw.geometry.matrix.flatten(1).unique(dim=0)
        assert len(moves) == 1 or len(moves) >= 4  # shifts of whole pixels may be equal
    kinds = {tuple(s.op.kind for s in policy.sample(key, np.arange(2), SIZE).stages) for key in range(400)}
    assert all(len(set(pair)) == len(pair) for pair in kinds)
    assert {kind for pair in kinds for kind in pair} == {op.kind for op in POOL_DENSE if isinstance(op, Photometric)}


def test_distinct_ops_are_never_twice_in_an_image():
    policy = Policy(pool=("Posterize", "Solarize", "Invert"), num_ops=2, distinct=True)
    chains = [tuple(name for name, *_ in stages) for _, _, stages in by_row(policy.sample(3, MANY, SIZE))]
    counts = {chain: chains.count(chain) for chain in set(chains)}
    assert all(a != b for a, b in counts)
    assert len(counts) == 6
    assert min(counts.values()) > 0.8 * len(MANY) / 6


@pytest.mark.parametrize("scope", ["sample", "batch"])
@pytest.mark.parametrize("distinct", [False, True])
def test_draws_do_not_depend_on_how_rows_are_dealt_out(scope, distinct):
    """N processes draw what one draws, bit by bit."""
    policy = multimix_strong().replace(scope=scope, distinct=distinct)
    rows = np.arange(40)
    whole = by_row(policy.sample(5, rows, SIZE, shared=7))
    for rank in range(3):
        assert by_row(policy.sample(5, rows[rank::3], SIZE, shared=7)) == whole[rank::3]


def test_magnitudes_are_anywhere_or_at_one_level():
    anywhere = Policy(pool=(Brightness(0.1, 1.9),), num_ops=1).sample(0, MANY, SIZE).stages[0].values
    assert (anywhere.min(), anywhere.max()) == (pytest.approx(0.1, abs=0.01), pytest.approx(1.9, abs=0.01))
    assert anywhere.mean() == pytest.approx(1.0, abs=0.02)
    fixed = Policy(pool=(Brightness(0.1, 1.9),), num_ops=1, levels=(5, 5)).sample(0, MANY, SIZE).stages[0].values
    assert fixed.unique().tolist() == pytest.approx([1.0])


def test_probabilities_of_policy_and_op_multiply():
    half = Policy(pool=(Invert(p=0.5),), num_ops=1, probability=0.5).sample(0, MANY, SIZE)
    assert len(half.stages[0].rows) / len(MANY) == pytest.approx(0.25, abs=0.02)
    always = Policy(always=(Invert(p=0.3),)).sample(0, MANY, SIZE)
    assert len(always.stages[0].rows) / len(MANY) == pytest.approx(0.3, abs=0.02)


def test_two_ops_of_one_kind_draw_numbers_of_their_own():
    policy = Policy(always=(Cutout((0.04, 0.04)), Cutout((0.05, 0.05))))
    one, other = (cut.rectangles[:, 0].double() for cut in policy.sample(0, MANY, (256, 256)).cuts)
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.05
    first = Policy(always=policy.always[:1]).sample(0, MANY, (256, 256)).cuts[0].rectangles
    assert torch.equal(first, policy.sample(0, MANY, (256, 256)).cuts[0].rectangles)


def test_fixmatch_is_14_ops_and_a_gray_square_of_half_the_side():
    policy = fixmatch_strong()
    assert len(policy.pool) == 14
    draw = policy.sample(0, np.arange(500), (32, 32))
    (cut,) = draw.cuts
    sides = cut.rectangles[:, 2:] - cut.rectangles[:, :2]
    assert sides.max() == 16
    assert sides.min() == 8
    assert cut.op.fill == pytest.approx(127 / 255)
    assert [op.kind for op in fixmatch_strong(flip=False).always] == ["ReflectCrop", "Cutout"]


def test_dense_presets_are_table_10():
    """Partially labeled data, Table 10: solarize .1-1, posterize 1-8, factors .1-1.9, shear 17 degrees, shift 15 %."""
    ranges = {op.kind: (op.low, op.high) for op in POOL_DENSE if isinstance(op, Graded)}
    for name in ("Saturation", "Contrast", "Brightness", "Sharpness"):
        assert ranges[name] == (0.1, 1.9)
    assert ranges["Solarize"] == (26, 256)
    assert ranges["Posterize"] == (1, 8)
    assert np.degrees(np.arctan(ranges["ShearX"][1])) == pytest.approx(17, abs=0.5)
    assert ranges["TranslateX"] == ranges["TranslateY"] == (0, 0.15)
    assert ranges["Rotate"] == (0, 30)
    strong = dense_strong((800, 800))
    assert (strong.num_ops, strong.scope, strong.distinct, strong.derive) == (2, "batch", True, True)
    assert strong.view_size((1024, 2048)) == (800, 800)
    assert strong.always[2] == Cutout((0.1, 0.3), on_target="ignore")


def test_policies_survive_json_and_resolve():
    for policy in (multimix_strong(pad=0.25), fixmatch_strong(), dense_weak((64, 48)), dense_strong()):
        assert Policy.model_validate_json(policy.model_dump_json()) == policy
        assert isinstance(policy, Component)
    assert list(plugins(multimix_weak())) == [
        "policies/Policy", "transforms/HorizontalFlip", "transforms/ReflectCrop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pool": ("Solarise",), "num_ops": 1}, "no installed package offers 'Solarise' .* did you mean 'Solarize'"),
        ({"always": ("HorizontalFlop",)}, "did you mean 'HorizontalFlip'"),
        ({"pool": ("ReflectCrop",), "num_ops": 1}, "ReflectCrop happens once a view.* put it into 'always'"),
        ({"pool": ("Cutout",), "num_ops": 1}, "Cutout happens once a view.* put it into 'always'"),
        ({"pool": (HorizontalFlip(follow="same"),), "num_ops": 1}, "HorizontalFlip in the pool .* set follow='any'"),
        ({"always": ("ReflectCrop", "ReflectCrop")}, "ReflectCrop is listed twice"),
        ({"num_ops": 2}, "num_ops=2 with a pool of 0 ops"),
        ({"pool": ("Rotate",)}, "num_ops=0 with a pool of 1 ops"),
        ({"pool": ("Rotate",), "num_ops": 2, "distinct": True}, "2 distinct ops from a pool of 1: choose fewer"),
        ({"levels": (9, 1)}, "give the smaller level first"),
        (
            {"always": ("HorizontalFlip", "ScaleCrop")},
            "ScaleCrop looks for the image in its canvas' corner; put it before HorizontalFlip",
        ),
        ({"always": ("Cutout", "ScaleCrop")}, "Cutout blanks the finished view; put it after ScaleCrop"),
        ({"prob": 0.7}, "Policy has no field 'prob'; did you mean"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Policy(**fields)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rotate(30, 10), r"low=30 is above high=10: give the smaller degrees first"),
        (lambda: Rotate(-30, 30), r"\(-30, 30\) leaves the range of Rotate, 0 to 180"),
        (lambda: Posterize(0, 8), r"leaves the range of Posterize, 1 to 8 \(bits kept\)"),
        (lambda: ReflectCrop(pad=0.7), "less than or equal to 0.5"),
        (lambda: HorizontalFlip(follow="overlapping"), "'overlapping' takes ScaleCrop"),
    ],
)
def test_wrong_ranges_are_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()
