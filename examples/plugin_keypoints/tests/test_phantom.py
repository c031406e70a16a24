"""The phantom's faces: what is annotated is where it is said to be, and only the side tells left from right."""

import numpy as np
import pytest

from ssmtl.datasets.base import Table, Traceable
from ssmtl_keypoints import FacePhantom
from ssmtl_keypoints.phantom_face import EXPRESSIONS, POINTS, REGIONS

FACES = FacePhantom(samples=60)


@pytest.fixture(scope="module")
def samples():
    table = FACES.open()
    return [table[row] for row in range(len(table))]


def test_it_is_a_table_that_can_be_traced():
    assert isinstance(FACES.open(), Table)
    assert isinstance(FACES.open(), Traceable)


def test_a_face_is_a_function_of_seed_split_and_index(samples):
    again = FACES.replace(first=7, samples=3).open()
    assert again.name(0) == "train/0-00000007"
    for offset in range(3):
        one, other = again[offset], samples[7 + offset]
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.annotations["keypoints"], other.annotations["keypoints"])
        assert one.annotations["label"] == other.annotations["label"]
    assert not np.array_equal(FACES.replace(seed=1).open()[7].image, samples[7].image)
    assert not np.array_equal(FACES.replace(split="val").open()[7].image, samples[7].image)


def test_what_it_annotates():
    assert [kind for kind in ("keypoints", "label", "mask", "boxes") if FACES.annotates(kind)] == [
        "keypoints",
        "label",
        "mask",
    ]
    assert FACES.classes("keypoints") == POINTS
    assert FACES.open().annotated("keypoints").all()
    assert not FACES.open().annotated("boxes").any()


def test_shapes_types_and_values(samples):
    for sample in samples:
        places, mask = sample.annotations["keypoints"], sample.annotations["mask"]
        assert sample.image.shape == (3, 64, 64)
        assert (places.dtype, places.shape) == (np.float32, (5, 3))
        assert set(places[:, 2]) <= {0, 1, 2}
        assert ((places[:, :2] >= -0.5) & (places[:, :2] < 63.5)).all()
        assert set(np.unique(mask)) <= {*range(len(REGIONS))}


def test_expressions_are_dealt_out_evenly(samples):
    labels = FACES.open().labels()
    assert labels.tolist() == [sample.annotations["label"] for sample in samples]
    assert np.bincount(labels).tolist() == [20] * len(EXPRESSIONS)
    assert FACES.open().labels("keypoints") is None


def test_all_visibilities_occur(samples):
    seen = np.concatenate([sample.annotations["keypoints"][:, 2] for sample in samples])
    shares = [(seen == value).mean() for value in (0, 1, 2)]
    assert shares[0] > 0
    assert shares[1] > 0.03
    assert shares[2] > 0.7


def test_left_is_the_persons_own_left(samples):
    """Seen from the nose, going from the eyes' middle to the mouth's, the left eye is on the left-hand side."""
    for sample in samples:
        places = sample.annotations["keypoints"]
        if (places[:, 2] == 0).any():
            continue
        left, right, _, left_mouth, right_mouth = places[:, :2]
        down = (left_mouth + right_mouth - left - right) / 2
        for across in (left - right, left_mouth - right_mouth):
            assert across[0] * down[1] - across[1] * down[0] > 0


def test_visible_points_lie_on_the_face_and_hidden_ones_on_what_hides_them(samples):
    for sample in samples:
        for x, y, visibility in sample.annotations["keypoints"]:
            region = REGIONS[sample.annotations["mask"][round(float(y)), round(float(x))]]
            assert visibility == 0 or (region == "background") == (visibility == 1)


def test_a_larger_canvas_shows_the_same_face_more_finely(samples):
    fine = FACES.replace(canvas=(128, 128)).open()[3].annotations["keypoints"]
    coarse = samples[3].annotations["keypoints"]
    np.testing.assert_allclose(fine[:, :2] / 2, coarse[:, :2], atol=0.01)


def test_gray_faces():
    gray = FACES.replace(channels=1).open()[0]
    assert gray.image.shape == (1, 64, 64)
    with pytest.raises(IndexError, match="row 60 of a phantom with 60 faces"):
        FACES.open()[60]
