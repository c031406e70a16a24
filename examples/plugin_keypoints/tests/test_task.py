"""Losses, pseudo-labels and answers of Keypoints, against numbers worked out by hand."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.models.multimix_unet import MultiMixDecoder, MultiMixEncoder
from ssmtl.task import Audited, Bounded, Confident, Croppable, Exportable, PseudoLabels, Reversible, Summarized
from ssmtl_keypoints import Keypoints, Points, PointsAnswer

SIZE = (16, 20)
TASK = Keypoints("face", points=("a", "b"), sigma=1.0)


def points(xy=((5.0, 4.0), (12.0, 9.0)), weight=(1.0, 1.0), present=(True, True)):
    return Points(torch.tensor([xy]), torch.tensor([weight]), torch.tensor([present]), torch.tensor([SIZE]))


def peaks(*maps):
    """Logits of one row whose maps hold these probabilities at (row, column), and next to nothing elsewhere."""
    logits = torch.full((1, len(maps), *SIZE), -60.0)
    for index, places in enumerate(maps):
        for (row, column), probability in places.items():
            logits[0, index, row, column] = math.log(probability)
    return logits


@pytest.mark.parametrize(
    "ability", [Audited, Bounded, Confident, Croppable, Exportable, PseudoLabels, Reversible, Summarized]
)
def test_abilities(ability):
    assert isinstance(TASK, ability)


def test_the_loss_of_an_even_map_is_the_log_of_its_pixels_less_the_gaussians_entropy():
    # A Gaussian of sigma 1 that the grid hardly cuts has the entropy log(2 pi e) nats in two dimensions.
    loss = TASK.supervised_loss(torch.zeros(1, 2, *SIZE), points())
    expected = 2 * (math.log(16 * 20) - math.log(2 * math.pi * math.e))
    assert loss.total.item() == pytest.approx(expected, abs=2e-3)
    assert loss.count.item() == 2


def test_the_loss_of_the_gaussian_itself_is_zero():
    assert TASK.supervised_loss(TASK.as_prediction(points()), points()).total.item() == pytest.approx(0, abs=1e-5)


def test_the_loss_of_a_gaussian_elsewhere_is_half_the_squared_distance():
    # KL between two Gaussians of one sigma is d^2 / (2 sigma^2).
    elsewhere = TASK.as_prediction(points(xy=((7.0, 4.0), (12.0, 8.0))))
    assert TASK.supervised_loss(elsewhere, points()).total.item() == pytest.approx(4 / 2 + 1 / 2, abs=2e-2)


def test_unknown_points_have_no_influence_and_no_gradient():
    pred = torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    one = points(weight=(1.0, 0.0), present=(True, False))
    other = points(xy=((5.0, 4.0), (0.0, 0.0)), weight=(1.0, 0.0), present=(True, False))
    loss = TASK.supervised_loss(pred, one)
    assert loss.count.item() == 1
    assert torch.equal(loss.total, TASK.supervised_loss(pred, other).total)
    loss.total.sum().backward()
    assert pred.grad[0, 0].abs().sum() > 0
    assert pred.grad[0, 1].abs().sum() == 0


def test_the_unsupervised_mean_is_over_points_in_the_view_trusted_or_not():
    pred = torch.zeros(1, 2, *SIZE)
    trusted = TASK.unsupervised_loss(pred, points(weight=(1.0, 0.0)))
    gone = TASK.unsupervised_loss(pred, points(weight=(1.0, 0.0), present=(True, False)))
    assert trusted.count.item() == 2
    assert gone.count.item() == 1
    assert torch.equal(trusted.total, gone.total)


def test_pseudo_labels_are_the_peaks_that_are_likely_enough():
    pred = peaks({(4, 5): 0.5, (4, 6): 0.3, (14, 18): 0.2}, {(9, 12): 0.4, (2, 2): 0.3, (14, 2): 0.3}).requires_grad_()
    target = TASK.pseudo_label(pred, 0.6)
    assert not target.xy.requires_grad
    assert target.xy[0, 0].tolist() == pytest.approx([5 + 0.3 / 0.8, 4], abs=1e-4)
    assert target.xy[0, 1].tolist() == pytest.approx([12, 9], abs=1e-4)
    assert target.weight.tolist() == [[1, 0]]
    assert target.present.all()
    assert TASK.confidence(pred).item() == pytest.approx((0.8 + 0.4) / 2, abs=1e-4)


@given(seed=st.integers(0, 100), thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_a_higher_threshold_keeps_no_more(seed, thresholds):
    pred = 8 * torch.randn(3, 2, *SIZE, generator=torch.Generator().manual_seed(seed))
    low, high = (TASK.pseudo_label(pred, threshold) for threshold in thresholds)
    assert (low.weight >= high.weight).all()
    assert torch.equal(low.xy, high.xy)


def test_what_is_told_of_pseudo_labels():
    pred = peaks({(4, 5): 1.0}, {(9, 12): 0.5, (2, 2): 0.5})
    told = TASK.summarize(pred, points(weight=(1.0, 0.0)))
    assert (told["coverage"].total / told["coverage"].count).item() == 0.5
    assert told["confidence"].total.item() == pytest.approx(0.75, abs=1e-4)


def test_the_audit_counts_trusted_points_within_a_tenth_of_the_faces_extent():
    # The hidden points span 7 columns and 5 rows: 0.7 pixels are near enough.
    near, far = points(xy=((5.6, 4.0), (12.0, 9.8))), points(xy=((5.8, 4.0), (12.0, 9.0)), weight=(1.0, 0.0))
    found = TASK.audit(near, points())["precision"]
    assert (found.total.item(), found.count.item()) == (1, 2)
    found = TASK.audit(far, points())["precision"]
    assert (found.total.item(), found.count.item()) == (0, 1)


def test_places_scale_to_the_source_image():
    (answer,) = TASK.decode(TASK.as_prediction(points()), [(32, 60)])
    assert answer.xy[0].tolist() == pytest.approx([5.5 * 3 - 0.5, 4.5 * 2 - 0.5], abs=0.05)
    assert answer.names == ("a", "b")
    assert (answer.confidence > 0.98).all()


def test_a_record_is_a_row_and_an_object_in_coco_s_terms():
    answer = PointsAnswer(("a", "b"), np.array([[3.25, 4], [10, 20]], np.float32), np.array([0.9, 0.4], np.float32))
    record = TASK.record(answer)
    assert record.columns["face_a_x"] == "3.25"
    assert record.columns["face_b_confidence"] == "0.4000"
    assert list(record.columns) == [f"face_{name}_{what}" for name in "ab" for what in ("x", "y", "confidence")]
    (person,) = record.objects
    assert person["category"] == "face"
    assert person["keypoints"] == [3.25, 4, 2, 0, 0, 0]
    assert person["num_keypoints"] == 1
    assert person["bbox"] == [3.75, 4.5, 0, 0]  # pixel edges: the first pixel's center is half a pixel in
    assert person["score"] == pytest.approx(0.9)
    assert json.loads(json.dumps(person)) == person


def test_an_image_without_a_sure_point_has_columns_and_no_object():
    answer = PointsAnswer(("a", "b"), np.zeros((2, 2), np.float32), np.full(2, 0.3, np.float32))
    assert TASK.record(answer).objects == ()
    assert len(TASK.record(answer).columns) == 6


def test_a_point_is_not_found_in_the_padding():
    pred = peaks({(15, 19): 0.9, (3, 3): 0.1}, {(4, 4): 1.0})
    bounded = TASK.bounded(pred, torch.tensor([[10, 12]]))
    assert TASK.pseudo_label(bounded, 0.5).xy[0, 0].tolist() == pytest.approx([3, 3], abs=1e-3)
    assert TASK.bounded(pred, torch.tensor([SIZE])) is pred
    assert TASK.crop(pred, (10, 12)).shape == (1, 2, 10, 12)


def test_any_dense_head_can_make_the_maps():
    encoder = MultiMixEncoder(channels=(4, 8, 8), dropout=0).build(1)
    head = TASK.replace(head=MultiMixDecoder(dropout=0)).build_head(encoder.spec)
    assert head(encoder(torch.zeros(2, 1, 16, 32)), (16, 32), None).shape == (2, 2, 16, 32)


def test_a_fake_batch_lacks_a_point_in_every_fifth_row():
    _, targets = TASK.fake_batch(10, seed=3, size=SIZE)
    assert [target.present.tolist() for target in targets] == [[row % 5 != 4, True] for row in range(10)]
    assert TASK.collate(targets, SIZE).size.tolist() == [list(SIZE)] * 10


def test_a_picture_shows_the_reference_in_green_and_what_was_found_in_red():
    image = torch.full((3, 320, 400), 128, dtype=torch.uint8)
    target = Points(
        torch.tensor([[100.0, 80.0], [300.0, 200.0]]),
        torch.tensor([1.0, 0.0]),
        torch.tensor([True, False]),
        torch.tensor([320, 400]),
    )
    pred = peaks({(4, 5): 1.0}, {(9, 12): 0.4, (2, 2): 0.3, (14, 2): 0.3})[0]
    picture = TASK.draw(image, target, pred)
    assert picture.shape == image.shape
    assert (image == 128).all()

    def colored(red, x, y):
        there = picture[:, y - 9 : y + 10, x - 9 : x + 10].int()
        difference = there[0] - there[1]
        return bool((difference > 100).any() if red else (difference < -100).any())

    assert colored(red=False, x=100, y=80)
    assert colored(red=True, x=110, y=90)  # the map's (5, 4), twenty pixels of the image to one of the map
    assert not colored(red=False, x=300, y=200)  # not annotated
    assert not colored(red=True, x=250, y=190)  # not sure enough
