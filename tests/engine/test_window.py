"""What a strategy may ask of a step beyond predictions: made images, noise, draws, and images without predictions."""

import pytest
import torch
from kinds import study

import ssmtl.train_step
import ssmtl.window
from ssmtl.loader import open_sources, training_loader
from ssmtl.strategies.base import Look
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.mean_teacher import MeanTeacher
from ssmtl.strategies.mixmatch import MixMatch
from ssmtl.strategies.supervised import Supervised
from ssmtl.train_step import TrainStep
from ssmtl.views.geometry import WEAK, View

SECOND = View("weak", 1)
BOTH = frozenset({Look(WEAK, "unlabeled"), Look(SECOND, "unlabeled")})


def batch_of(recipe, *, rank=0, world=1):
    return next(training_loader(open_sources(recipe), start=0, stop=1, rank=rank, world=world, workers=0, pin=False))


@pytest.fixture
def asked(monkeypatch):
    """Run one step of a supervised recipe that also looks at two weak views, and hand its window to a function."""

    def run(ask, *, rank=0, world=1, looks=BOTH):
        recipe, answers = study(Supervised()), []
        supervised = Supervised.losses

        def losses(self, task, step):
            answers.append(ask(step))
            return supervised(self, task, step)

        monkeypatch.setattr(Supervised, "losses", losses)
        monkeypatch.setattr(Supervised, "looks", lambda self: looks)
        torch.manual_seed(0)
        module = TrainStep(recipe).train()
        module(batch_of(recipe, rank=rank, world=world), 3)
        monkeypatch.setattr(Supervised, "losses", supervised)
        return answers[0], module

    return run


def running_means(module):
    return torch.cat([v.flatten() for k, v in module.student.state_dict().items() if k.endswith("running_mean")])


def test_two_draws_of_one_policy_differ_and_show_the_same_images(asked):
    (first, second), _ = asked(lambda step: (step.images(WEAK, "unlabeled"), step.images(SECOND, "unlabeled")))
    assert first.shape == second.shape == (8, 3, 16, 16)
    assert not torch.equal(first, second)
    colors = [images.mean(dim=(2, 3)) for images in (first, second)]
    distance = torch.cdist(*colors)
    assert (distance.diagonal() <= distance.median(dim=1).values).all()


def test_images_that_nobody_asked_for_are_refused(asked):
    with pytest.raises(ValueError, match="add a Need or a Look for them"):
        asked(lambda step: step.images(SECOND, "unlabeled"), looks=frozenset())


def test_made_images_are_predicted_with_their_gradient(asked):
    def ask(step):
        images = step.images(WEAK, "unlabeled").clone().requires_grad_()
        (gradient,) = torch.autograd.grad(step.predict(images).square().sum(), images)
        return gradient

    gradient, module = asked(ask)
    assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()
    assert all(p.grad is None for p in module.student.parameters())


@pytest.mark.parametrize(("bn", "moves"), [("batch", False), ("eval", False), ("update", True)])
def test_running_statistics_move_only_when_asked(asked, bn, moves):
    _, quiet = asked(lambda step: None)
    _, module = asked(lambda step: step.predict(step.images(WEAK, "unlabeled"), bn=bn))
    assert torch.equal(running_means(module), running_means(quiet)) != moves


def test_no_images_give_no_predictions_connected_to_the_network(asked):
    pred, _ = asked(lambda step: step.predict(torch.zeros(0, 3, 16, 16)))
    assert pred.shape == (0, 6)
    assert pred.requires_grad


def test_noise_is_standard_normal_and_belongs_to_the_place_in_the_global_batch(asked):
    whole, _ = asked(lambda step: step.noise("unlabeled", (3, 16, 16)))
    assert abs(whole.mean().item()) < 0.05
    assert abs(whole.std().item() - 1) < 0.05
    halves = [asked(lambda step: step.noise("unlabeled", (3, 16, 16)), rank=rank, world=2)[0] for rank in (0, 1)]
    assert torch.equal(torch.stack(halves, 1).flatten(0, 1), whole)


def test_draws_that_couple_a_batch_repeat_with_the_step(asked):
    first, _ = asked(lambda step: step.random().permutation(20))
    again, _ = asked(lambda step: step.random().permutation(20))
    assert first.tolist() == again.tolist()


def test_reading_the_strong_view_asks_for_a_policy_that_fits():
    assert study(FixMatch()).used_views() == ("strong", "weak")
    assert study(Supervised()).used_views() == ("weak",)


def test_one_image_alone_has_no_statistics(asked):
    alone, module = asked(lambda step: step.predict(step.images(WEAK, "unlabeled")[:1], bn="update"))
    used, _ = asked(lambda step: step.predict(step.images(WEAK, "unlabeled")[:1], bn="eval"))
    _, quiet = asked(lambda step: None)
    assert torch.equal(alone, used)
    assert torch.equal(running_means(module), running_means(quiet))


@pytest.fixture
def forgotten(monkeypatch):
    """Count how often weights that were cast without a graph are dropped.

    Older PyTorch hands them on to passes that train, which then have no gradient: a MixMatch that learns nothing.
    """
    calls = []
    for module in (ssmtl.window, ssmtl.train_step):
        monkeypatch.setattr(module, "forget_casts", lambda: calls.append(torch.is_grad_enabled()))
    return calls


def test_a_made_prediction_without_gradients_leaves_no_casts(asked, forgotten):
    def ask(step):
        images = step.images(WEAK, "unlabeled")
        step.predict(images)
        before = len(forgotten)
        with torch.no_grad():
            step.predict(images)
        return before, len(forgotten)

    assert asked(ask)[0] == (0, 1)


@pytest.mark.parametrize(("strategy", "passes"), [(Supervised(), 0), (MixMatch(), 1), (MeanTeacher(), 1)])
def test_a_planned_pass_without_gradients_leaves_no_casts(forgotten, strategy, passes):
    recipe = study(strategy)
    TrainStep(recipe).train()(batch_of(recipe), 0)
    assert len(forgotten) == passes
