"""FixMatch against numbers computed by hand. logit(3/4) = ln 3, logit(9/10) = ln 9."""

import math

import pytest
import torch

from ssmtl.strategies.base import Need
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.views.geometry import STRONG, WEAK
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

LN3, LN9 = math.log(3), math.log(9)
DIAGNOSIS = Classification("diagnosis", classes=("normal", "pneumonia"))
LUNGS = Segmentation("lungs", classes=("lung",))
LABELED = Need()
STUDENT = Need(view=WEAK, rows="unlabeled", grad=False)
TEACHER = Need(model="teacher", view=WEAK, rows="unlabeled", grad=False, bn="eval")
STRONG_NEED = Need(view=STRONG, rows="unlabeled")


def two(*logits: float) -> torch.Tensor:
    """Return logits of two classes whose second has these log odds."""
    return torch.tensor([[0.0, value] for value in logits]).requires_grad_()


def image(*logits: float) -> torch.Tensor:
    return torch.tensor(logits).reshape(1, 1, 1, -1).requires_grad_()


def test_needs_name_who_makes_pseudo_labels_and_on_which_rows():
    assert FixMatch().needs() == {LABELED, STUDENT, STRONG_NEED}
    assert FixMatch(pseudo_labels_from="teacher").needs() == {LABELED, TEACHER, STRONG_NEED}
    assert {need.rows for need in FixMatch(lu_on="all").needs()} == {"labeled", "all"}


def test_melba_eq1_and_fixmatch_eq4(fake_step, ratio):
    # labeled: p(1) = 3/4, label 1: ln(4/3). Weak: p = (.1, .9) is kept at t = .7, p = (.4, .6) isn't.
    # Strong: p(1) = 1/4 costs ln 4; mean over both rows: ln(4) / 2.
    weak, strong = two(LN9, math.log(1.5)), two(-LN3, 5.0)
    step = fake_step({LABELED: two(LN3), STUDENT: weak, STRONG_NEED: strong}, Labels(torch.tensor([1]), torch.ones(1)))
    terms = FixMatch(threshold=0.7).losses(DIAGNOSIS, step)
    assert ratio(terms["supervised"]) == pytest.approx(math.log(4 / 3))
    assert ratio(terms["consistency"]) == pytest.approx(math.log(4) / 2)
    histogram = {f"confidence_to_{percent}": 0.0 for percent in (20, 40, 60, 80, 90, 95, 99, 100)}
    histogram |= {"confidence_to_60": 1 / 2, "confidence_to_90": 1 / 2}
    assert step.logged == pytest.approx({"coverage": 1 / 2, "confidence": (0.9 + 0.6) / 2, **histogram})


def test_no_gradient_reaches_the_weak_side_or_unconfident_rows(fake_step):
    weak, strong = two(LN9, 0.1), two(-LN3, 5.0)
    step = fake_step(
        {LABELED: two(), STUDENT: weak, STRONG_NEED: strong}, Labels(torch.tensor([]).long(), torch.ones(0))
    )
    step.predictions[LABELED] = torch.zeros(0, 2, requires_grad=True)
    FixMatch(threshold=0.7).losses(DIAGNOSIS, step)["consistency"].total.sum().backward()
    assert weak.grad is None
    # d CE / d logit = p - onehot = (3/4, 1/4 - 1)
    torch.testing.assert_close(strong.grad, torch.tensor([[0.75, -0.75], [0.0, 0.0]]))


def test_the_threshold_itself_is_confident(fake_step, ratio):
    step = fake_step(
        {LABELED: two(0.0), STUDENT: two(0.0), STRONG_NEED: two(LN3)}, Labels(torch.tensor([0]), torch.ones(1))
    )
    terms = FixMatch(threshold=0.5).losses(DIAGNOSIS, step)
    assert ratio(terms["consistency"]) == pytest.approx(math.log(4))  # both classes at 1/2: the first, p = 1/4 there


def test_teacher_makes_the_pseudo_labels_when_asked(fake_step, ratio):
    step = fake_step(
        {LABELED: two(0.0), TEACHER: two(LN9), STRONG_NEED: two(LN3)}, Labels(torch.tensor([0]), torch.ones(1))
    )
    terms = FixMatch(threshold=0.9 - 1e-6, pseudo_labels_from="teacher").losses(DIAGNOSIS, step)
    assert ratio(terms["consistency"]) == pytest.approx(math.log(4 / 3))


def test_masks_are_moved_into_the_strong_view_and_divided_by_valid_pixels(fake_step, ratio):
    # weak p = .9 .6 .1 .25 with labels 1 1 0 0, kept at t = .7: yes no yes yes. Shifted right by one pixel:
    # outside, 1 kept, 1 dropped, 0 kept. Strong p = 3/4: ln(4/3), 0, ln 4 over 3 valid pixels.
    shift = torch.eye(3, dtype=torch.float64)[None].clone()
    shift[:, 0, 2] = 1
    weak = image(LN9, math.log(1.5), -LN9, -LN3)
    step = fake_step(
        {LABELED: image(0.0, 0.0, 0.0, 0.0), STUDENT: weak, STRONG_NEED: image(LN3, LN3, LN3, LN3)},
        Labels(torch.zeros(1, 1, 4).long(), torch.ones(1, 1, 4)),
        shift,
    )
    terms = FixMatch(threshold=0.7).losses(LUNGS, step)
    assert step.moves == [("weak", "strong", "unlabeled")]
    assert terms["consistency"].count.tolist() == [3.0]
    assert ratio(terms["consistency"]) == pytest.approx((math.log(4 / 3) + math.log(4)) / 3)
    assert step.logged["coverage"] == pytest.approx(2 / 3)
    # the geometric mean of max(p, 1 - p) over the weak pixels
    assert step.logged["confidence"] == pytest.approx((0.9 * 0.6 * 0.9 * 0.75) ** 0.25)
