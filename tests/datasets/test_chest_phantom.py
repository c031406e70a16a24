"""The chest phantom: a pure function of its index, truthful annotations, and no shortcut through brightness."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import label as components
from scipy.stats import rankdata

from ssmtl.component import resolve
from ssmtl.datasets.base import Reader
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.datasets.chest_phantom_anatomy import soft, texture

SMALL = ChestPhantom(samples=160, canvas=(48, 48))
GOLDEN = {
    "mean": 121.80,
    "std": 73.34,
    "lungs": 0.2404,
    "opacity": 0.02835,
    "diagnoses": [0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0],
}


@pytest.fixture(scope="module")
def films():
    table = SMALL.open()
    return [table.film(row) for row in range(len(table))]


@pytest.fixture(scope="module")
def diagnoses():
    return SMALL.open().labels()


def digest(table, rows):
    content = hashlib.sha256()
    for row in rows:
        sample = table[row]
        content.update(sample.name.encode() + sample.image.tobytes() + sample.annotations["mask"].tobytes())
        content.update(bytes([sample.annotations["label"]]))
    return content.hexdigest()


def auc(score, truth):
    ranks, positive = rankdata(score), truth.sum()
    return (ranks[truth == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(truth) - positive))


def test_a_film_depends_on_its_index_alone():
    table = SMALL.open()
    forwards = [table[row].image for row in range(4)]
    again = ChestPhantom(samples=4, canvas=(48, 48)).open()
    for row in (3, 1, 2, 0):
        np.testing.assert_array_equal(again[row].image, forwards[row])


def test_another_process_draws_the_same_films():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_chest_phantom as t; "
        "print(t.digest(t.SMALL.open(), range(3)))"
    )
    folder = __file__.rpartition("/")[0]
    there = subprocess.run(
        [sys.executable, "-c", program, folder], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "7"}
    )
    assert there.stdout.strip() == digest(SMALL.open(), range(3))


def test_a_table_survives_pickling_and_its_reader_survives_json():
    table = pickle.loads(pickle.dumps(SMALL.open()))
    assert digest(table, [5]) == digest(SMALL.open(), [5])
    assert Reader.model_validate_json(SMALL.model_dump_json()) == SMALL
    assert resolve("readers", "ChestPhantom") is ChestPhantom


def test_first_moves_the_window_within_a_split():
    later = SMALL.replace(first=7, samples=5).open()
    for row in range(5):
        assert later.name(row) == SMALL.open().name(row + 7)
        assert later.labels()[row] == SMALL.open().labels()[row + 7]
    np.testing.assert_array_equal(later[2].image, SMALL.open()[9].image)


@pytest.mark.parametrize("change", [{"split": "val"}, {"split": "test"}, {"seed": 1}, {"hospital": "b"}])
def test_splits_seeds_and_hospitals_share_no_film(change):
    here, there = SMALL.open(), SMALL.replace(**change).open()
    assert not {here.name(row) for row in range(160)} & {there.name(row) for row in range(160)}
    assert not any(np.array_equal(here[0].image, there[row].image) for row in range(4))
    assert not np.array_equal(here.labels(), there.labels())


def test_labels_equal_what_the_samples_say_and_are_balanced():
    table = ChestPhantom(samples=40, canvas=(16, 16)).open()
    assert [table[row].annotations["label"] for row in range(40)] == table.labels().tolist()
    assert table.labels().dtype == np.int32
    many = ChestPhantom(samples=20_000).open().labels()
    assert (many.reshape(-1, 2).sum(axis=1) == 1).all()
    firsts = many[::2]
    assert abs(firsts.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(firsts[1:], firsts[:-1])[0, 1]) < 0.03


def test_the_first_of_a_pair_may_lie_outside_the_window():
    whole = ChestPhantom(samples=100).open().labels()
    np.testing.assert_array_equal(ChestPhantom(samples=99, first=1).open().labels(), whole[1:])


def test_a_table_answers_for_every_film_without_drawing(monkeypatch):
    monkeypatch.setattr("ssmtl.datasets.chest_phantom.pose", None)
    table = ChestPhantom(samples=1000).open()
    assert len(table) == len(table.labels()) == len(set(table.patients())) == 1000
    assert table.annotated("label").all()
    assert table.annotated("mask").all()
    assert not table.annotated("boxes").any()
    with pytest.raises(IndexError, match="row 1000 of a phantom with 1000 films"):
        table[1000]


def test_masks_are_two_lungs_inside_the_film(films):
    areas = np.array([film.lungs.mean() for film in films])
    assert areas.min() > 0.06
    assert areas.max() < 0.55
    assert areas.std() > 0.03
    pieces = [np.sort(np.bincount(components(film.lungs, np.ones((3, 3)))[0].ravel())[1:])[::-1] for film in films]
    assert np.mean([len(sizes) == 2 for sizes in pieces]) > 0.95
    assert all(sizes[1] > 0.25 * sizes[0] for sizes in pieces)
    on_border = [np.r_[film.lungs[0], film.lungs[-1], film.lungs[:, 0], film.lungs[:, -1]].mean() for film in films]
    assert np.mean(on_border) < 0.02


def test_the_heart_indents_the_lung_on_the_right_of_the_film(films):
    inner = slice(18, 30)
    tissue = [~film.lungs[24:32, inner] for film in films]
    assert np.mean([half[:, 6:].sum() - half[:, :6].sum() for half in tissue]) > 3


def test_pneumonia_lies_in_the_lungs_of_the_ill_and_only_there(films, diagnoses):
    for film, ill in zip(films, diagnoses, strict=True):
        assert film.opacity.min() >= 0
        assert film.opacity.max() <= 1
        assert not film.opacity[~film.lungs].any()
        assert (film.opacity.max() > 0.2) == bool(ill)


def test_pneumonia_is_brighter_than_the_lung_around_it(films, diagnoses):
    ill = [film for film, diagnosis in zip(films, diagnoses, strict=True) if diagnosis]
    gaps = [
        film.image[film.opacity > 0.5].mean() - film.image[film.lungs & (film.opacity < 0.1)].mean()
        for film in ill
        if (film.opacity > 0.5).sum() > 8
    ]
    assert len(gaps) > 0.6 * len(ill)
    assert np.mean(gaps) > 25
    assert np.mean(np.array(gaps) > 0) > 0.9


def test_brightness_alone_does_not_tell_the_classes_apart(films, diagnoses):
    whole = auc([film.image.mean() for film in films], diagnoses)
    lungs = auc([film.image[film.lungs].mean() for film in films], diagnoses)
    assert 0.35 < whole < 0.65
    assert lungs < 0.75


def test_hospitals_differ_like_scanners_do(films):
    table = SMALL.replace(hospital="b").open()
    others = [table.film(row) for row in range(len(table))]

    def grain(film):
        image = film.image.astype(float)
        return np.abs(np.diff(image, n=2, axis=0)).mean() / image.std()

    def air(film):
        return np.mean(film.image < 8)

    for measure in (grain, air):
        here, there = (np.array([measure(film) for film in group]) for group in (films, others))
        assert abs(here.mean() - there.mean()) > 0.4 * here.std(), measure.__name__


def test_golden_statistics(films, diagnoses):
    images = np.stack([film.image for film in films]).astype(float)
    assert images.mean() == pytest.approx(GOLDEN["mean"], abs=0.5)
    assert images.std() == pytest.approx(GOLDEN["std"], abs=0.5)
    assert np.mean([film.lungs.mean() for film in films]) == pytest.approx(GOLDEN["lungs"], abs=0.002)
    assert np.mean([film.opacity.mean() for film in films]) == pytest.approx(GOLDEN["opacity"], abs=0.0005)
    assert diagnoses[8:24].tolist() == GOLDEN["diagnoses"]


@pytest.mark.parametrize("canvas", [(8, 8), (64, 96), (96, 64), (33, 47), (16, 200)])
def test_any_canvas(canvas):
    sample = ChestPhantom(samples=3, canvas=canvas, channels=3).open()[1]
    assert sample.image.shape == (3, *canvas)
    assert sample.image.dtype == np.uint8
    assert (sample.image == sample.image[0]).all()
    mask = sample.annotations["mask"]
    assert mask.shape == canvas
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    assert sample.size == sample.source_size == canvas


@pytest.mark.parametrize("row", range(4))
def test_the_canvas_decides_only_how_finely_a_film_is_sampled(row):
    fine = ChestPhantom(samples=4, canvas=(128, 128)).open().film(row)
    coarse = ChestPhantom(samples=4, canvas=(64, 64)).open().film(row)

    def shrink(plane):
        return plane.reshape(64, 2, 64, 2).mean(axis=(1, 3))

    shrunk = shrink(fine.lungs.astype(float)) > 0.5
    assert (shrunk & coarse.lungs).sum() / (shrunk | coarse.lungs).sum() > 0.92
    assert np.abs(shrink(fine.opacity) - coarse.opacity).mean() < 0.01
    assert np.corrcoef(shrink(fine.image.astype(float)).ravel(), coarse.image.ravel())[0, 1] > 0.9


def test_classes_by_name():
    assert SMALL.classes("label") == ("NORMAL", "PNEUMONIA")
    assert SMALL.classes("mask") == ("background", "lung")
    assert SMALL.classes("boxes") == ()


@pytest.mark.parametrize(
    "bad", [{"samples": 0}, {"hospital": "c"}, {"split": "dev"}, {"first": -1}, {"seed": -1}, {"canvas": (4, 64)}]
)
def test_bad_fields_are_refused_where_they_are(bad):
    with pytest.raises(ValidationError) as error:
        ChestPhantom(**bad)
    assert error.value.errors()[0]["loc"][0] == next(iter(bad))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(8, 90), width=st.integers(8, 90), cells=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_texture_is_finite_smooth_noise_of_any_size(height, width, cells, seed):
    noise = texture((height, width), cells, np.random.default_rng(seed))
    assert noise.shape == (height, width)
    assert noise.dtype == np.float32
    assert np.abs(noise).max() < 12


def test_texture_has_zero_mean_and_unit_variance():
    noise = np.stack([texture((64, 64), 16, np.random.default_rng(seed)) for seed in range(40)])
    assert abs(noise.mean()) < 0.06
    assert noise.std() == pytest.approx(1.0, abs=0.1)


def test_soft_is_a_step_with_known_values():
    distance = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0], np.float32)
    np.testing.assert_allclose(soft(distance, 1.0), [0, 0, 0.15625, 0.5, 0.84375, 1, 1])
