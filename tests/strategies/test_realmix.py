"""RealMix and MixMatch in a real training step, and the tasks that they are refused on."""

import copy

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.datasets.shapes_phantom import FIGURES, ShapesPhantom
from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.datasets.subset import Subset
from ssmtl.loader import open_sources, training_loader
from ssmtl.models.multitask import Model
from ssmtl.models.wide_resnet import WideResNet
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source, Views
from ssmtl.schedules import LinearRamp
from ssmtl.strategies import mixmatch
from ssmtl.strategies.base import Look, Need
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.mixmatch import MixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.realmix import RealMix
from ssmtl.strategies.tsa import TSA
from ssmtl.streams import Explicit
from ssmtl.train_step import TrainStep
from ssmtl.views.geometry import WEAK, View
from ssmtl.views.presets import cifar_weak
from ssmtl.window import Window
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.detection import Detection
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

SHAPES = ShapesPhantom(canvas=(16, 16), samples=40)
FIGURE = Classification("figure", classes=FIGURES)


def recipe(strategy):
    """Figures are learned; four of ten unlabeled images are textures, which no task knows."""
    return Recipe(
        name="shapes",
        objectives=(Objective(FIGURE, strategy, lam=75, ramp=LinearRamp(1.0, over=16_384)),),
        sources=(
            Source("figures", Subset(SHAPES, only=FIGURES), serves=("figure",)),
            Source("elsewhere", SHAPES.replace(first=1000), serves=("figure",), hide_labels=True),
        ),
        streams=Explicit(labeled=6, unlabeled=10),
        model=Model(WideResNet(depth=10, width=1, bn_momentum=0.1), channels=3),
        views=Views(weak=cifar_weak()),
        steps=100,
    )


def run(strategy, *, step=50, rows=True):
    """Return a training step after its first batch, what it was before, and its loss and values."""
    made = recipe(strategy)
    (batch,) = training_loader(open_sources(made), start=0, stop=1, rank=0, world=1, workers=0, pin=False)
    batch.served = {name: served & rows for name, served in batch.served.items()}
    torch.manual_seed(0)
    training = TrainStep(made).train()
    before = copy.deepcopy(training)
    loss, values = training(batch, step)
    return training, before, loss, values


@pytest.fixture
def pool(monkeypatch):
    """Record the batches of mixed images that the student predicts."""
    seen, predict = [], Window.predict

    def recorded(self, images, *, bn="batch"):
        seen.append((images.detach(), bn))
        return predict(self, images, bn=bn)

    monkeypatch.setattr(Window, "predict", recorded)
    return seen


def statistics(training):
    return [norm.state_dict() for norm in training.student.modules() if isinstance(norm, _BatchNorm)]


@pytest.mark.parametrize(("bn_update", "sizes"), [("first", [9, 9, 8]), ("all", [26])])
def test_running_statistics_move_once_by_the_first_mixed_batch_alone(pool, bn_update, sizes):
    training, before, _, _ = run(MixMatch(bn_update=bn_update))
    assert [len(images) for images, _ in pool] == sizes
    assert all(images.dtype == torch.float32 for images, _ in pool)
    before.student(pool[0][0], {"figure": torch.arange(sizes[0])})
    assert all(norm["num_batches_tracked"] == 1 for norm in statistics(training))
    for moved, expected in zip(statistics(training), statistics(before), strict=True):
        for name in ("running_mean", "running_var"):
            assert torch.equal(moved[name], expected[name])


def test_gradients_flow_through_mixed_images_only(pool, monkeypatch):
    guessed = []
    monkeypatch.setattr(mixmatch, "sharpen", lambda p, t: guessed.append(p) or (p**2 / (p**2).sum(1, keepdim=True)))
    training, _, loss, _ = run(MixMatch())
    loss.backward()
    assert not guessed[0].requires_grad
    assert not any(images.requires_grad for images, _ in pool)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in training.student.parameters())


@pytest.mark.parametrize("strategy", [MixMatch(), RealMix(ood_mask=OODMask(0.5), tsa=TSA())])
def test_a_batch_without_rows_takes_the_same_passes_and_teaches_nothing(pool, strategy):
    training, before, loss, values = run(strategy, rows=False)
    assert [(len(images), bn) for images, bn in pool] == [(0, "update"), (0, "batch"), (0, "batch")]
    loss.backward()
    assert loss.item() == values["figure/supervised"].item() == values["figure/consistency"].item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in training.student.parameters())
    for now, then in zip(statistics(training), statistics(before), strict=True):
        assert all(torch.equal(now[name], then[name]) for name in then)


def test_half_precision_passes_mix_and_lose_in_float32(pool):
    with torch.autocast("cpu", torch.bfloat16):
        training, _, loss, values = run(MixMatch(tsa=TSA(steps=1)))
    _, _, exact, _ = run(MixMatch(tsa=TSA(steps=1)))
    loss.backward()
    assert all(images.dtype == torch.float32 for images, _ in pool)
    assert all(values[f"figure/{term}"].dtype == torch.float32 for term in ("supervised", "consistency"))
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)
    assert all(p.grad.abs().sum() > 0 for p in training.student.parameters())


def test_a_step_is_the_same_again_and_another_one_mixes_otherwise(pool):
    for step in (50, 50, 51):
        run(MixMatch(bn_update="all"), step=step)
    first, again, other = (images for images, _ in pool)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_a_mask_drops_is_held_against_hidden_classes():
    _, _, _, values = run(RealMix(ood_mask=OODMask(0.3)))
    assert values["figure/ood_masked"].item() == pytest.approx(6 / 20)
    assert 0.1 <= values["figure/foreign"].item() <= 0.9
    assert values["figure/ood_hits"].item() * 6 == pytest.approx(round(values["figure/ood_hits"].item() * 6))
    assert values["figure/precision"].item() <= 1 - values["figure/foreign"].item() + 1e-6


@pytest.mark.parametrize(("dropped", "hits"), [("textures", 1.0), ("figures", 0.0)])
def test_hits_count_every_copy_of_a_foreign_row(monkeypatch, dropped, hits):
    batches, audit, forward = [], Window.audit_mask, TrainStep.forward

    def seen(self, batch, step):
        batches.append(batch)
        return forward(self, batch, step)

    def marked(self, which, mask):
        foreign = self.task.foreign(self.hidden(batches[0], None, which)).total.bool().repeat(2)
        audit(self, which, foreign if dropped == "textures" else ~foreign)

    monkeypatch.setattr(TrainStep, "forward", seen)
    monkeypatch.setattr(Window, "audit_mask", marked)
    _, _, _, values = run(RealMix())
    assert values["figure/ood_hits"].item() == hits
    foreign = values["figure/foreign"].item()
    assert 0 < foreign < 1
    assert values["figure/ood_masked"].item() == pytest.approx(foreign if dropped == "textures" else 1 - foreign)


def losses(fake_step, strategy):
    torch.manual_seed(0)
    draws = (WEAK, View("weak", 1))
    step = fake_step(
        {Need(view=view, rows="unlabeled", grad=False, bn="batch"): torch.randn(4, 6) for view in draws},
        Labels(torch.tensor([0, 3]), torch.ones(2)),
        images={
            Look(WEAK, "labeled"): torch.rand(2, 6, 1, 1),
            **{Look(view, "unlabeled"): torch.rand(4, 6, 1, 1) for view in draws},
        },
        network=lambda pixels: pixels.flatten(1),
    )
    step.number, step.steps = 3, 10
    return strategy.losses(FIGURE, step), step


@pytest.mark.parametrize("parts", [{}, {"ood_mask": OODMask(0.6), "tsa": TSA("exp")}])
def test_realmix_is_mixmatch_with_a_mask(fake_step, parts):
    ours, step = losses(fake_step, RealMix(**parts))
    theirs, _ = losses(fake_step, MixMatch(**parts))
    assert list(ours) == list(theirs) == ["supervised", "consistency"]
    for name, loss in ours.items():
        assert torch.equal(loss.total, theirs[name].total)
        assert torch.equal(loss.count, theirs[name].count)
    ((_, dropped),) = step.masks
    assert dropped.sum() == (4 if parts else 0)  # floor(.6 x 8)


@pytest.mark.parametrize("strategy", [MixMatch(), RealMix(), RealMix(ood_mask=OODMask(0.85), tsa=TSA("log"))])
def test_is_a_value(strategy):
    objective = Objective(FIGURE, strategy)
    assert Objective.model_validate_json(objective.model_dump_json()) == objective


def test_realmix_keeps_a_mask():
    with pytest.raises(ValueError, match="RealMix\nood_mask"):
        RealMix(ood_mask=None)


LUNGS = Segmentation("lungs", classes=("lung",))
CARS = Detection("cars", classes=("car",))
OTHERWISE = "use another strategy for it, such as Supervised()"


@pytest.mark.parametrize(
    ("task", "reader", "strategy", "message"),
    [
        (LUNGS, ChestPhantom(), MixMatch(), f"MixMatch .* Mixable, which Segmentation .'lungs'. does .*; {OTHERWISE}"),
        (LUNGS, ChestPhantom(), RealMix(), f"RealMix .* Mixable, which Segmentation .'lungs'. does .*; {OTHERWISE}"),
        (CARS, StreetPhantom(), MixMatch(), "MixMatch .* Mixable, which Detection .'cars'. does not have"),
        (LUNGS, ChestPhantom(), FixMatch(tsa=TSA()), "TSA needs .* Mixable, .*; leave it out of FixMatch"),
        (CARS, StreetPhantom(), FixMatch(ood_mask=OODMask(0.5)), "OODMask needs .* Confident, .*; leave it out of Fix"),
    ],
)
def test_a_task_without_the_ability_is_refused(task, reader, strategy, message):
    with pytest.raises(ValueError, match=message):
        Recipe(
            name="refused",
            objectives=(Objective(task, strategy),),
            sources=(Source("images", reader, serves=(task.name,)),),
            model=Model(WideResNet(depth=10), channels=reader.channels),
        )
