"""COCO's scoring: by hand, by pycocotools on a file's content, and by the faster package on hard cases."""

import io
import json
import math
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from boxed import boxes_at, found_at
from hypothesis import given, settings
from hypothesis import strategies as st
from launch import environment
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ssmtl_tasks.coco import FASTER, PYCOCOTOOLS, Boxes, average_precision
from ssmtl_tasks.detection import Detection

PAIR = Path(__file__).parents[1] / "support" / "precision_pair.py"
CLASSES = ("car", "person", "bus", "train")
A, B, AWAY = (0, 0, 20, 20), (40, 40, 60, 60), (70, 0, 90, 20)
GROUP, INSIDE = (40, 0, 90, 50), (50, 10, 60, 20)
# Per image: objects (box, class, crowd) and detections (box, class, score).
CASE = [
    ([(A, 0, 0), (B, 0, 0)], [(A, 0, 0.9), (AWAY, 0, 0.8)]),
    ([], [(A, 1, 0.6), (A, 2, 0.95)]),
    ([(A, 0, 0), (GROUP, 0, 1), (B, 1, 0)], [(INSIDE, 0, 0.85), ((0, 0, 20, 16), 0, 0.7), (B, 1, 0.5)]),
    ([(A, 1, 0)], []),
    ([(GROUP, 3, 1)], [(INSIDE, 3, 0.9)]),
    ([], []),
]
# Cars: right, inside of a crowd, wrong, and with IoU .8 right at 7 limits of 10. Of 101 recalls 34 are up to 1/3.
CAR = (7 * (34 + 33 * 2 / 3) + 3 * 34) / 1010
PERSON = 51 / 2 / 101
"""Wrong, right, and one never found: precision 1/2 up to recall 1/2."""


def boxes(rows):
    """Return the boxes of images as a table."""
    flat = [(image, label, box, value) for image, row in enumerate(rows) for box, label, value in row]
    return Boxes(
        np.array([image for image, *_ in flat], dtype=np.int64),
        np.array([label for _, label, *_ in flat], dtype=np.int64),
        np.array([box for _, _, box, _ in flat], dtype=np.float64).reshape(-1, 4),
        np.array([value for *_, value in flat], dtype=np.float64),
    )


def score(case, classes=4, tools=PYCOCOTOOLS):
    known, found = ([part[i] for part in case] for i in (0, 1))
    return average_precision(boxes(found), boxes(known), images=len(case), classes=classes, tools=tools)


def by_file(case, classes=4):
    """Return the classes' AP at each IoU as pycocotools finds it in an annotation file and a file of results."""
    objects, results = [], []
    for image, (known, found) in enumerate(case):
        for (left, top, right, bottom), label, crowd in known:
            place = [left, top, right - left, bottom - top]
            one = {"id": len(objects) + 1, "image_id": image, "category_id": label, "bbox": place}
            objects.append({**one, "area": place[2] * place[3], "iscrowd": crowd})
        for (left, top, right, bottom), label, sure in found:
            place = [left, top, right - left, bottom - top]
            results.append({"image_id": image, "category_id": label, "bbox": place, "score": sure})
    images, categories = [{"id": i} for i in range(len(case))], [{"id": i} for i in range(classes)]
    coco = COCO()
    coco.dataset = json.loads(json.dumps({"images": images, "categories": categories, "annotations": objects}))
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    each = evaluation.eval["precision"][:, :, :, 0, 2].mean(axis=1).T
    return np.where(each < 0, np.nan, each), evaluation.stats


def metric(case):
    """Return the task's metrics, from logits and padded targets of one image after the other."""
    metrics = Detection("d", classes=CLASSES, detections=200).metrics()
    for known, found in case:
        place, label, crowd = ([one[i] for one in known] for i in range(3))
        target = boxes_at([place], labels=[label], crowd=[[bool(one) for one in crowd]])
        metrics.update(found_at(*([one[i] for one in found] for i in range(3)), classes=4), target)
    return {name: value.item() for name, value in metrics.compute().items()}


def random_case(seed, images=5, classes=4):
    """Return a case with ties of scores and of IoUs, crowds, empty images and classes without objects or detections."""
    rng = np.random.default_rng(seed)

    def some(values, busy):
        start = rng.integers(0, 6, (rng.integers(0, 6) * rng.integers(0, 2), 2)) * 4
        corners = np.concatenate([start, start + rng.integers(1, 5, start.shape) * 4], axis=1)
        return [(tuple(box), int(rng.choice(busy)), values[rng.integers(len(values))]) for box in corners.tolist()]

    known, found = (rng.choice(classes, rng.integers(1, classes + 1), replace=False) for _ in range(2))
    return [(some((0, 0, 0, 1), known), some((0.25, 0.5, 0.75), found)) for _ in range(images)]


def test_crowds_empty_images_and_missing_classes_by_hand():
    found = metric(CASE)
    assert found["ap_car"] == pytest.approx(CAR, abs=1e-12)
    assert found["ap_person"] == pytest.approx(PERSON, abs=1e-12)
    assert math.isnan(found["ap_bus"])
    assert math.isnan(found["ap_train"])
    assert found["map"] == pytest.approx((CAR + PERSON) / 2, abs=1e-12)
    assert found["map_50"] == pytest.approx((56 / 101 + PERSON) / 2, abs=1e-12)


def test_the_numbers_are_those_of_pycocotools_on_files():
    values, summary = by_file(CASE)
    np.testing.assert_allclose(score(CASE), values, rtol=0, atol=1e-15)
    found = metric(CASE)
    assert [found[name] for name in ("map", "map_50", "map_75")] == pytest.approx(summary[:3], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_both_packages_and_files_agree_on_hard_cases(seed):
    case = random_case(seed)
    values = score(case, tools=PYCOCOTOOLS)
    np.testing.assert_allclose(score(case, tools=FASTER), values, rtol=0, atol=1e-12)
    if any(found for _, found in case) and any(known for known, _ in case):
        np.testing.assert_allclose(values, by_file(case)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("tools", [PYCOCOTOOLS, FASTER])
def test_the_first_of_boxes_counts_and_so_does_the_last_of_100(tools):
    one, other = (A, 0, 0.5), (AWAY, 0, 0.9)
    assert score([([(A, 0, 0)], [one])], tools=tools)[0] == pytest.approx([1] * 10)
    assert score([([(A, 0, 0)], [other] * 99 + [one])], tools=tools)[0] == pytest.approx([1 / 100] * 10)
    assert score([([(A, 0, 0)], [other] * 100 + [one])], tools=tools)[0].tolist() == [0] * 10


@pytest.mark.parametrize("tools", [PYCOCOTOOLS, FASTER])
def test_of_equal_scores_the_earlier_goes_first(tools):
    right, wrong = ([(A, 0, 0)], [(A, 0, 0.5)]), ([], [(AWAY, 0, 0.5)])
    assert score([right, wrong], tools=tools)[0, 0] == pytest.approx(1)
    assert score([wrong, right], tools=tools)[0, 0] == pytest.approx(1 / 2)


@pytest.mark.parametrize("tools", [PYCOCOTOOLS, FASTER])
@pytest.mark.parametrize("case", [[], [([], [])], [([], [(A, 0, 0.5)])], [([(GROUP, 0, 1)], [(INSIDE, 0, 0.5)])]])
def test_without_objects_there_is_no_precision(case, tools):
    assert np.isnan(score(case, tools=tools)).all()


@pytest.mark.parametrize("tools", [PYCOCOTOOLS, FASTER])
def test_objects_that_nothing_is_found_of_are_zero(tools):
    values = score([([(A, 0, 0)], []), ([(B, 1, 0)], [])], tools=tools)
    assert values[:2].tolist() == [[0] * 10] * 2
    assert np.isnan(values[2:]).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_size_at_which_an_image_is_shown_does_not_matter(seed):
    case, rng = random_case(seed), np.random.default_rng(seed)

    def larger(rows, factor):
        return [(tuple(np.multiply(box, factor).tolist()), *more) for box, *more in rows]

    factors = np.tile(2.0 ** rng.integers(-3, 5, (len(case), 2)), 2)
    scaled = [tuple(larger(rows, factor) for rows in both) for both, factor in zip(case, factors, strict=True)]
    np.testing.assert_array_equal(score(scaled), score(case))


def test_nothing_is_printed(capfd):
    metric(CASE)
    score(CASE, tools=FASTER)
    assert capfd.readouterr() == ("", "")


def test_two_processes_know_what_one_does_and_the_first_of_them_reckons(tmp_path):
    words = [[sys.executable, PAIR, tmp_path / "meet", tmp_path / f"{rank}.json", str(rank)] for rank in range(2)]
    pair = [subprocess.Popen(word, env=environment(), stderr=subprocess.PIPE, text=True) for word in words]
    for process in pair:
        assert process.communicate(timeout=120)[1] == ""
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    alone, halves, lopsided = first
    assert 0 < alone["map"] < 1
    assert halves == lopsided == alone
