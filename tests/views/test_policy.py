"""Policies and draws: what may be drawn, how often, and that a row's draw is its own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ssmtl.component import Component, plugins
from ssmtl.views.ops import GEOMETRIC, OPS, PHOTOMETRIC
from ssmtl.views.policy import Policy
from ssmtl.views.presets import identity, multimix_strong, multimix_weak

SIZE = (256, 192)
MANY = np.arange(6000)


def by_row(draw):
    """Return what each row drew, in a form that compares: its matrices, and (op, value) of its stages in order."""
    stages = [[] for _ in range(len(draw))]
    for stage in draw.stages:
        for row, value in zip(stage.rows.tolist(), stage.values.tolist(), strict=True):
            stages[row].append((stage.op.name, value))
    return list(zip(draw.geometry.matrix.tolist(), draw.framed.tolist(), stages, strict=True))


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
    policy = multimix_strong().replace(pool=("Brightness", "Posterize", "Solarize", "Sharpness"), always=())
    draw = policy.sample(11, MANY, SIZE)
    counts = dict.fromkeys(policy.pool, 0)
    levels = []
    for stage in draw.stages:
        counts[stage.op.name] += len(stage.rows)
        if stage.op.name == "Brightness":
            levels += ((stage.values - 0.05) / 0.09).round().tolist()
    assert sum(counts.values()) / (2 * len(MANY)) == pytest.approx(0.5, abs=0.02)
    assert min(counts.values()) / max(counts.values()) > 0.9
    assert sorted(set(levels)) == list(range(1, 10))
    assert np.bincount(np.array(levels, dtype=int))[1:].std() < 30


def test_signs_are_even_and_levels_limit_the_angle():
    policy = Policy(pool=("Rotate",), num_ops=1, probability=1.0)
    matrix = policy.sample(5, MANY, SIZE).geometry.matrix
    angles = torch.rad2deg(torch.atan2(matrix[:, 0, 1], matrix[:, 0, 0])).round()
    assert set(angles.abs().tolist()) == {3.0 * v for v in range(1, 10)}
    assert (angles > 0).double().mean() == pytest.approx(0.5, abs=0.03)


def test_draws_with_replacement_keep_the_drawn_order():
    policy = Policy(pool=("Posterize", "Solarize"), num_ops=2, probability=1.0)
    chains = {tuple(name for name, _ in stages) for _, _, stages in by_row(policy.sample(0, np.arange(60), SIZE))}
    assert chains == {(a, b) for a in policy.pool for b in policy.pool}


def test_warps_compose_in_the_drawn_order_after_the_frame():
    policy = multimix_strong().replace(pool=("TranslateX",), num_ops=2, probability=1.0, levels=(5, 5))
    draw = policy.sample(9, np.arange(200), (100, 100))
    moved = draw.geometry.matrix @ torch.linalg.inv(draw.framed)
    assert set(moved[:, 0, 2].round().tolist()) == {-30.0, 0.0, 30.0}
    assert torch.allclose(moved[:, :2, :2], torch.eye(2, dtype=torch.float64))
    assert (draw.framed[:, 0, 0] == -1).any()


def test_multimix_strong_is_the_published_pool():
    """15 transforms (Haque et al. 2021): flip, crop, and the 13 that can be drawn."""
    policy = multimix_strong()
    assert len(policy.transforms()) == 15
    assert set(policy.transforms()) == set(PHOTOMETRIC) | set(GEOMETRIC) == set(OPS)
    assert (policy.num_ops, policy.probability, policy.levels, policy.pad) == (2, 0.5, (1, 9), 0.125)
    assert multimix_weak().transforms() == ("HorizontalFlip", "ReflectCrop")


def test_policies_survive_json_and_resolve():
    policy = multimix_strong(pad=0.25)
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert isinstance(policy, Component)
    assert list(plugins(policy)) == ["policies/Policy"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pool": ("Solarise",), "num_ops": 1}, "no transform 'Solarise'; did you mean 'Solarize'"),
        ({"always": ("HorizontalFlop",)}, "did you mean 'HorizontalFlip'"),
        ({"always": ("Rotate",)}, "Rotate: 'always' takes framing ops .* put it into the pool"),
        ({"pool": ("ReflectCrop",), "num_ops": 1}, "ReflectCrop: the pool takes .* put it into 'always'"),
        ({"always": ("ReflectCrop", "ReflectCrop")}, "ReflectCrop is listed twice"),
        ({"num_ops": 2}, "num_ops=2 with a pool of 0 ops"),
        ({"pool": ("Rotate",)}, "num_ops=0 with a pool of 1 ops"),
        ({"levels": (9, 1)}, "give the smaller level first"),
        ({"pad": 0.7}, "less than or equal to 0.5"),
        ({"prob": 0.7}, "Policy has no field 'prob'; did you mean"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Policy(**fields)
