"""The strong view's crop and the weak view's: the same, overlapping, or any."""

import numpy as np
import pytest
import torch
from warping import images_of

from ssmtl.keyed import key
from ssmtl.views.framing import RandomResizedCrop, ReflectCrop, ScaleCrop
from ssmtl.views.policy import Policy
from ssmtl.views.render import render
from ssmtl.views.warps import HorizontalFlip, Perspective, Rotate

ROWS = np.arange(400)
CROP = ScaleCrop((20, 30), scale=(0.5, 2.0))


def both_views(follow, op=CROP):
    """The matrices of a weak view and of a strong one that follows it, drawn with keys of their own."""
    views = (key("weak"), op.replace(follow="same")), (key("strong"), op.replace(follow=follow))
    return [
        Policy(always=(one,)).sample(own, ROWS, (40, 60), shared=key("shared")).geometry.matrix for own, one in views
    ]


@pytest.mark.parametrize("op", [CROP, RandomResizedCrop(), ReflectCrop(), HorizontalFlip(), Rotate(), Perspective()])
def test_the_same_is_the_very_same_and_any_is_another(op):
    weak, strong = both_views("same", op)
    assert torch.equal(weak, strong)
    weak, strong = both_views("any", op)
    different = (weak != strong).flatten(1).any(1).double().mean()
    assert 0.4 < different < 0.6 if isinstance(op, HorizontalFlip) else different > 0.98


def test_scales_of_any_crops_have_nothing_in_common():
    weak, strong = both_views("any")
    assert abs(np.corrcoef(weak[:, 0, 0], strong[:, 0, 0])[0, 1]) < 0.15


def test_overlapping_crops_share_the_scale_and_at_least_half_of_each_side():
    weak, strong = both_views("overlapping")
    assert torch.equal(weak[:, :2, :2], strong[:, :2, :2])
    moves = (weak - strong)[:, :2, 2]
    assert (moves - moves.round()).abs().max() < 1e-9
    assert (moves.abs() <= torch.tensor([15, 10])).all()
    assert (moves.amax(0) >= torch.tensor([14, 9])).all()
    assert (moves.amin(0) <= torch.tensor([-14, -9])).all()
    assert (moves.mean(0).abs() < torch.tensor([1.5, 1.0])).all()
    assert (moves.std(0, correction=0) / torch.tensor([30, 20]) - 12**-0.5).abs().max() < 0.03


def test_an_overlapping_crop_may_leave_the_image_onto_black():
    images = images_of(60, 1, (40, 60))
    policy = Policy(always=(ScaleCrop((40, 60), follow="overlapping"),))
    view = render(images, policy.sample(0, ROWS[:60], (40, 60)))
    assert view.valid.flatten(1).double().mean(1).min() >= 0.25
    assert 0.4 < view.valid.double().mean() < 0.7  # 9 / 16 on average
    assert torch.equal(view.image[:, 0] > 0, view.valid)


def test_what_both_views_share_is_no_matter_of_their_other_ops():
    bare = Policy(always=(CROP,)).sample(1, ROWS, (40, 60), shared=7)
    late = Policy(always=("Invert", CROP, ReflectCrop(pad=0)), pool=("Invert",), num_ops=1)
    late = late.sample(2, ROWS, (40, 60), shared=7)
    assert torch.equal(bare.geometry.matrix, late.geometry.matrix)
    other = Policy(always=(CROP,)).sample(1, ROWS, (40, 60), shared=8)
    assert (bare.geometry.matrix != other.geometry.matrix).flatten(1).any(1).double().mean() > 0.99
