"""The shapes phantom: a pure function of its index, ten balanced classes, and figures that are what they are called."""

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

from ssmtl.component import resolve
from ssmtl.datasets.base import Reader
from ssmtl.datasets.shapes_phantom import FIGURES, LABELS, TEXTURES, ShapesPhantom
from ssmtl.datasets.shapes_phantom_patterns import FIGURE_PATTERNS, TEXTURE_PATTERNS
from ssmtl.datasets.shapes_phantom_scene import HUES, draw

SMALL = ShapesPhantom(samples=400)
GOLDEN = {"mean": 106.44, "std": 58.22, "labels": [7, 2, 3, 1, 4, 0, 6, 5, 8, 9, 6, 8, 4, 3, 2, 5, 0, 1, 9, 7]}


@pytest.fixture(scope="module")
def images():
    table = SMALL.open()
    return np.stack([table[row].image for row in range(len(table))]).astype(float)


@pytest.fixture(scope="module")
def labels():
    return SMALL.open().labels()


def digest(table, rows):
    content = hashlib.sha256()
    for row in rows:
        sample = table[row]
        content.update(f"{sample.name} {sample.annotations['label']}".encode() + sample.image.tobytes())
    return content.hexdigest()


def places(side):
    axis = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)
    return np.meshgrid(axis, axis)


def test_an_image_depends_on_its_index_alone():
    table = SMALL.open()
    forwards = [table[row].image for row in range(4)]
    again = SMALL.replace(samples=4).open()
    for row in (3, 1, 2, 0):
        np.testing.assert_array_equal(again[row].image, forwards[row])


def test_another_process_draws_the_same_images():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_shapes_phantom as t; "
        "print(t.digest(t.SMALL.open(), range(10)))"
    )
    folder = __file__.rpartition("/")[0]
    there = subprocess.run(
        [sys.executable, "-c", program, folder], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "7"}
    )
    assert there.stdout.strip() == digest(SMALL.open(), range(10))


def test_a_table_survives_pickling_and_its_reader_survives_json():
    table = pickle.loads(pickle.dumps(SMALL.open()))
    assert digest(table, [5]) == digest(SMALL.open(), [5])
    assert Reader.model_validate_json(SMALL.model_dump_json()) == SMALL
    assert resolve("readers", "ShapesPhantom") is ShapesPhantom


def test_first_moves_the_window_within_a_split():
    whole, later = SMALL.open(), SMALL.replace(first=7, samples=25).open()
    assert [later.name(row) for row in range(25)] == [whole.name(row + 7) for row in range(25)]
    np.testing.assert_array_equal(later.labels(), whole.labels()[7:32])
    np.testing.assert_array_equal(later[2].image, whole[9].image)


@pytest.mark.parametrize("change", [{"split": "val"}, {"split": "test"}, {"seed": 1}])
def test_splits_and_seeds_share_no_image(change):
    here, there = SMALL.open(), SMALL.replace(**change).open()
    assert not {here.name(row) for row in range(400)} & {there.name(row) for row in range(400)}
    assert not any(np.array_equal(here[0].image, there[row].image) for row in range(20))
    assert not np.array_equal(here.labels(), there.labels())


def test_labels_equal_what_the_samples_say_and_every_ten_show_every_class():
    table = SMALL.replace(samples=40).open()
    labels = table.labels()
    assert [table[row].annotations["label"] for row in range(40)] == labels.tolist()
    assert labels.dtype == np.int32
    many = ShapesPhantom(samples=20_000).open().labels().reshape(-1, 10)
    assert (np.sort(many, axis=1) == np.arange(10)).all()
    shares = np.array([(many[:, place] == c).mean() for place in range(10) for c in range(10)])
    assert np.abs(shares - 0.1).max() < 0.03
    assert abs((many[1:] == many[:-1]).mean() - 0.1) < 0.02


def test_classes_are_six_figures_and_four_textures():
    assert SMALL.classes("label") == FIGURES + TEXTURES
    assert (len(FIGURES), len(TEXTURES), len(set(LABELS))) == (6, 4, 10)
    assert SMALL.classes("mask") == SMALL.classes("boxes") == ()


def test_a_table_answers_for_every_image_without_drawing(monkeypatch):
    monkeypatch.setattr("ssmtl.datasets.shapes_phantom.draw", None)
    table = ShapesPhantom(samples=1000).open()
    assert len(table) == len(table.labels()) == 1000
    assert table.annotated("label").all()
    assert not table.annotated("mask").any()
    assert table.patients() is None
    assert table.made_of(3, "label") == (b"train/0-00000003",)
    assert not getattr(table, "in_memory", False)
    with pytest.raises(IndexError, match="row 1000 of a phantom with 1000 images"):
        table[1000]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_piece_that_reaches_from_its_center_to_about_1(name):
    x, y = places(201)
    ink = FIGURE_PATTERNS[name](1.25 * x, 1.25 * y) > 0
    assert components(ink, np.ones((3, 3)))[1] == 1
    assert 0.75 < np.hypot(1.25 * x, 1.25 * y)[ink].max() < 1.35
    assert 0.06 < ink.mean() < 0.4


def test_figures_have_the_areas_of_geometry():
    """Disk pi r^2, square (2a)^2, equilateral triangle 3 sqrt(3) r^2 of inradius r, cross 2(2a)(2b) - (2a)^2."""
    x, y = places(1001)
    area = {name: 4 * (pattern(x, y) > 0).mean() for name, pattern in FIGURE_PATTERNS.items()}
    assert area["disk"] == pytest.approx(np.pi * 0.8**2, rel=0.01)
    assert area["square"] == pytest.approx(1.42**2, rel=0.01)
    assert area["cross"] == pytest.approx(8 * 0.27 * 0.95 - 4 * 0.27**2, rel=0.02)
    wide = 4 * 1.2**2 * (FIGURE_PATTERNS["triangle"](1.2 * x, 1.2 * y) > 0).mean()
    assert wide == pytest.approx(3 * np.sqrt(3) * 0.56**2, rel=0.01)
    # Pentagon of inradius r, and on each of its sides a triangle with the angle 72 degrees at both ends.
    half = 0.36 * np.tan(np.pi / 5)
    star = 4 * 1.4**2 * (FIGURE_PATTERNS["star"](1.4 * x, 1.4 * y) > 0).mean()
    assert star == pytest.approx(5 * half * 0.36 + 5 * half**2 * np.tan(2 * np.pi / 5), rel=0.01)


@pytest.mark.parametrize(("name", "times"), [("square", 4), ("triangle", 3), ("star", 5), ("cross", 4)])
def test_figures_have_the_symmetry_of_their_corners_and_no_other(name, times):
    x, y = places(101)

    def turned(angle):
        u, v = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
        return FIGURE_PATTERNS[name](u.astype(np.float32), v.astype(np.float32)) > 0

    assert (turned(0) == turned(2 * np.pi / times)).mean() > 0.995
    assert (turned(0) == turned(np.pi / times)).mean() < 0.97


@pytest.mark.parametrize("name", TEXTURES)
def test_a_texture_covers_the_plane_again_and_again(name):
    x, y = places(64)
    pattern = TEXTURE_PATTERNS[name]
    np.testing.assert_allclose(pattern(2 * x + 2, 2 * y), pattern(2 * x, 2 * y), atol=1e-5)
    np.testing.assert_allclose(pattern(2 * x, 2 * y + 4), pattern(2 * x, 2 * y), atol=1e-5)
    for half in (np.s_[:32], np.s_[32:]):
        for side in (np.s_[:32], np.s_[32:]):
            assert 0.15 < (pattern(2 * x, 2 * y)[half, side] > 0).mean() < 0.7


def test_families_look_different_and_differ_in_more_than_brightness(images, labels):
    """The outermost pixels of a figure's image show calm ground, those of a texture's image both colors."""
    gray = images.mean(axis=1)
    rim = np.concatenate([gray[:, :2].reshape(400, -1), gray[:, -2:].reshape(400, -1)], axis=1).std(axis=1)
    figures = labels < len(FIGURES)
    assert np.median(rim[~figures]) > 2.5 * np.median(rim[figures])
    levels = [gray[labels == c].mean() for c in range(10)]
    spread = gray.mean(axis=(1, 2))[figures].std()
    assert np.ptp(levels[: len(FIGURES)]) < 2 * spread


def test_classes_favor_hues_but_do_not_own_them(images, labels):
    """The nearest favored hue of the ink's color names the figure more often than chance, and is often wrong."""
    figures = labels < len(FIGURES)
    shown = images[figures]
    bright = shown.mean(axis=1).reshape(len(shown), -1)
    inked = bright > np.quantile(bright, 0.85, axis=1, keepdims=True)
    color = np.stack(
        [plane[mask].mean() for image, mask in zip(shown, inked, strict=True) for plane in image.reshape(3, -1)]
    )
    wave = color.reshape(-1, 3) @ np.exp(2j * np.pi * np.arange(3) / 3)
    favored = np.array([HUES[name] for name in FIGURES])
    guess = np.argmax(np.cos(np.angle(wave)[:, None] - favored), axis=1)
    assert 0.35 < (guess == labels[figures]).mean() < 0.8


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(LABELS), height=st.integers(8, 70), width=st.integers(8, 70), seed=st.integers(0, 2**63))
def test_any_class_is_drawn_on_any_canvas_without_running_into_black_or_white(name, height, width, seed):
    image = draw(name, (height, width), np.random.default_rng(seed))
    assert image.shape == (3, height, width)
    assert image.dtype == np.uint8
    assert np.isin(image, (0, 255)).mean() < 0.5
    assert image.std() > 4


@pytest.mark.parametrize("row", range(10))
def test_the_canvas_decides_only_how_finely_an_image_is_sampled(row):
    fine = SMALL.replace(canvas=(128, 128)).open()[row].image.astype(float)
    coarse = SMALL.replace(canvas=(64, 64)).open()[row].image.astype(float)
    shrunk = fine.reshape(3, 64, 2, 64, 2).mean(axis=(2, 4))
    assert np.corrcoef(shrunk.ravel(), coarse.ravel())[0, 1] > 0.85


def test_gray_images_are_the_mean_of_the_colors():
    gray, color = SMALL.replace(channels=1).open()[4], SMALL.open()[4]
    assert gray.image.shape == (1, 32, 32)
    assert gray.image.dtype == np.uint8
    assert np.abs(gray.image[0] - color.image.mean(axis=0)).max() <= 0.5
    assert gray.annotations == color.annotations
    assert gray.size == gray.source_size == (32, 32)


def test_figures_stay_in_sight_when_shifted_by_an_eighth():
    """FixMatch's weak view shifts by up to 4 of 32 pixels; most of the figure's 0.8 then still lies within 1."""
    for seed in range(60):
        image = draw(FIGURES[seed % 6], (32, 32), np.random.default_rng(seed)).mean(axis=0)
        rim = np.concatenate([image[:2].ravel(), image[-2:].ravel(), image[:, :2].ravel(), image[:, -2:].ravel()])
        core = image[4:-4, 4:-4]
        assert np.quantile(core, 0.9) > np.median(rim) + 15


def test_golden_statistics(images, labels):
    assert images.mean() == pytest.approx(GOLDEN["mean"], abs=0.3)
    assert images.std() == pytest.approx(GOLDEN["std"], abs=0.3)
    assert labels[:20].tolist() == GOLDEN["labels"]


@pytest.mark.parametrize("bad", [{"samples": 0}, {"split": "dev"}, {"first": -1}, {"seed": -1}, {"channels": 2}])
def test_bad_fields_are_refused_where_they_are(bad):
    with pytest.raises(ValidationError) as error:
        ShapesPhantom(**bad)
    assert error.value.errors()[0]["loc"][0] == next(iter(bad))
