"""VAT against numbers computed by hand, for the network whose logits are (x_1, x_2, 0)."""

import math
from math import log

import pytest
import torch
from kinds import SHAPES, study
from small_steps import DIAGNOSIS, LUNGS, encoder_gradient, run, running

from ssmtl.loader import open_sources, training_loader
from ssmtl.objective import Objective
from ssmtl.recipe import Source
from ssmtl.schedules import LinearRamp
from ssmtl.strategies.base import Look, Need
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.pi_model import PiModel
from ssmtl.strategies.supervised import Supervised
from ssmtl.strategies.vat import VAT
from ssmtl.streams import PerSource
from ssmtl.train_step import TrainStep
from ssmtl.views.geometry import WEAK
from ssmtl_tasks.classification import Classification
from ssmtl_tasks.segmentation import Segmentation
from ssmtl_tasks.targets import Labels

LN2, ROOT5 = log(2), math.sqrt(5)
LETTERS = Classification("letter", classes=("a", "b", "c"))
LABELED, UNLABELED = Need(), Need(rows="unlabeled", bn="batch")
IMAGES = Look(WEAK, "unlabeled")
REACH = 2 * ROOT5 * LN2
"""An epsilon that moves images in [0, 1] by sqrt(5) ln 2."""


class Linear:
    """A network with one weight matrix, and where autocast was on when it ran."""

    def __init__(self):
        self.weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).requires_grad_()
        self.autocast = []

    def __call__(self, images):
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return images.flatten(1) @ self.weight.T


@pytest.fixture
def network():
    return Linear()


@pytest.fixture
def step(fake_step, network, monkeypatch):
    """Two images that are predicted as (1/2, 1/4, 1/4) and as uniform; d is (1, 0) and (0, 1)."""
    images = torch.tensor([[LN2, 0.0], [0.0, 0.0]]).reshape(2, 1, 1, 2)
    clean = network(images).detach().requires_grad_()
    labeled = torch.tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    made = fake_step(
        {LABELED: labeled, UNLABELED: clean},
        Labels(torch.tensor([1]), torch.ones(1)),
        images={IMAGES: images},
        network=network,
    )
    monkeypatch.setattr(made, "noise", lambda rows, shape: torch.eye(2).reshape(2, *shape))
    return made


def vat(epsilon=REACH, **fields):
    return VAT(epsilon, **{"xi": 0.01, "scale_with_size": False, **fields})


def close(value):
    return pytest.approx(value, rel=0.02)  # xi is no limit


def test_reads_unlabeled_images_and_their_prediction(step):
    assert VAT().needs() == {LABELED, UNLABELED}
    assert VAT(bn_update="all").needs() == {LABELED, UNLABELED._replace(bn="update")}
    assert VAT().looks() == {IMAGES}
    assert list(vat().losses(LETTERS, step)) == ["supervised", "vat", "entropy"]


def test_one_power_iteration(step):
    """H = diag(p) - p p^T takes (1, 0) to (1/4, -1/8), and (0, 1) to (-1/9, 2/9)."""
    vat().losses(LETTERS, step)
    images, moved = step.images(WEAK, "unlabeled"), step.predicted[-1][0]
    expected = torch.tensor([[2.0, -1.0], [-1.0, 2.0]]) * LN2
    torch.testing.assert_close((moved - images).flatten(1), expected, rtol=0.02, atol=0.02)


def test_the_direction_has_length_one_and_nears_the_worst_one(step):
    """Of the uniform prediction's H, (1, -1) has the eigenvalue 1/3 and (1, 1) has 1/9."""
    images, clean = step.images(WEAK, "unlabeled"), step.predictions[UNLABELED].detach()
    for iterations, ratio in ((1, 1 / 2), (2, 4 / 5), (3, 13 / 14)):
        found = vat(iterations=iterations).direction(LETTERS, step, images, clean).flatten(1)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
        assert -found[1, 0] / found[1, 1] == close(ratio)


@pytest.mark.parametrize("kl", ["clean_to_adv", "adv_to_clean"])
def test_the_search_takes_the_clean_prediction_first(step, monkeypatch, kl):
    """One way the gradient is q - p; for KL(q || p) it would be q_j ((ln q/p)_j - mean), at ln q/p = ln 2 (2, -1, 0).

    From p = (1/2, 1/4, 1/4) the step makes that q = (16, 1, 2)/19.
    """
    monkeypatch.setattr(step, "noise", lambda rows, shape: torch.tensor([[2.0, -1.0]] * 2).reshape(2, *shape))
    images, clean = step.images(WEAK, "unlabeled"), step.predictions[UNLABELED].detach()
    found = vat(xi=REACH, kl=kl).direction(LETTERS, step, images, clean)[0].flatten()
    assert found[1] / found[0] == pytest.approx((1 / 19 - 1 / 4) / (16 / 19 - 1 / 2), rel=1e-4)  # -15/26
    assert found[1] / found[0] != pytest.approx(-50 / 112, rel=1e-2)


def test_the_loss_takes_either_direction(step, ratio):
    """The images at epsilon r are predicted as q = (16, 1, 2)/19 and (1, 8, 2)/11."""
    terms = vat().losses(LETTERS, step)
    rows = [
        1 / 2 * log(19 / 32) + 1 / 4 * log(19 / 4) + 1 / 4 * log(19 / 8),
        (log(11 / 3) + log(11 / 24) + log(11 / 6)) / 3,
    ]
    assert ratio(terms["vat"]) == close(sum(rows) / 2)
    terms = vat(kl="adv_to_clean").losses(LETTERS, step)
    rows = [
        16 / 19 * log(32 / 19) + 1 / 19 * log(4 / 19) + 2 / 19 * log(8 / 19),
        1 / 11 * log(3 / 11) + 8 / 11 * log(24 / 11) + 2 / 11 * log(6 / 11),
    ]
    assert ratio(terms["vat"]) == close(sum(rows) / 2)


def test_gradient_of_vat_flows_through_the_adversarial_pass_alone(step, network):
    vat().losses(LETTERS, step)["vat"].total.sum().backward()
    moved = step.predicted[-1][0].flatten(1)
    p = torch.tensor([[1 / 2, 1 / 4, 1 / 4], [1 / 3, 1 / 3, 1 / 3]])
    q = torch.tensor([[16 / 19, 1 / 19, 2 / 19], [1 / 11, 8 / 11, 2 / 11]])
    torch.testing.assert_close(network.weight.grad, (q - p).T @ moved, rtol=0.02, atol=0.02)
    assert step.predictions[UNLABELED].grad is None


def test_the_search_leaves_no_gradient_behind(step, network):
    """A public implementation zeroed the network's gradients here, those of other losses included."""
    network.weight.grad = torch.full((3, 2), 7.0)
    images, clean = step.images(WEAK, "unlabeled"), step.predictions[UNLABELED].detach()
    found = vat(iterations=2).direction(LETTERS, step, images, clean)
    assert not found.requires_grad
    assert (network.weight.grad == 7.0).all()


def test_entropy_has_its_own_weight_and_gradient_of_the_clean_pass(step, ratio, network):
    """H = 1.5 ln 2 and ln 3; dH / dz_j = -p_j (ln p_j + H)."""
    terms = vat().losses(LETTERS, step)
    assert ratio(terms["entropy"]) == pytest.approx(0.06 * (1.5 * LN2 + log(3)) / 2)
    terms["entropy"].total.sum().backward()
    # ln p + H = (1/2, -1/2, -1/2) ln 2, and 0 for the uniform row
    expected = 0.06 * LN2 * torch.tensor([[-1 / 4, 1 / 8, 1 / 8], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(step.predictions[UNLABELED].grad, expected)
    assert network.weight.grad is None
    assert ratio(vat(entropy=0).losses(LETTERS, step)["entropy"]) == 0.0


def test_lambda_and_ramp_scale_vat_alone():
    objective = Objective(LETTERS, VAT(), gamma=2.0, lam=0.3, ramp=LinearRamp(0.4))
    for number, share in ((0, 0.0), (20, 0.5), (40, 1.0)):
        assert objective.coefficient("vat", number, 100) == pytest.approx(2.0 * 0.3 * share)
        assert objective.coefficient("entropy", number, 100) == objective.coefficient("supervised", number, 100) == 2.0


@pytest.mark.parametrize("iterations", [1, 3])
def test_passes_are_counted(step, iterations):
    vat(iterations=iterations).losses(LETTERS, step)
    clean = [("batch", False)]
    assert [(bn, grad) for _, bn, grad in step.predicted] == clean + [("batch", True)] * (iterations + 1)


def test_the_clean_prediction_is_made_of_these_rows_alone(step):
    """With other rows in one pass, batch normalization tells two predictions of an image apart."""
    step.predictions[UNLABELED._replace(bn="update")] = step.predictions.pop(UNLABELED) + 1.0
    vat(bn_update="all").losses(LETTERS, step)
    assert [(bn, grad) for _, bn, grad in step.predicted] == [("batch", False), ("batch", True), ("batch", True)]


def test_the_search_is_done_in_float32(step, network):
    network.autocast.clear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vat().losses(LETTERS, step)
    # bfloat16 and float32 differ by more than xi, so the search compares with a clean prediction of its own
    assert network.autocast == [True, False, False, True]
    assert [grad for _, _, grad in step.predicted] == [False, False, True, True]


def test_lengths_are_those_of_small_images_in_minus_one_to_one():
    assert VAT().length(6.0, torch.zeros(5, 3, 32, 32)) == 3.0
    assert VAT().length(6.0, torch.zeros(5, 3, 64, 64)) == 6.0
    assert VAT(scale_with_size=False).length(6.0, torch.zeros(5, 3, 64, 64)) == 3.0
    assert VAT().length(6.0, torch.zeros(0, 1, 32, 96)) == 3.0


def test_every_row_moves_as_far_as_the_others(fake_step):
    """Gradients grow with the square of these scales."""
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([1.0, 0.1, 0.01, 10.0])[:, None]

    def network(x):
        return scale * torch.stack([x.mean(dim=(1, 2, 3)), x[:, 0, 0, 0], x[:, 1].mean(dim=(1, 2))], dim=1)

    step = fake_step(
        {LABELED: torch.zeros(1, 3), UNLABELED: network(images)},
        Labels(torch.tensor([0]), torch.ones(1)),
        images={IMAGES: images},
        network=network,
    )
    VAT(6.0, xi=1e-2).losses(LETTERS, step)
    distance = (step.predicted[-1][0] - images).flatten(1).norm(dim=1)
    torch.testing.assert_close(distance, torch.full((4,), 3.0 * math.sqrt(192 / 3072)), rtol=1e-3, atol=0)


def test_a_step_below_the_resolution_leaves_the_random_direction(fake_step, monkeypatch):
    """At bright pixels the published xi vanishes in float32: the gradient is exactly 0, and VAT would do nothing."""
    images = torch.full((2, 3, 32, 32), 0.9)

    def network(x):
        return torch.stack([x.mean(dim=(1, 2, 3)), x[:, 0, 0, 0], x[:, 1, 5, 5]], dim=1)

    step = fake_step(
        {LABELED: torch.zeros(1, 3), UNLABELED: network(images)},
        Labels(torch.tensor([0]), torch.ones(1)),
        images={IMAGES: images},
        network=network,
    )
    signs = step.noise("unlabeled", (3, 32, 32)).sign()
    monkeypatch.setattr(step, "noise", lambda rows, shape: signs)
    loss = VAT().losses(LETTERS, step)["vat"]
    assert torch.equal(step.predicted[0][0], images)
    unit = signs / math.sqrt(3072)
    torch.testing.assert_close(step.predicted[-1][0] - images, 3.0 * unit, rtol=1e-3, atol=1e-5)
    assert (loss.total > 0).all()


def test_masks_and_what_is_told_follow_the_clean_prediction(step, ratio):
    terms = vat(ood_mask=OODMask(0.5)).losses(LETTERS, step)
    assert terms["vat"].count.tolist() == terms["entropy"].count.tolist() == [1.0, 0.0]
    assert ratio(terms["entropy"]) == pytest.approx(0.06 * 1.5 * LN2)
    assert step.logged["confidence"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert [(view, rows) for view, rows, _ in step.audited] == [("weak", "unlabeled")]


def test_masks_of_pixels_are_perturbed_per_image(fake_step):
    """Each pixel's logit is three times its brightness: KL between Bernoullis, counted per pixel."""
    lungs = Segmentation("lungs", classes=("lung",))
    images = torch.tensor([[0.2, 0.4], [0.1, 0.3]]).reshape(2, 1, 1, 2)

    def network(x):
        return 3.0 * x

    step = fake_step(
        {LABELED: network(images), UNLABELED: network(images)},
        Labels(torch.zeros(2, 1, 2).long(), torch.ones(2, 1, 2)),
        images={IMAGES: images},
        network=network,
    )
    loss = vat(epsilon=1.0).losses(lungs, step)["vat"]
    moved = step.predicted[-1][0]
    torch.testing.assert_close((moved - images).flatten(1).norm(dim=1), torch.full((2,), 0.5), rtol=1e-3, atol=0)
    p, q = (3 * images).sigmoid(), (3 * moved).sigmoid()
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(loss.total, expected.sum(dim=(1, 2, 3)), rtol=1e-4, atol=1e-6)
    assert loss.count.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("fields", [{"epsilon": 0}, {"xi": 0}, {"iterations": 0}, {"entropy": -0.1}, {"kl": "both"}])
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        VAT(**fields)


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
def test_a_real_step(task):
    base, _ = run(task, Supervised())
    step, values = run(task, VAT(), lam=0.3)
    total = values["task/supervised"] + 0.3 * values["task/vat"] + values["task/entropy"]
    torch.testing.assert_close(values["loss"], total)
    assert values["task/vat"] > 0
    assert values["task/entropy"] > 0
    assert 0 <= values["task/precision"] <= 1
    assert not torch.allclose(encoder_gradient(step), encoder_gradient(base), rtol=1e-3)
    assert torch.equal(running(step.student), running(base.student))
    everything, _ = run(task, VAT(bn_update="all"))
    assert not torch.allclose(running(everything.student), running(base.student))


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
def test_the_found_direction_is_worse_than_a_random_one(task, monkeypatch):
    _, once = run(task, VAT(xi=1.0))
    _, thrice = run(task, VAT(xi=1.0, iterations=3))
    _, published = run(task, VAT())

    def random(self, task, step, images, clean):
        noise = step.noise("unlabeled", tuple(images.shape[1:]))
        return noise / noise.flatten(1).norm(dim=1)[:, None, None, None]

    monkeypatch.setattr(VAT, "direction", random)
    _, chance = run(task, VAT())
    assert published["task/vat"] > 1.3 * chance["task/vat"]
    assert thrice["task/vat"] > once["task/vat"] > 1.3 * chance["task/vat"]


@pytest.mark.parametrize("task", [DIAGNOSIS, LUNGS], ids=lambda task: task.kind)
@pytest.mark.parametrize(("rows", "absent"), [("labeled", ("vat", "entropy")), ("unlabeled", ("supervised",))])
def test_terms_without_rows_are_zero(task, rows, absent):
    step, values = run(task, VAT(), rows=rows)
    assert list(values)[:3] == ["task/supervised", "task/vat", "task/entropy"]
    assert all(values[f"task/{name}"] == 0.0 for name in absent)
    assert encoder_gradient(step).isfinite().all()


def test_another_tasks_rows_are_no_perturbation():
    """With batch normalization a pass that two tasks share predicts otherwise than the adversarial pass of one."""
    base = study(VAT(epsilon=1e-7))
    kind, (labeled, unlabeled) = base.objectives[0], base.sources
    shared = base.replace(
        objectives=(kind, Objective(kind.task.replace(name="other"), PiModel())),
        sources=(
            labeled.replace(serves=("kind", "other")),
            unlabeled,
            Source("elsewhere", SHAPES.replace(first=500, samples=10), serves=("other",), hide_labels=True),
        ),
        streams=PerSource(labeled=0, unlabeled=4),
        test=(),
    )
    batch = next(training_loader(open_sources(shared), start=0, stop=1, rank=0, world=1, workers=0, pin=False))
    torch.manual_seed(0)
    values = TrainStep(shared).train()(batch, 0)[1]
    assert values["other/consistency"] > 0
    assert values["kind/vat"].item() == pytest.approx(0.0, abs=1e-7)
