"""Training signal annealing by hand: the schedules, which rows still train, and the authors' slip."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.strategies.base import Need
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.supervised import Supervised
from ssmtl.strategies.tsa import TSA
from ssmtl.task import Mixable
from ssmtl.views.geometry import STRONG, WEAK
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.targets import Labels

LABELED = Need()
SCHEDULES = st.sampled_from(["linear", "exp", "log"])
ANIMAL = Classification("animal", classes=("bird", "cat", "deer"))


def logs(*rows):
    """Return logits whose softmax are these rows."""
    return torch.tensor(rows).log().requires_grad_()


@pytest.mark.parametrize(
    ("schedule", "start", "middle", "end"),
    [
        ("linear", 0.0, 0.5, 1.0),
        ("exp", math.exp(-5), math.exp(-2.5), 1.0),
        ("log", 0.0, 1 - math.exp(-2.5), 1 - math.exp(-5)),
    ],
)
def test_eta_rises_from_one_over_k_by_the_schedule(schedule, start, middle, end):
    for step, rise in ((0, start), (50, middle), (100, end)):
        assert TSA(schedule).threshold(step, 100, classes=10) == pytest.approx(0.1 + 0.9 * rise)


@given(SCHEDULES, st.integers(0, 99), st.integers(2, 100))
def test_eta_lies_between_one_over_k_and_1_and_never_falls(schedule, step, classes):
    tsa = TSA(schedule)
    now, later = tsa.threshold(step, 100, classes), tsa.threshold(step + 1, 100, classes)
    assert 1 / classes <= now <= later <= 1


def test_the_authors_length_leaves_s_at_477_thousandths_when_training_stops():
    assert TSA(steps=1_048_576).threshold(500_000, 500_000, classes=10) == pytest.approx(0.1 + 0.9 * 0.477, abs=2e-4)
    assert TSA().threshold(500_000, 500_000, classes=10) == 1.0
    assert TSA(steps=10).threshold(20, 500, classes=10) == 1.0


def test_a_label_stops_teaching_once_its_probability_exceeds_eta():
    scores, labels = logs((0.7, 0.2, 0.1), (0.5, 0.3, 0.2), (0.7, 0.2, 0.1)), torch.eye(3)[[0, 0, 1]]
    keep = TSA().keep(scores, labels, threshold=0.6)
    assert keep.tolist() == [False, True, True]
    assert not keep.requires_grad


def test_a_mixed_label_teaches_while_some_of_its_classes_is_below_its_share_of_eta():
    mixed = torch.tensor([[0.75, 0.25, 0.0]]).repeat(4, 1)
    # at eta = .8 the shares are .6 and .2
    scores = logs((0.65, 0.25, 0.1), (0.55, 0.25, 0.2), (0.65, 0.15, 0.2), (0.61, 0.38, 0.01))
    assert TSA().keep(scores, mixed, threshold=0.8).tolist() == [False, True, True, False]


def test_the_reference_multiplies_the_logits_and_so_masks_next_to_nothing():
    # A well-known label, p = .98. Its own logit is above 1 / eta, or else one of another class is positive.
    scores = torch.tensor([[5.0, 0.5, 0.5], [3.0, -1.0, -1.0], [0.5, -4.0, -4.0]])
    labels = torch.eye(3)[[0, 0, 0]]
    assert TSA().keep(scores, labels, threshold=0.6).tolist() == [False, False, False]
    # 0 < .6 * .5 for a class outside of the label; .98 < .6 * 3; and only .98 > .6 * .5 with no other logit above 0
    assert TSA(rule="reference").keep(scores, labels, threshold=0.6).tolist() == [True, True, False]
    usual = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0)) * 3
    easy = torch.eye(10)[usual.argmax(dim=1)]
    assert TSA(rule="reference").keep(usual, easy, threshold=0.1).float().mean() > 0.95
    assert TSA().keep(usual, easy, threshold=0.1).float().mean() < 0.01


def test_the_rule_is_one_of_probabilities_however_logits_are_shifted():
    scores, labels = torch.tensor([[2.0, 0.0, 0.0], [0.1, 0.0, 0.0]]), torch.eye(3)[[0, 0]]
    expected = [False, True]
    for shift in (-100.0, 0.0, 100.0):
        assert TSA().keep(scores + shift, labels, threshold=0.6).tolist() == expected


def annealed(fake_step, strategy, number, *probabilities):
    """Return the supervised loss of rows labeled 0 at a step of 100."""
    made = {need: logs((0.4, 0.3, 0.3), (0.3, 0.4, 0.3)) for need in strategy.needs()}
    made[LABELED] = logs(*probabilities)
    n = len(probabilities)
    step = fake_step(made, Labels(torch.zeros(n).long(), torch.ones(n)))
    step.number, step.steps = number, 100
    return strategy.losses(ANIMAL, step)["supervised"], step


@pytest.mark.parametrize("strategy", [Supervised(tsa=TSA()), FixMatch(tsa=TSA())])
def test_the_loss_is_a_mean_over_the_rows_that_still_train(fake_step, ratio, strategy):
    # eta(40 of 100) = 1/3 + 2/3 * .4 = .6
    loss, step = annealed(fake_step, strategy, 40, (0.7, 0.2, 0.1), (0.5, 0.3, 0.2), (0.2, 0.7, 0.1))
    assert loss.count.tolist() == [0.0, 1.0, 1.0]
    assert ratio(loss) == pytest.approx((math.log(2) + math.log(5)) / 2)
    assert step.logged["tsa_kept"] == pytest.approx(2 / 3)
    assert step.logged["tsa_threshold"] == pytest.approx(0.6)
    loss.total.sum().backward()
    # d CE / d logits = p - onehot, and nothing for the row that is known
    expected = torch.tensor([[0.0, 0.0, 0.0], [-0.5, 0.3, 0.2], [-0.8, 0.7, 0.1]])
    torch.testing.assert_close(step.predictions[LABELED].grad, expected)


def test_fixmatchs_other_term_is_left_alone(fake_step, ratio):
    needs = {Need(view=WEAK, rows="unlabeled", grad=False), Need(view=STRONG, rows="unlabeled")}
    made = {LABELED: logs((0.9, 0.05, 0.05)), **{need: logs((0.6, 0.3, 0.1)) for need in needs}}
    step = fake_step(made, Labels(torch.tensor([0]), torch.ones(1)))
    terms = FixMatch(threshold=0.5, tsa=TSA()).losses(ANIMAL, step)
    assert terms["supervised"].count.tolist() == [0.0]
    assert ratio(terms["consistency"]) == pytest.approx(-math.log(0.6))


def test_no_labeled_rows_give_an_empty_loss(fake_step):
    strategy = Supervised(tsa=TSA())
    step = fake_step({LABELED: torch.zeros(0, 3)}, Labels(torch.zeros(0).long(), torch.ones(0)))
    loss = strategy.losses(ANIMAL, step)["supervised"]
    assert loss.total.shape == loss.count.shape == (0,)


def test_annealing_asks_the_task_for_one_distribution_per_row():
    assert Mixable in Supervised(tsa=TSA()).abilities()
    assert Mixable not in Supervised().abilities()


@pytest.mark.parametrize("fields", [{"schedule": "cosine"}, {"rule": "logits"}, {"steps": 0}])
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValueError, match=f"TSA\n{next(iter(fields))}"):
        TSA(**fields)
