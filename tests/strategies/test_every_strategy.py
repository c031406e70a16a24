"""What holds for every strategy that the project ships."""

import math

import pytest
import torch

from ssmtl.component import kinds
from ssmtl.objective import Objective
from ssmtl.strategies.fixmatch import DenseFixMatch, FixMatch, FixMatchStar
from ssmtl.strategies.mean_teacher import MeanTeacher
from ssmtl.strategies.mixmatch import MixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.pi_model import PiModel
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.strategies.pseudo_label import PseudoLabel
from ssmtl.strategies.realmix import RealMix
from ssmtl.strategies.supervised import Supervised
from ssmtl.strategies.tsa import TSA
from ssmtl.strategies.vat import VAT
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.losses import Dice
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

STRATEGIES = [
    Supervised(),
    Supervised(tsa=TSA("exp")),
    PseudoLabel(),
    PiModel(ood_mask=OODMask(0.5)),
    MeanTeacher(),
    MeanTeacher(teacher_bn="eval", bn_update="all"),
    VAT(),
    VAT(kl="adv_to_clean", bn_update="all", iterations=2),
    MixMatch(),
    MixMatch(views=3, lambda_scope="per_batch", bn_update="all"),
    RealMix(ood_mask=OODMask(0.5), tsa=TSA()),
    FixMatch(threshold=0.7),
    FixMatch(threshold=0.7, pseudo_labels_from="teacher", lu_on="all"),
    DenseFixMatch(),
    FixMatchStar(lu_on="all"),
    PredictionMatching(),
    PredictionMatching(form="marginal", detach_target=False),
    PredictionMatching(form="reference"),
    PredictionMatching(form="none"),
]
TASKS = [
    Classification("diagnosis", classes=("normal", "pneumonia")),
    Segmentation("lungs", classes=("lung",), loss=Dice()),
    Segmentation("organs", classes=("background", "lung", "heart")),
]
PAIRS = [(s, t) for s in STRATEGIES for t in TASKS if all(isinstance(t, ability) for ability in s.abilities())]
MIXING = (MixMatch, RealMix)  # they make the supervised term of mixed images
every_pair = pytest.mark.parametrize(("strategy", "task"), PAIRS, ids=lambda value: repr(value)[:60])


def shape(task, n: int) -> tuple[int, ...]:
    return (n, len(task.classes)) if isinstance(task, Classification) else (n, len(task.classes), 4, 4)


def labels(task, n: int) -> Labels:
    size = (n,) if isinstance(task, Classification) else (n, 4, 4)
    return Labels(torch.zeros(size).long(), torch.ones(size))


def step_of(fake_step, strategy, task, counts):
    """Return a step with random predictions and images, whose network is a linear function of the first pixels."""
    made = {need: torch.randn(shape(task, counts[need.rows]), requires_grad=True) for need in strategy.needs()}
    images = {look: torch.rand(counts[look.rows], 3, 4, 4) for look in strategy.looks()}
    weight = torch.randn(shape(task, 1)[1], requires_grad=True)

    def network(pixels):
        return (
            pixels[:, :1, 0, 0] * weight if isinstance(task, Classification) else pixels[:, :1] * weight[:, None, None]
        )

    return made, fake_step(made, labels(task, counts["labeled"]), images=images, network=network)


def test_every_entry_point_is_tested():
    assert kinds("strategies") == tuple(sorted({s.kind for s in STRATEGIES}))


def test_every_strategy_meets_a_task():
    assert {s.kind for s, _ in PAIRS} == set(kinds("strategies"))
    assert (PredictionMatching(), TASKS[0]) not in PAIRS


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_is_a_value(strategy):
    objective = Objective(TASKS[1], strategy)
    assert Objective.model_validate_json(objective.model_dump_json()) == objective


@every_pair
@pytest.mark.parametrize(("labeled", "unlabeled"), [(2, 3), (0, 3), (2, 0), (0, 0)])
def test_reads_what_it_needs_and_returns_the_same_finite_terms(fake_step, strategy, task, labeled, unlabeled):
    counts = {"labeled": labeled, "unlabeled": unlabeled, "all": labeled + unlabeled}
    torch.manual_seed(0)
    made, step = step_of(fake_step, strategy, task, counts)
    terms = strategy.losses(task, step)
    assert set(step.asked) == strategy.needs()
    for loss in terms.values():
        assert loss.total.shape == loss.count.shape
        assert torch.isfinite(loss.total).all()
        assert loss.total.requires_grad
        assert not loss.count.requires_grad
    sum(loss.total.sum() for loss in terms.values()).backward()
    assert all(pred.grad is None for need, pred in made.items() if not need.grad)
    assert all(torch.isfinite(pred.grad).all() for need, pred in made.items() if need.grad and pred.grad is not None)
    _, more = step_of(fake_step, strategy, task, dict.fromkeys(counts, 2))
    assert list(terms) == list(strategy.losses(task, more))
    assert [pred[1:] for pred in step.predicted] == [pred[1:] for pred in more.predicted]
    assert all(math.isfinite(v) for v in more.logged.values())
    assert step.logged.keys() == more.logged.keys()


@every_pair
def test_the_supervised_term_is_the_tasks_own(fake_step, strategy, task):
    if isinstance(strategy, MIXING) or strategy.tsa:
        return
    torch.manual_seed(0)
    made, step = step_of(fake_step, strategy, task, dict.fromkeys(("labeled", "unlabeled", "all"), 2))
    (need,) = (need for need in made if need.rows == "labeled")
    expected = task.supervised_loss(made[need], labels(task, 2))
    torch.testing.assert_close(strategy.losses(task, step)["supervised"].total, expected.total)


def test_supervised_needs_one_training_pass_over_labeled_rows():
    (need,) = Supervised().needs()
    assert (need.model, need.view.policy, need.rows, need.grad, need.bn) == (
        "student",
        "weak",
        "labeled",
        True,
        "update",
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FixMatch(threshold=1.5), "less than or equal to 1"),
        (lambda: FixMatch(pseudo_labels_from="ema"), "'student' or 'teacher'"),
        (lambda: FixMatch(tau=0.5), "no field 'tau'"),
        (lambda: PredictionMatching(form="softmax"), "'bernoulli', 'marginal', 'reference' or 'none'"),
    ],
)
def test_bad_fields_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
