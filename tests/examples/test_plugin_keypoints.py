"""The keypoints package as its users have it: found by its entry points, tested, checked and trained."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from plugins import install

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    return install("plugin_keypoints", tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def trained(plugin, tmp_path_factory):
    """Return the folder of a run of three steps of its recipe, and what the run printed."""
    out = tmp_path_factory.mktemp("runs") / "faces"
    words = ("--steps", 3, "--eval-every", 3, "--checkpoint-every", 3, "--workers", 0, "--quiet", "--out", out)
    return out, plugin.ssmtl("run", plugin.folder / "recipes" / "faces.py", *words)


def test_its_own_tests_pass(plugin):
    done = plugin.pytest()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
    assert "test_contract" in plugin.pytest("--collect-only").stdout


def test_ssmtl_lists_it(plugin):
    done = plugin.ssmtl("list")
    assert done.returncode == 0, done.stderr
    rows = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("│")}
    assert "Keypoints" in rows["tasks"]
    assert "FacePhantom" in done.stdout


def test_its_author_may_check_types_strictly(plugin, request):
    done = plugin.mypy(request.config.cache.mkdir("mypy_of_plugins"))
    assert done.returncode == 0, done.stdout
    assert "no issues found in" in done.stdout


def test_it_trains_beside_tasks_of_ssmtl(trained):
    out, done = trained
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (scores,) = [line for line in lines if line["phase"] == "test" and line["split"] == "test"]
    assert {"points/pck", "points/error_px", "points/pck_nose", "expression/auc", "outline/miou"} <= set(scores)
    written = json.loads((out / "recipe.json").read_text())
    assert written["plugins"]["tasks/Keypoints"] == "ssmtl-keypoints==0.1.0"
    (task,) = [o["task"] for o in written["recipe"]["objectives"] if o["task"]["kind"] == "Keypoints"]
    assert "HorizontalFlip" in task["equivariant_to"]


def test_its_answers_are_columns_and_coco_keypoints(plugin, trained, tmp_path):
    out, _ = trained
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "face.png")
    done = plugin.ssmtl("predict", out, tmp_path / "face.png", "--out", tmp_path / "found")
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader((tmp_path / "found" / "predictions.csv").read_text().splitlines())
    for name in POINTS:
        assert -0.5 <= float(row[f"points_{name}_x"]) < 69.5
        assert -0.5 <= float(row[f"points_{name}_y"]) < 49.5
        assert 0 < float(row[f"points_{name}_confidence"]) <= 1
