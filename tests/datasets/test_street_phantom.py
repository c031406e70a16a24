"""The street phantom: a pure function of its index, boxes that are hulls of what is seen, no shortcut through color."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import binary_fill_holes

from ssmtl.component import resolve
from ssmtl.datasets.base import Reader
from ssmtl.datasets.cached import CachedTable
from ssmtl.datasets.street_phantom import CLASSES, FEWEST_PIXELS, LEAST_SHARE, StreetPhantom, outline
from ssmtl.datasets.street_phantom_backdrop import CAR, PAVEMENT, PEDESTRIAN, ROAD
from ssmtl.datasets.street_phantom_camera import Camera, Grid, mount, project, rays
from ssmtl.datasets.street_phantom_paint import paint
from ssmtl.datasets.street_phantom_things import car, thing
from ssmtl.errors import DataError
from ssmtl.task import BoxList

SMALL = StreetPhantom(samples=160, canvas=(64, 128))
AHEAD = Camera(x=0.0, height=1.5, focal=1.0, horizon=0.0, yaw=0.0, roll=0.0)
GOLDEN = {
    "mean": 111.66,
    "std": 52.71,
    "kinds": [460, 234, 130],
    "shares": [0.2735, 0.0659, 0.2755, 0.0127, 0.1194, 0.1399, 0.0707, 0.0106, 0.0111],
}


@pytest.fixture(scope="module")
def scenes():
    table = SMALL.open()
    return [table.scene(row) for row in range(len(table))]


def digest(table, rows):
    content = hashlib.sha256()
    for row in rows:
        sample = table[row]
        boxes = sample.annotations["boxes"]
        content.update(sample.name.encode() + sample.image.tobytes() + sample.annotations["mask"].tobytes())
        content.update(boxes.xyxy.tobytes() + boxes.labels.tobytes())
    return content.hexdigest()


def panel(left, top, right, bottom, distance, kind=CAR):
    """A flat rectangle whose edges are meters from the optical axis of `AHEAD`, x to the right and y down."""
    corners = [(left, 1.5 - top), (right, 1.5 - top), (right, 1.5 - bottom), (left, 1.5 - bottom)]
    face = np.array([(x, y, distance) for x, y in corners])
    return thing(kind, ((left + right) / 2, distance), [face], [np.ones(3, np.float32)], (1.0, 1.0, 1.0))


def test_a_scene_depends_on_its_index_alone():
    table = SMALL.open()
    forwards = [table[row].image for row in range(4)]
    again = StreetPhantom(samples=4, canvas=(64, 128)).open()
    for row in (3, 1, 2, 0):
        np.testing.assert_array_equal(again[row].image, forwards[row])


def test_another_process_draws_the_same_scenes():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_street_phantom as t; "
        "print(t.digest(t.SMALL.open(), range(3)))"
    )
    folder = __file__.rpartition("/")[0]
    there = subprocess.run(
        [sys.executable, "-c", program, folder], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "7"}
    )
    assert there.stdout.strip() == digest(SMALL.open(), range(3))


def test_a_table_survives_pickling_and_its_reader_survives_json():
    assert digest(pickle.loads(pickle.dumps(SMALL.open())), [5]) == digest(SMALL.open(), [5])
    assert StreetPhantom.model_validate_json(SMALL.model_dump_json(exclude={"type"})) == SMALL
    assert issubclass(StreetPhantom, Reader)


def test_first_moves_the_window_within_a_split():
    later = SMALL.replace(first=7, samples=5).open()
    assert [later.name(row) for row in range(5)] == [SMALL.open().name(row + 7) for row in range(5)]
    assert digest(later, [2]) == digest(SMALL.open(), [9])


@pytest.mark.parametrize("change", [{"split": "val"}, {"split": "test"}, {"seed": 1}])
def test_splits_and_seeds_share_no_scene(change):
    here, there = SMALL.open(), SMALL.replace(**change).open()
    assert not set(here.patients()) & set(there.patients())
    assert not any(np.array_equal(here[0].annotations["mask"], there[row].annotations["mask"]) for row in range(4))


def test_a_table_answers_for_every_scene_without_drawing(monkeypatch):
    monkeypatch.setattr("ssmtl.datasets.street_phantom.mount", None)
    table = StreetPhantom(samples=1000).open()
    assert len(table) == len(set(table.patients())) == 1000
    assert table.labels() is None
    assert table.annotated("mask").all()
    assert table.annotated("boxes").all()
    assert not table.annotated("label").any()
    with pytest.raises(IndexError, match="row 1000 of a phantom with 1000 scenes"):
        table[1000]


def test_boxes_are_the_half_open_hulls_of_what_is_seen(scenes):
    for scene in scenes:
        expected = []
        for number, (label, share) in enumerate(zip(scene.labels, scene.share, strict=True), 1):
            rows, columns = np.nonzero(scene.instances == number)
            assert rows.size > 0
            if rows.size >= FEWEST_PIXELS and share >= LEAST_SHARE:
                edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert len(range(edges[0], edges[2])) == edges[2] - edges[0]
                expected.append((edges, label))
        assert [edges for edges, _ in expected] == scene.boxes.xyxy.tolist()
        assert [label for _, label in expected] == scene.boxes.labels.tolist()
        assert scene.boxes.xyxy.dtype == np.float32
        assert not scene.boxes.crowd.any()


def test_mask_and_instances_tell_the_same_story(scenes):
    for scene in scenes:
        assert scene.instances.max(initial=0) == len(scene.labels)
        kinds = np.append(255, scene.labels + CAR)[scene.instances]
        shown = scene.instances > 0
        np.testing.assert_array_equal(scene.mask[shown], kinds[shown])
        assert not ((scene.mask[~shown] >= CAR) & (scene.mask[~shown] != 255)).any()


def test_some_instances_are_too_hidden_or_too_small_for_a_box(scenes):
    pixels = np.concatenate([np.bincount(s.instances.ravel(), minlength=len(s.labels) + 1)[1:] for s in scenes])
    share = np.concatenate([scene.share for scene in scenes])
    assert ((pixels < FEWEST_PIXELS) & (share > 0.9)).any()
    assert ((pixels >= FEWEST_PIXELS) & (share < LEAST_SHARE)).any()
    assert share.max() == 1
    assert 0.3 < np.mean(share == 1) < 0.8


def test_outline_drops_by_pixels_and_by_share():
    instances = np.zeros((10, 20), np.int32)
    instances[2:5, 3:7] = 1
    instances[6:8, 0:5] = 2
    instances[6:9, 8:20] = 3
    instances[6, 12] = 0
    boxes = outline(instances, np.array([2, 0, 1]), np.array([0.1, 1.0, 0.09], np.float32))
    assert boxes.xyxy.tolist() == [[3, 2, 7, 5]]
    assert boxes.labels.tolist() == [2]
    all_seen = outline(instances, np.array([2, 0, 1]), np.ones(3, np.float32))
    assert all_seen.xyxy.tolist() == [[3, 2, 7, 5], [8, 6, 20, 9]]


def test_a_face_covers_the_pixels_whose_centers_it_holds():
    seen = paint([panel(-2.0, -1.0, 1.0, 0.5, 10.0)], AHEAD, Grid((40, 80)))
    expected = np.zeros((40, 80), bool)
    expected[20 - 4 : 20 + 2, 40 - 8 : 40 + 4] = True
    np.testing.assert_array_equal(seen.thing == 1, expected)
    assert seen.area.tolist() == [72]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_nearer_hides_what_is_behind_in_whatever_order_it_comes(order):
    far, near = panel(-2.0, -1.0, 2.0, 1.0, 20.0), panel(0.0, -1.0, 2.0, 1.0, 10.0, PEDESTRIAN)
    pair = (far, near)
    seen = paint([pair[index] for index in order], AHEAD, Grid((40, 80)))
    names = {index: order.index(index) + 1 for index in order}
    assert (seen.thing[16:24, 40:48] == names[1]).all()
    assert (seen.thing[18:22, 36:40] == names[0]).all()
    assert np.count_nonzero(seen.thing == names[0]) == 4 * 4
    assert seen.area[names[0] - 1] == 4 * 8
    assert seen.area[names[1] - 1] == 8 * 8


def test_truncated_things_end_at_the_edge_and_remember_what_is_off_the_canvas():
    seen = paint([panel(9.0, -1.0, 11.0, 1.0, 10.0), panel(-30.0, -1.0, -22.0, 1.0, 10.0)], AHEAD, Grid((40, 80)))
    boxes = outline(seen.thing, np.array([0, 0]), np.array([0.5, 0.0], np.float32))
    assert boxes.xyxy.tolist() == [[76, 16, 80, 24]]
    assert seen.area.tolist() == [64, 0]
    assert np.count_nonzero(seen.thing == 1) == 32


def test_boxes_reach_the_edges_of_the_canvas_and_never_cross_them(scenes):
    boxes = np.concatenate([scene.boxes.xyxy for scene in scenes])
    assert boxes.min() == 0
    assert boxes[:, 2].max() == 128
    assert boxes[:, 3].max() <= 64
    assert np.mean(boxes[:, 2] == 128) > 0.02


def test_what_is_too_close_to_project_is_left_out():
    seen = paint([panel(-1.0, -1.0, 1.0, 1.0, 0.5), panel(-1.0, -1.0, 1.0, 1.0, -5.0)], AHEAD, Grid((40, 80)))
    assert not seen.thing.any()


@pytest.mark.parametrize("heading", np.linspace(0, 2 * np.pi, 9).tolist())
def test_a_car_is_in_one_piece(heading):
    built = car((1.0, 9.0), heading, AHEAD, np.random.default_rng(3))
    seen = paint([built], AHEAD, Grid((200, 400)))
    body = seen.thing > 0
    assert body.sum() > 1500
    np.testing.assert_array_equal(binary_fill_holes(body), body)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(8, 60), width=st.integers(8, 60), fine=st.sampled_from([1, 2]))
def test_a_point_on_a_ray_lands_in_the_center_of_its_pixel(seed, height, width, fine):
    camera, grid = mount(np.random.default_rng(seed)), Grid((height, width), fine)
    ray = np.stack(np.broadcast_arrays(*rays(camera, grid)), axis=-1).reshape(-1, 3).astype(np.float64)
    places, depth = project(camera, 7.0 * ray + (camera.x, camera.height, 0.0), grid)
    rows, columns = np.divmod(np.arange(len(ray)), grid.size[1])
    np.testing.assert_allclose(places, np.column_stack([columns, rows]) + 0.5, atol=1e-3)
    np.testing.assert_allclose(depth, 7.0, atol=1e-4)


def test_every_other_point_of_a_fine_grid_is_a_pixel_center():
    coarse, fine = (rays(AHEAD, Grid((20, 30), times)) for times in (1, 2))
    np.testing.assert_allclose(fine.x[::2, ::2], coarse.x, atol=1e-6)
    np.testing.assert_allclose(fine.y[::2, ::2], coarse.y, atol=1e-6)


def test_masks_hold_every_class_and_nothing_else(scenes):
    masks = np.stack([scene.mask for scene in scenes])
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {*range(len(CLASSES)), 255}
    assert 0.005 < np.mean(masks == 255) < 0.06


def test_some_streets_are_empty_and_some_are_full(scenes):
    counts = np.array([len(scene.boxes) for scene in scenes])
    assert 0.01 < np.mean(counts == 0) < 0.10
    assert counts.max() >= 13
    empty = scenes[int(np.argmin(counts))].boxes
    assert empty.xyxy.shape == (0, 4)
    assert empty.labels.dtype == np.int64


def test_most_boxes_are_large_enough_to_learn_from(scenes):
    boxes = np.concatenate([scene.boxes.xyxy for scene in scenes])
    assert np.mean((boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 4) > 0.8


def test_color_alone_does_not_tell_road_from_pavement_nor_cars_from_houses(scenes):
    images = np.stack([scene.image for scene in scenes]).transpose(0, 2, 3, 1).astype(float)
    masks = np.stack([scene.mask for scene in scenes])
    for one, other in ((ROAD, PAVEMENT), (CAR, PAVEMENT), (CAR, PEDESTRIAN), (CAR, CLASSES.index("building"))):
        here, there = images[masks == one], images[masks == other]
        assert (np.abs(here.mean(axis=0) - there.mean(axis=0)) < 0.8 * here.std(axis=0)).all()


def test_golden_statistics(scenes):
    images = np.stack([scene.image for scene in scenes]).astype(float)
    labels = np.concatenate([scene.boxes.labels for scene in scenes])
    masks = np.stack([scene.mask for scene in scenes])
    assert images.mean() == pytest.approx(GOLDEN["mean"], abs=0.5)
    assert images.std() == pytest.approx(GOLDEN["std"], abs=0.5)
    assert np.bincount(labels).tolist() == pytest.approx(GOLDEN["kinds"], abs=3)
    assert [np.mean(masks == index) for index in range(9)] == pytest.approx(GOLDEN["shares"], abs=0.001)


@pytest.mark.parametrize("canvas", [(8, 8), (64, 96), (96, 64), (33, 47), (16, 200), (200, 300)])
def test_any_canvas(canvas):
    sample = StreetPhantom(samples=3, canvas=canvas).open()[1]
    assert sample.image.shape == (3, *canvas)
    assert sample.image.dtype == np.uint8
    assert sample.image.std() > 10
    mask, boxes = sample.annotations["mask"], sample.annotations["boxes"]
    assert mask.shape == canvas
    assert set(np.unique(mask)) <= {*range(len(CLASSES)), 255}
    assert (boxes.xyxy[:, 2:] <= canvas[::-1]).all()
    assert sample.size == sample.source_size == canvas


@pytest.mark.parametrize("other", [(128, 256), (256, 512)])
def test_the_canvas_decides_only_how_finely_a_scene_is_sampled(other):
    coarse, fine = (StreetPhantom(samples=8, canvas=canvas).open() for canvas in ((64, 128), other))
    times = other[0] // 64
    for row in range(8):
        small, large = coarse.scene(row), fine.scene(row)
        pixels = large.mask.reshape(64, times, 128, times)
        agree = (pixels == small.mask[:, None, :, None]).mean()
        assert agree > 0.93
        for index in range(len(CLASSES)):
            assert np.mean(small.mask == index) == pytest.approx(np.mean(large.mask == index), abs=0.012)
        shrunk = large.image.astype(float).reshape(3, 64, times, 128, times).mean(axis=(2, 4))
        assert np.corrcoef(shrunk.ravel(), small.image.ravel())[0, 1] > 0.9
        pixels = np.bincount(small.instances.ravel(), minlength=len(small.labels) + 1)[1:]
        share = small.share[(pixels >= FEWEST_PIXELS) & (small.share >= LEAST_SHARE)]
        for box, label, seen in zip(small.boxes.xyxy, small.boxes.labels, share, strict=True):
            if min(box[2:] - box[:2]) >= 8 and seen > 0.5:
                gaps = np.abs(large.boxes.xyxy[large.boxes.labels == label] / times - box).max(axis=1)
                assert gaps.min() < 1.6


def test_gray_is_the_luminance_of_the_same_scene():
    rgb, gray = (SMALL.replace(channels=channels).open()[4] for channels in (3, 1))
    expected = np.round(np.tensordot([0.299, 0.587, 0.114], rgb.image.astype(float), axes=1))
    assert gray.image.shape == (1, 64, 128)
    assert np.abs(gray.image[0] - expected).max() <= 1
    np.testing.assert_array_equal(gray.annotations["mask"], rgb.annotations["mask"])
    assert (rgb.image.max(axis=0) > rgb.image.min(axis=0) + 10).any()


def test_classes_by_name():
    assert SMALL.classes("mask")[:3] == ("road", "pavement", "building")
    assert SMALL.classes("boxes") == ("car", "pedestrian", "bicyclist") == SMALL.classes("mask")[6:]
    assert SMALL.classes("label") == ()


@pytest.mark.parametrize("bad", [{"samples": 0}, {"split": "dev"}, {"first": -1}, {"channels": 2}, {"canvas": (4, 64)}])
def test_bad_fields_are_refused_where_they_are(bad):
    with pytest.raises(ValidationError) as error:
        StreetPhantom(**bad)
    assert error.value.errors()[0]["loc"][0] == next(iter(bad))


def test_remembered_boxes_are_copies_and_are_paid_for():
    table = CachedTable(SMALL.open(), 10_000_000)
    row = next(row for row in range(20) if len(table[row].annotations["boxes"]))
    table[row].annotations["boxes"].xyxy[:] = -1
    sample = table[row]
    assert sample.annotations["boxes"].xyxy.min() >= 0
    alone = CachedTable(SMALL.open(), 10_000_000)
    boxes = alone[row].annotations["boxes"]
    assert alone.held_bytes == 3 * 64 * 128 + 64 * 128 + len(boxes) * (16 + 8 + 1)


@pytest.mark.parametrize(
    ("edges", "says"),
    [
        ([[0, 0, 4, 4], [5, 1, 5, 3]], r"box 1 is \[5\.0, 1\.0, 5\.0, 3\.0\].*left < right"),
        ([[0, 9, 4, 4]], "box 0 is .*top < bottom"),
        ([[0, 0, np.nan, 4]], "box 0 is .*finite"),
        ([[0, 0, np.inf, 4]], "box 0 is .*finite"),
    ],
)
def test_what_is_no_box_is_refused_with_its_row(edges, says):
    xyxy = np.array(edges, np.float32)
    with pytest.raises(DataError, match=says):
        BoxList(xyxy, np.zeros(len(xyxy), np.int64), np.zeros(len(xyxy), bool))


def test_boxes_and_labels_go_together():
    with pytest.raises(DataError, match=r"\(\(2, 4\), \(1,\), \(1,\)\); expected \(m, 4\)"):
        BoxList(np.array([[0, 0, 1, 1]] * 2, np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
    none = BoxList(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
    assert len(none) == 0


def test_it_is_registered():
    assert resolve("readers", "StreetPhantom") is StreetPhantom
