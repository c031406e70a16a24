"""MeanTeacher against numbers computed by hand, and the zero gradient of a public implementation."""

import pytest
import torch
from small_steps import DIAGNOSIS, LUNGS, encoder_gradient, run, running

from ssmtl.strategies.base import Need
from ssmtl.strategies.mean_teacher import MeanTeacher
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.supervised import Supervised
from ssmtl.views.geometry import View
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.targets import Labels

LETTERS = Classification("letter", classes=("a", "b", "c"))
LABELED = Need()
TEACHER = Need(model="teacher", rows="unlabeled", grad=False, bn="batch")
STUDENT = Need(view=View("weak", 1), rows="unlabeled", bn="batch")


def logits(*rows: list[float]) -> torch.Tensor:
    """Return logits [n, 3] of probabilities."""
    return torch.tensor(rows).log().requires_grad_()


@pytest.fixture
def step(fake_step):
    labels = Labels(torch.tensor([1, 0]), torch.ones(2))
    teacher, student = logits([0.5, 0.25, 0.25], [0.8, 0.1, 0.1]), logits([0.25, 0.25, 0.5], [0.6, 0.3, 0.1])
    return fake_step({LABELED: logits([0.5, 0.25, 0.25], [0.8, 0.1, 0.1]), TEACHER: teacher, STUDENT: student}, labels)


@pytest.mark.parametrize(("teacher_bn", "bn_update"), [("batch", "first"), ("eval", "first"), ("batch", "all")])
def test_the_teacher_predicts_the_first_draw_and_the_student_the_second(teacher_bn, bn_update):
    strategy = MeanTeacher(teacher_bn=teacher_bn, bn_update=bn_update)
    student = STUDENT._replace(bn="batch" if bn_update == "first" else "update")
    assert strategy.needs() == {LABELED, TEACHER._replace(bn=teacher_bn), student}
    assert MeanTeacher().teacher_bn == "batch"


def test_the_student_has_the_gradient_and_the_teacher_none(step, ratio):
    """A public implementation read the student's logits from the teacher's pass: its loss and gradient were 0."""
    loss = MeanTeacher().losses(LETTERS, step)["consistency"]
    assert ratio(loss) == pytest.approx((1 / 24 + 0.08 / 3) / 2)
    loss.total.sum().backward()
    expected = torch.tensor([[-5 / 96, -1 / 96, 6 / 96], [-0.168 / 3, 0.156 / 3, 0.012 / 3]])
    torch.testing.assert_close(step.predictions[STUDENT].grad, expected)
    assert step.predictions[TEACHER].grad is None
    assert step.predictions[LABELED].grad is None


def test_the_teacher_is_told_of_and_ranked(step, ratio):
    terms = MeanTeacher(ood_mask=OODMask(0.5)).losses(LETTERS, step)
    assert ratio(terms["consistency"]) == pytest.approx(0.08 / 3)
    assert step.logged["confidence"] == pytest.approx((0.5 + 0.8) / 2)


def test_equal_predictions_cost_nothing(fake_step):
    same = logits([0.5, 0.25, 0.25])
    step = fake_step({LABELED: same, TEACHER: same, STUDENT: same}, Labels(torch.tensor([0]), torch.ones(1)))
    assert MeanTeacher().losses(LETTERS, step)["consistency"].total.tolist() == [0.0]


def apart(step):
    """Give the teacher other weights, as after a few steps."""
    generator = torch.Generator().manual_seed(1)
    for parameter in step.teacher.parameters():
        parameter += 0.3 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
def test_a_real_step(task):
    base, _ = run(task, Supervised())
    _, near_values = run(task, MeanTeacher(), lam=50.0)
    step, values = run(task, MeanTeacher(), lam=50.0, before=apart)
    torch.testing.assert_close(values["loss"], values["task/supervised"] + 50.0 * values["task/consistency"])
    assert values["task/consistency"] > 0
    assert values["task/consistency"] != near_values["task/consistency"]  # the teacher's weights matter
    assert 0 <= values["task/precision"] <= 1
    assert not torch.allclose(encoder_gradient(step), encoder_gradient(base), rtol=1e-3)
    assert all(parameter.grad is None for parameter in step.teacher.parameters())
    assert torch.equal(running(step.student), running(base.student))
    assert torch.equal(running(step.teacher), running(base.teacher))


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
def test_the_teacher_normalizes_as_it_is_told(task):
    _, batch = run(task, MeanTeacher())
    _, running_ones = run(task, MeanTeacher(teacher_bn="eval"))
    assert abs(batch["task/consistency"] - running_ones["task/consistency"]) > 1e-6
    assert batch["task/supervised"] == running_ones["task/supervised"]


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
@pytest.mark.parametrize(("rows", "absent"), [("labeled", "consistency"), ("unlabeled", "supervised")])
def test_terms_without_rows_are_zero(task, rows, absent):
    step, values = run(task, MeanTeacher(), rows=rows)
    assert list(values)[:2] == ["task/supervised", "task/consistency"]
    assert values[f"task/{absent}"] == 0.0
    assert encoder_gradient(step).isfinite().all()
