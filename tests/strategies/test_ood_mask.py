"""OODMask by hand: which rows go, what is left to divide by, and where gradients stop."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from ssmtl.strategies.base import Need
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.task import Confident
from ssmtl.views.geometry import STRONG, WEAK
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

LN3, LN9 = math.log(3), math.log(9)
DIAGNOSIS = Classification("diagnosis", classes=("normal", "pneumonia"))
LUNGS = Segmentation("lungs", classes=("lung",))
LABELED = Need()
STUDENT = Need(view=WEAK, rows="unlabeled", grad=False)
STRONG_NEED = Need(view=STRONG, rows="unlabeled")


def kept(mask, confidence):
    return mask.keep(torch.tensor(confidence)).tolist()


def test_the_least_confident_go():
    assert kept(OODMask(0.5), [0.9, 0.4, 0.6, 0.3]) == [True, False, True, False]


def test_of_equally_sure_rows_the_first_go():
    assert kept(OODMask(0.5), [0.5, 0.5, 0.5, 0.5]) == [False, False, True, True]
    assert kept(OODMask(0.25), [0.9, 0.5, 0.9, 0.5]) == [True, False, True, True]


def test_76_of_128_rows_go_at_6_tenths_and_one_more_in_the_authors_program():
    confidence = torch.rand(128, generator=torch.Generator().manual_seed(0))
    ours, theirs = OODMask(0.6).keep(confidence), OODMask(0.6, ref_strict=True).keep(confidence)
    assert (~ours).sum() == 76  # floor(76.8)
    assert (~theirs).sum() == 77
    assert not (theirs & ~ours).any()


def test_the_authors_program_drops_ties_too():
    assert kept(OODMask(0.25, ref_strict=True), [0.5, 0.5, 0.5, 0.9]) == [False, False, False, True]
    assert kept(OODMask(0.25), [0.5, 0.5, 0.5, 0.9]) == [False, True, True, True]


@pytest.mark.parametrize("strict", [False, True])
def test_nothing_all_and_no_rows(strict):
    assert kept(OODMask(0.0, ref_strict=strict), [0.2, 0.1]) == [True, True]
    assert kept(OODMask(1.0, ref_strict=strict), [0.2, 0.1]) == [False, False]
    assert kept(OODMask(0.6, ref_strict=strict), []) == []


@given(st.integers(0, 100), st.integers(0, 300))
@example(29, 100)  # 0.29 * 100 is 28.999...
def test_exactly_the_floor_goes_also_where_binary_fractions_are_a_hair_off(percent, n):
    dropped = n - int(OODMask(percent / 100).keep(torch.linspace(1, 0, n)).sum())
    assert dropped == math.floor(Fraction(percent, 100) * n)


@given(st.lists(st.floats(0, 1, width=32), max_size=20), st.floats(0, 1))
def test_no_dropped_row_is_surer_than_a_kept_one(confidence, gamma):
    values = torch.tensor(confidence, dtype=torch.float32)
    keep = OODMask(gamma).keep(values)
    if keep.any() and not keep.all():
        assert values[~keep].max() <= values[keep].min()


def test_the_mask_takes_no_gradient():
    confidence = torch.tensor([0.2, 0.7], requires_grad=True)
    assert not OODMask(0.5).keep(confidence).requires_grad


@pytest.fixture
def fixmatch(fake_step):
    """Return FixMatch's step on p(weak) = .9, .6, .75 and p(strong) = 1/4, 3/4, 1/4 of the second class."""

    def two(*logits):
        return torch.tensor([[0.0, value] for value in logits]).requires_grad_()

    weak, strong = two(LN9, math.log(1.5), LN3), two(-LN3, LN3, -LN3)
    return fake_step({LABELED: two(LN3), STUDENT: weak, STRONG_NEED: strong}, Labels(torch.tensor([1]), torch.ones(1)))


def test_fixmatch_divides_by_the_rows_that_are_kept(fixmatch, ratio):
    # .6 goes. ln 4 at .9 is confident, ln 4 at .75 isn't: of two rows left, one has a loss.
    terms = FixMatch(threshold=0.8, ood_mask=OODMask(0.5)).losses(DIAGNOSIS, fixmatch)
    assert terms["consistency"].count.tolist() == [1.0, 0.0, 1.0]
    assert ratio(terms["consistency"]) == pytest.approx(math.log(4) / 2)
    assert ratio(terms["supervised"]) == pytest.approx(math.log(4 / 3))
    ((rows, dropped),) = fixmatch.masks
    assert (rows, dropped.tolist()) == ("unlabeled", [False, True, False])


def test_gradients_stop_at_masked_rows(fixmatch):
    FixMatch(threshold=0.5, ood_mask=OODMask(0.5)).losses(DIAGNOSIS, fixmatch)["consistency"].total.sum().backward()
    strong = fixmatch.predictions[STRONG_NEED]
    torch.testing.assert_close(strong.grad, torch.tensor([[0.75, -0.75], [0.0, 0.0], [0.75, -0.75]]))


def test_with_everything_masked_the_term_is_zero(fixmatch):
    loss = FixMatch(ood_mask=OODMask(1.0)).losses(DIAGNOSIS, fixmatch)["consistency"]
    assert (loss.total.sum().item(), loss.count.sum().item()) == (0.0, 0.0)


def test_masks_of_pixels_are_dropped_image_by_image(fake_step):
    def image(*logits):
        return torch.tensor(logits).reshape(-1, 1, 1, 2).requires_grad_()

    weak, strong = image(LN9, LN9, 0.1, -0.1), image(LN3, LN3, LN3, LN3)
    step = fake_step(
        {LABELED: image(0.0, 0.0), STUDENT: weak, STRONG_NEED: strong},
        Labels(torch.zeros(1, 1, 2).long(), torch.ones(1, 1, 2)),
    )
    loss = FixMatch(threshold=0.7, ood_mask=OODMask(0.5)).losses(LUNGS, step)["consistency"]
    assert loss.count.tolist() == [2.0, 0.0]
    assert loss.total.tolist() == pytest.approx([2 * math.log(4 / 3), 0.0])


def test_a_mask_asks_the_task_how_sure_it_is():
    assert Confident in FixMatch(ood_mask=OODMask(0.5)).abilities()
    assert Confident not in FixMatch().abilities()


@pytest.mark.parametrize("gamma", [-0.1, 1.5, math.nan])
def test_shares_outside_0_and_1_are_refused(gamma):
    with pytest.raises(ValueError, match=r"gamma\n.*(greater|less) than or equal to"):
        OODMask(gamma)
