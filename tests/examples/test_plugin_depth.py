"""The depth package as its users have it: found by its entry points, tested, checked and trained."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from plugins import install


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    return install("plugin_depth", tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def trained(plugin, tmp_path_factory):
    """Return the folder of a run of three steps of its recipe, and what the run printed."""
    out = tmp_path_factory.mktemp("runs") / "depth"
    words = ("--steps", 3, "--eval-every", 3, "--checkpoint-every", 3, "--batch", 2, "--quiet", "--out", out)
    return out, plugin.ssmtl("run", plugin.folder / "recipes" / "depth_and_objects.py", *words)


CONTRACT = "tests/test_contract.py"
SHAPES = "--jaxtyping-packages=ssmtl_depth,beartype.beartype"


@pytest.mark.parametrize("words", [(CONTRACT,), (f"--ignore={CONTRACT}", SHAPES)], ids=["contract", "all others"])
def test_its_own_tests_pass(plugin, words):
    """Shapes are checked in all but the contract: beartype draws from the random numbers that a check watches."""
    done = plugin.pytest(*words)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 40


def test_ssmtl_lists_it(plugin):
    done = plugin.ssmtl("list")
    assert done.returncode == 0, done.stderr
    rows = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("│")}
    assert "Depth," in rows["tasks"]
    assert "DepthPhantom" in done.stdout


def test_its_author_may_check_types_strictly(plugin, request):
    done = plugin.mypy(request.config.cache.mkdir("mypy_of_plugins"))
    assert done.returncode == 0, done.stdout
    assert "no issues found in" in done.stdout


def test_it_trains_beside_a_task_of_ssmtl(trained):
    out, done = trained
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    (scores,) = [line for line in lines if line["phase"] == "test" and line["split"] == "test"]
    assert {"depth/delta1", "depth/abs_rel", "depth/rmse_log", "objects/miou"} <= set(scores)
    assert json.loads((out / "recipe.json").read_text())["plugins"]["tasks/Depth"] == "ssmtl-depth==0.1.0"


def test_its_answers_are_written_in_the_size_of_the_image(plugin, trained, tmp_path):
    out, _ = trained
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "scene.png")
    done = plugin.ssmtl("predict", out, tmp_path / "scene.png", "--out", tmp_path / "found")
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader((tmp_path / "found" / "predictions.csv").read_text().splitlines())
    (place,) = [path for path in (tmp_path / "found").rglob("*--depth.png") if path.parent.name != "overlays"]
    with Image.open(place) as written:
        millimeters = np.array(written)
    assert millimeters.shape == (50, 70)
    assert millimeters.dtype == np.uint16
    assert np.median(millimeters) / 1000 == pytest.approx(float(row["depth_median"]), abs=0.002)
