"""MixMatch against numbers computed by hand: one labeled and one unlabeled image, three classes.

The labeled image is x = (1, 0, 0), the two views of the other are u_1 = (0, 1, 0) and u_2 = (0, 0, 1), and the network
multiplies pixels by ln 16. With partners 1, 2, 0 and shares 3/4, 1/2, 3/4 it predicts

    3/4 x + 1/4 u_1: (8, 2, 1) / 11    1/2 u_1 + 1/2 u_2: (1, 4, 4) / 9    3/4 u_2 + 1/4 x: (2, 1, 8) / 11
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.objective import Objective
from ssmtl.schedules import LinearRamp
from ssmtl.strategies.base import Look, Need
from ssmtl.strategies.mixmatch import MixMatch, mix, sharpen
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.tsa import TSA
from ssmtl.views.geometry import WEAK, View
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.targets import Labels

ANIMAL = Classification("animal", classes=("bird", "cat", "deer"))
SECOND = View("weak", 1)
GUESSES = [Need(view=view, rows="unlabeled", grad=False, bn="batch") for view in (WEAK, SECOND)]
LOOKS = [Look(WEAK, "labeled"), Look(WEAK, "unlabeled"), Look(SECOND, "unlabeled")]

PREDICTED = np.array([[8, 2, 1], [1, 4, 4], [2, 1, 8]]) / np.array([[11], [9], [11]])
# The mean guess is (.3, .4, .3); its squares over their sum are (9, 16, 9) / 34.
Q = np.array([9, 16, 9]) / 34
FIRST = np.array([1, 0, 0])
TARGETS = np.stack([0.75 * FIRST + 0.25 * Q, Q, 0.75 * Q + 0.25 * FIRST])
PIXELS = np.array([[0.75, 0.25, 0], [0, 0.5, 0.5], [0.25, 0, 0.75]])
L_X = -(TARGETS[0] * np.log(PREDICTED[0])).sum()
ERRORS = np.square(TARGETS[1:] - PREDICTED[1:]).mean(axis=1)


class Drawn(np.random.Generator):
    """A generator whose draws are given."""

    def __init__(self, partner, shares):
        super().__init__(np.random.PCG64(0))
        self.partner, self.shares, self.asked = partner, shares, []

    def permutation(self, n):
        self.asked.append(n)
        return np.array(self.partner)

    def beta(self, a, b, size):
        self.asked.append((a, b, size))
        return np.array(self.shares[:size])


def images(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 3, 1, 1)


@pytest.fixture
def hand(fake_step):
    """Return the step of the module's docstring; `step.weight` is the network's only parameter."""
    weight = torch.tensor(math.log(16)).requires_grad_()
    made = zip(GUESSES, ([[0.5, 0.3, 0.2]], [[0.1, 0.5, 0.4]]), strict=True)
    step = fake_step(
        {need: torch.tensor(p).log().requires_grad_() for need, p in made},
        Labels(torch.tensor([0]), torch.ones(1)),
        images=dict(zip(LOOKS, (images([1, 0, 0]), images([0, 1, 0]), images([0, 0, 1])), strict=True)),
        network=lambda pixels: weight * pixels.flatten(1),
    )
    step.weight = weight
    # 1/4 and 3/4 stand for the same share
    step.drawn = Drawn([1, 2, 0], [0.25, 0.5, 0.75])
    step.random = lambda: step.drawn
    return step


def test_asks_for_guesses_without_a_trace_and_looks_at_what_it_mixes():
    assert MixMatch().needs() == set(GUESSES)
    assert MixMatch().looks() == set(LOOKS)
    assert {need.view.draw for need in MixMatch(views=3).needs()} == {0, 1, 2}
    assert {(need.grad, need.bn) for need in MixMatch(views=3, bn_update="all").needs()} == {(False, "batch")}


def test_terms_by_hand(hand, ratio):
    terms = MixMatch().losses(ANIMAL, hand)
    assert ratio(terms["supervised"]) == pytest.approx(L_X, rel=1e-5)
    assert ratio(terms["consistency"]) == pytest.approx(ERRORS.sum() / 2, rel=1e-5)  # K x 1 rows, 3 classes each
    assert terms["supervised"].count.tolist() == [1.0]
    assert terms["consistency"].count.tolist() == [1.0, 1.0]


def test_gradients_by_hand(hand):
    supervised, consistency = (loss.total.sum() for loss in MixMatch().losses(ANIMAL, hand).values())
    (grad,) = torch.autograd.grad(supervised, hand.weight, retain_graph=True)
    # d CE / d logits = p - y, and logits are weight x pixels
    assert grad.item() == pytest.approx(((PREDICTED[0] - TARGETS[0]) * PIXELS[0]).sum(), rel=1e-4)
    (grad,) = torch.autograd.grad(consistency, hand.weight)
    slope = 2 / 3 * (PREDICTED - TARGETS)
    through_softmax = PREDICTED * (slope - (PREDICTED * slope).sum(axis=1, keepdims=True))
    assert grad.item() == pytest.approx((through_softmax * PIXELS)[1:].sum(), rel=1e-4)
    assert all(pred.grad is None for pred in hand.predictions.values())


def test_the_pool_passes_in_blends_of_which_the_first_moves_running_statistics(hand):
    MixMatch().losses(ANIMAL, hand)
    assert [(bn, grad) for _, bn, grad in hand.predicted] == [("update", True), ("batch", True), ("batch", True)]
    torch.testing.assert_close(torch.cat([rows for rows, _, _ in hand.predicted]).flatten(1).double().numpy(), PIXELS)


def test_the_pool_may_pass_at_once(hand, ratio):
    terms = MixMatch(bn_update="all").losses(ANIMAL, hand)
    ((rows, bn, _),) = hand.predicted
    assert (len(rows), bn) == (3, "update")
    assert ratio(terms["consistency"]) == pytest.approx(ERRORS.sum() / 2, rel=1e-5)


def test_partners_come_from_the_whole_pool_and_each_row_has_its_own_share(hand):
    MixMatch(alpha=0.6).losses(ANIMAL, hand)
    assert hand.drawn.asked == [3, (0.6, 0.6, 3)]


def test_one_share_may_do_for_the_batch(hand):
    MixMatch(lambda_scope="per_batch").losses(ANIMAL, hand)
    assert hand.drawn.asked == [3, (0.75, 0.75, 1)]
    mixed = torch.cat([rows for rows, _, _ in hand.predicted]).flatten(1)
    assert mixed.tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]


def test_guesses_are_told_before_they_are_sharpened(hand):
    MixMatch().losses(ANIMAL, hand)
    assert hand.logged["confidence"] == pytest.approx(0.4)
    assert hand.logged["coverage"] == 1.0
    ((_, rows, target),) = hand.audited
    assert (rows, target.labels.tolist()) == ("unlabeled", [1])
    assert hand.masks == []


def test_a_mask_ranks_the_predictions_on_mixed_images(hand, ratio):
    loss = MixMatch(ood_mask=OODMask(0.5)).losses(ANIMAL, hand)["consistency"]
    assert loss.count.tolist() == [0.0, 1.0]  # 4/9 goes, 8/11 stays
    assert ratio(loss) == pytest.approx(ERRORS[1], rel=1e-5)
    ((rows, dropped),) = hand.masks
    assert (rows, dropped.tolist()) == ("unlabeled", [True, False])


def test_a_mask_may_rank_the_guesses_instead(fake_step):
    unsure, sure = [0.4, 0.3, 0.3], [0.2, 0.8, 0.0]
    step = fake_step(
        {need: torch.tensor([sure, unsure]).log() for need in GUESSES},
        Labels(torch.tensor([0]), torch.ones(1)),
        images={look: torch.rand(1 if look.rows == "labeled" else 2, 3, 1, 1) for look in LOOKS},
        network=lambda pixels: pixels.flatten(1),
    )
    loss = MixMatch(ood_mask=OODMask(0.5, confidence="guess")).losses(ANIMAL, step)["consistency"]
    assert loss.count.tolist() == [1.0, 0.0, 1.0, 0.0]  # both views of the second image


@pytest.mark.parametrize(("number", "trains"), [(8, 0.0), (9, 1.0)])
def test_annealing_weighs_mixed_labels(hand, number, trains):
    # p = 8/11 of a class with y = .75 + .25 x 9/34 = .816: known well below eta = .891, that is until 8.4 of 10 steps.
    # The other two classes are known already: 2/11 > 4/34 and 1/11 > 2.25/34.
    hand.number, hand.steps = number, 10
    loss = MixMatch(tsa=TSA()).losses(ANIMAL, hand)["supervised"]
    assert loss.count.tolist() == [trains]
    assert loss.total.item() == pytest.approx(trains * L_X, rel=1e-5)


def crowd(fake_step, labeled, unlabeled, views=2):
    """Return a step whose images are random, and whose network keeps each image's numbers."""
    torch.manual_seed(0)
    draws = [View("weak", draw) for draw in range(views)]
    looks = {Look(view, "unlabeled"): torch.rand(unlabeled, 3, 1, 1) for view in draws}
    return fake_step(
        {Need(view=v, rows="unlabeled", grad=False, bn="batch"): torch.randn(unlabeled, 3) for v in draws},
        Labels(torch.zeros(labeled).long(), torch.ones(labeled)),
        images={Look(WEAK, "labeled"): torch.rand(labeled, 3, 1, 1, requires_grad=True), **looks},
        network=lambda pixels: 3 * pixels.flatten(1),
    )


@pytest.mark.parametrize(("labeled", "unlabeled"), [(4, 4), (2, 5), (5, 1), (0, 3), (2, 0), (0, 0)])
@pytest.mark.parametrize("views", [1, 2, 3])
def test_any_numbers_of_rows_take_the_same_passes_and_come_back_in_order(fake_step, labeled, unlabeled, views):
    step, at_once = (crowd(fake_step, labeled, unlabeled, views) for _ in range(2))
    parts = {"tsa": TSA(), "ood_mask": OODMask(0.5)}
    terms = MixMatch(views=views, **parts).losses(ANIMAL, step)
    assert [bn for _, bn, _ in step.predicted] == ["update", *["batch"] * views]
    sizes = [len(rows) for rows, _, _ in step.predicted]
    assert sum(sizes) == labeled + views * unlabeled
    assert max(sizes) - min(sizes) <= 1
    assert terms["supervised"].total.shape == (labeled,)
    assert terms["consistency"].total.shape == (views * unlabeled,)
    for name, loss in MixMatch(views=views, bn_update="all", **parts).losses(ANIMAL, at_once).items():
        torch.testing.assert_close(terms[name].total, loss.total)
        torch.testing.assert_close(terms[name].count, loss.count)


def test_every_view_of_an_image_has_its_own_guess_as_target(fake_step):
    step = crowd(fake_step, 1, 3)
    step.random = lambda: Drawn(range(7), [1.0] * 7)
    guesses = sharpen(torch.stack([step.predictions[need].softmax(dim=1) for need in GUESSES]).mean(dim=0), 0.5)
    errors = [(guesses - (3 * step.given_images[look].flatten(1)).softmax(dim=1)).square() for look in LOOKS[1:]]
    total = MixMatch().losses(ANIMAL, step)["consistency"].total
    torch.testing.assert_close(total.detach(), torch.cat(errors).mean(dim=1))


def test_no_value_is_read_so_that_nothing_waits_for_a_device(fake_step):
    step = crowd(fake_step, 2, 4)
    for tensors in (step.predictions, step.given_images):
        tensors.update({name: tensor.to("meta") for name, tensor in tensors.items()})
    step.given_target = Labels(*(part.to("meta") for part in step.given_target))
    step.log = lambda name, value: None
    terms = MixMatch(tsa=TSA(), ood_mask=OODMask(0.5)).losses(ANIMAL, step)
    assert {loss.total.device.type for loss in terms.values()} == {"meta"}


def test_every_blend_holds_labeled_and_unlabeled_rows(fake_step):
    step = crowd(fake_step, 6, 6)
    # no row has a partner but itself
    step.random = lambda: Drawn(range(18), [1.0] * 18)
    MixMatch().losses(ANIMAL, step)
    pool = torch.cat([step.given_images[look] for look in LOOKS]).detach().flatten(1)
    kinds = [{int((pool == row).all(dim=1).nonzero()) // 6 for row in rows.flatten(1)} for rows, _, _ in step.predicted]
    assert kinds == [{0, 1, 2}] * 3


@given(st.integers(0, 40), st.floats(0.05, 5), st.sampled_from(["per_sample", "per_batch"]), st.integers(0, 2**32))
def test_draws_are_partners_for_all_and_shares_of_at_least_half(n, alpha, scope, seed):
    partner, share = MixMatch(alpha=alpha, lambda_scope=scope).draw(n, np.random.default_rng(seed))
    assert sorted(partner.tolist()) == list(range(n))
    assert len(share) == (n if scope == "per_sample" else 1)
    assert ((share >= 0.5) & (share <= 1)).all()
    assert share.dtype == torch.float32


def test_shares_follow_the_folded_beta_distribution():
    _, share = MixMatch().draw(20_000, np.random.default_rng(0))
    # the folded mean of Beta(a, a) is 1/2 + 1 / (2^(2a) a B(a, a))
    beta = math.gamma(0.75) ** 2 / math.gamma(1.5)
    assert share.mean().item() == pytest.approx(0.5 + 1 / (2**1.5 * 0.75 * beta), abs=4e-3)


DISTRIBUTIONS = st.lists(st.floats(2**-10, 1, width=32), min_size=2, max_size=6).map(
    lambda parts: torch.tensor([parts]) / sum(parts)
)


@given(DISTRIBUTIONS, st.floats(0.01, 4))
def test_sharpening_keeps_the_order_and_sums_to_1(p, temperature):
    q = sharpen(p, temperature)
    assert q.sum().item() == pytest.approx(1, abs=1e-5)
    assert q[0, p.argmax()] == q.max()
    assert temperature > 1 or q.max() >= p.max() - 1e-6


def test_sharpening_by_hand():
    p = torch.tensor([[0.3, 0.4, 0.3], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(sharpen(p, 0.5), torch.tensor([[9 / 34, 16 / 34, 9 / 34], [1, 0, 0]]))
    torch.testing.assert_close(sharpen(p, 1.0), p)
    torch.testing.assert_close(sharpen(p, 1e-3), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))


@given(st.integers(1, 12), st.integers(0, 2**32))
def test_mixed_labels_sum_to_1(n, seed):
    random = np.random.default_rng(seed)
    labels = torch.from_numpy(random.dirichlet(np.ones(4), size=n).astype(np.float32))
    mixed = mix(labels, *MixMatch().draw(n, random))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(n))
    assert (mixed >= 0).all()


def test_the_weight_ramps_over_16384_steps_and_not_over_the_run():
    objective = Objective(ANIMAL, MixMatch(), lam=75, ramp=LinearRamp(1.0, over=16_384))
    at = [objective.coefficient("consistency", step, 1_048_576) for step in (0, 8_192, 16_384, 1_000_000)]
    assert at == [0, 37.5, 75, 75]
    assert objective.coefficient("supervised", 0, 1_048_576) == 1
    short = objective.replace(ramp=LinearRamp(0.16, over=16_384))
    assert short.coefficient("consistency", 800, 10_000) == 37.5


@pytest.mark.parametrize(
    "fields", [{"temperature": 0}, {"alpha": 0}, {"views": 0}, {"lambda_scope": "sample"}, {"bn_update": "none"}]
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValueError, match=f"MixMatch\n{next(iter(fields))}"):
        MixMatch(**fields)
