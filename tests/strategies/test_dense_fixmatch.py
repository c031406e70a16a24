"""The two dense forms of FixMatch on views that were really drawn: who labels, what moves, and what doesn't."""

import pytest
import torch

from ssmtl.datasets.street_phantom import StreetPhantom
from ssmtl.loader import open_sources, training_loader
from ssmtl.models.heads import SmpUnetDecoder
from ssmtl.models.multitask import Model
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.objective import Objective
from ssmtl.recipe import Recipe, Source, Views
from ssmtl.strategies.base import Need
from ssmtl.strategies.fixmatch import DenseFixMatch, FixMatch, FixMatchStar
from ssmtl.streams import Implicit
from ssmtl.train_step import TrainStep
from ssmtl.views.geometry import STRONG, WEAK
from ssmtl.views.presets import dense_strong, dense_weak
from ssmtl_tasks.segmentation import Segmentation

SCENES = StreetPhantom(canvas=(32, 64), samples=8)
SCENE = Segmentation("scene", classes=SCENES.classes("mask"), head=SmpUnetDecoder(channels=(16, 16, 16, 16, 8)))


def recipe(strategy, *, shared_flip=False):
    weak, strong = (preset((32, 32), shared_flip=shared_flip) for preset in (dense_weak, dense_strong))
    return Recipe(
        name="scenes",
        objectives=(Objective(SCENE, strategy),),
        sources=(Source("scenes", SCENES, serves=("scene",)),),
        streams=Implicit(batch=6),
        model=Model(TimmEncoder("test_resnet"), channels=3),
        views=Views(weak=weak, strong=strong),
    )


def moves(strategy, monkeypatch, **options):
    """Return the map from the weak to the strong view of one batch, as the strategy was given it."""
    seen = []
    whole = type(strategy).losses

    def losses(self, task, step):
        seen.append((step.move(WEAK, STRONG, "all"), step.target(WEAK)))
        return whole(self, task, step)

    monkeypatch.setattr(type(strategy), "losses", losses)
    made = recipe(strategy, **options)
    (batch,) = training_loader(open_sources(made), start=0, stop=1, rank=0, world=1, workers=0, pin=False)
    TrainStep(made)(batch, 0)
    return seen[0]


def test_the_moving_average_labels_the_weak_view_in_evaluation_mode():
    for strategy in (DenseFixMatch(), FixMatchStar()):
        teacher = Need(model="teacher", view=WEAK, rows="unlabeled", grad=False, bn="eval")
        assert strategy.needs() == FixMatch(pseudo_labels_from="teacher").needs()
        assert teacher in strategy.needs()
        assert strategy.threshold == 0.5


@pytest.mark.parametrize("shared_flip", [False, True])
def test_fixmatch_star_moves_nothing(monkeypatch, shared_flip):
    move, _ = moves(FixMatchStar(lu_on="all"), monkeypatch, shared_flip=shared_flip)
    assert move.is_identity.all()


def test_dense_fixmatch_moves_nearly_all(monkeypatch):
    move, _ = moves(DenseFixMatch(lu_on="all"), monkeypatch)
    assert move.is_identity.float().mean() < 0.5
    turned = move.matrix[:, 0, 0] < 0
    assert turned.any()  # a flip of one view only
    assert not turned.all()


def test_a_shared_flip_reaches_the_supervised_loss(monkeypatch):
    _, plain = moves(FixMatchStar(lu_on="all"), monkeypatch)
    _, flipped = moves(FixMatchStar(lu_on="all"), monkeypatch, shared_flip=True)
    same = [torch.equal(a, b) for a, b in zip(plain.labels, flipped.labels, strict=True)]
    mirrored = [torch.equal(a.flip(1), b) for a, b in zip(plain.labels, flipped.labels, strict=True)]
    assert all(a or b for a, b in zip(same, mirrored, strict=True))
    assert 0 < sum(mirrored) < len(mirrored)
