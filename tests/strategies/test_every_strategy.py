"""What holds for every strategy that the project ships, by the contract suite and beyond it."""

import pytest
import torch

from ssmtl.checks import parametrize_strategies
from ssmtl.component import kinds, resolve, walk
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.strategies.supervised import Supervised
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.losses import Dice
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

EXAMPLES = [example for kind in kinds("strategies") for example in resolve("strategies", kind).examples()]
REFERENCE, NONE = PredictionMatching(form="reference"), PredictionMatching(form="none")
EXPECTED = {
    REFERENCE: {
        "check_every_term_teaches": "the published program's term is 0, which this form shows (MELBA Eq. 2)",
        "check_every_gradient_is_used": "the published program's term is 0, and so is its gradient",
    },
    NONE: {"check_abilities_are_used": "an ablation without the term, for the same tasks as those with it"},
}
TASKS = [
    Classification("diagnosis", classes=("normal", "pneumonia")),
    Segmentation("lungs", classes=("lung",), loss=Dice()),
    Segmentation("organs", classes=("background", "lung", "heart")),
]
APART = [*(example for example in EXAMPLES if not example.batch_coupled and not example.tsa), PredictionMatching()]
PAIRS = [(s, t) for s in APART for t in TASKS if all(isinstance(t, ability) for ability in s.abilities())]


@parametrize_strategies([*EXAMPLES, REFERENCE, NONE], expected_failures=EXPECTED.get)
def test_strategy_contract(strategy, check):
    check(strategy)


def test_no_strategy_and_no_part_is_missed():
    assert len(kinds("strategies")) > 10
    assert {example.kind for example in EXAMPLES} == set(kinds("strategies"))
    assert {part.kind for example in EXAMPLES for part in walk(example) if part.group == "parts"} == set(kinds("parts"))


@pytest.mark.parametrize(("strategy", "task"), PAIRS, ids=lambda value: repr(value)[:60])
def test_the_supervised_term_is_the_tasks_own(fake_step, strategy, task):
    place = () if isinstance(task, Classification) else (4, 4)

    def random(rows):
        return torch.randn(rows, len(task.classes), *place).requires_grad_()

    labels = Labels(torch.zeros(2, *place).long(), torch.ones(2, *place))
    made = {need: random(2) for need in strategy.needs()}
    images = {look: torch.rand(2, 3, 4, 4) for look in strategy.looks()}
    step = fake_step(made, labels, images=images, network=lambda pixels: random(len(pixels)))
    (need,) = (need for need in made if need.rows == "labeled")
    expected = task.supervised_loss(made[need], labels)
    torch.testing.assert_close(strategy.losses(task, step)["supervised"].total, expected.total)


def test_every_strategy_meets_a_real_task():
    assert {s.kind for s, _ in PAIRS} == {example.kind for example in APART}
    assert (PredictionMatching(), TASKS[0]) not in PAIRS


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
