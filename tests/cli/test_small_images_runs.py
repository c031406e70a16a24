"""The studies of small images as a person uses them: a run on CIFAR's files and all that follows, and a transfer."""

import json
import statistics

import pytest
from in_process import call
from PIL import Image
from safetensors.torch import load_file
from small_sets import write_cifar

from ssmtl.datasets.cifar_names import CIFAR10_NAMES
from ssmtl.runs import RunFolder

SMALL = ("--network", "wrn-10-1", "--batch", 4)
QUICK = ("--workers", 0, "--quiet")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp("cifar"))


@pytest.fixture(scope="module")
def run(cifar, tmp_path_factory):
    """RealMix on ten labels of CIFAR-10, four steps and as many evaluations."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ("--data", cifar, "--labels", 10, *SMALL, "--steps", 4, "--eval-every", 1, "--out", out)
    outcome = call("run", "realmix_cifar10", *words, *QUICK)
    assert outcome.code == 0, outcome
    assert "kind: error %" in outcome.out
    assert "Ours is the median of the last 4 checkpoints" in outcome.out
    return out


def rows(run, phase):
    return [row for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if row["phase"] == phase]


def test_a_run_reports_the_median_of_as_many_tests_as_there_were(run):
    (test,) = rows(run, "test")
    each = [row["kind/error_pct"] for row in rows(run, "checkpoint_test")]
    assert len(each) == 4
    assert (test["checkpoint"], test["weights"]) == ("median of last 4", "teacher")
    assert test["kind/error_pct"] == statistics.median(each)


def test_hidden_labels_are_not_in_the_record(run):
    record = json.loads((run / "labels.json").read_text())
    assert record["counts"] == {"kind": 10}
    assert {source: len(shown) for source, shown in record["labels"]["kind"].items()} == {
        "labeled": 10,
        "unlabeled": 0,
    }


def test_the_run_can_be_scored_reported_and_compared(run, tmp_path):
    outcome = call("eval", run)
    assert outcome.code == 0, outcome
    assert "kind" in outcome.out
    assert call("report", run).code == 0
    page = (run / "report.html").read_text()
    for words in ("Confidence of kind", "Test error over the last checkpoints", "Training signal of kind"):
        assert words in page
    outcome = call("compare", run, "--json", tmp_path / "table.json")
    assert outcome.code == 0, outcome
    assert "realmix_cifar10 realmix" in (tmp_path / "table.json").read_text()


def test_the_run_predicts_images(run, tmp_path):
    Image.new("RGB", (32, 32), (200, 30, 60)).save(tmp_path / "one.png")
    outcome = call("predict", run, tmp_path / "one.png", "--out", tmp_path / "found")
    assert outcome.code == 0, outcome
    head, line = (tmp_path / "found/predictions.csv").read_text().splitlines()
    values = dict(zip(head.split(","), line.split(","), strict=True))
    assert values["kind"] in CIFAR10_NAMES
    assert sum(float(values[f"kind_{name}"]) for name in CIFAR10_NAMES) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("mismatch", [0, 50])
def test_coverage_counts_no_hidden_label_as_shown(mismatch, tmp_path):
    out = tmp_path / "numbers.json"
    outcome = call("data", "coverage", "realmix_mismatch", "--mismatch", mismatch, "--out", out)
    assert outcome.code == 0, outcome
    labeled, unlabeled = json.loads(out.read_text())["sources"]
    assert (labeled["labeled"], labeled["hidden"]) == ({"kind": 60}, {"kind": 0})
    copies = 50 * 4 * (400 - 10)
    assert (unlabeled["images"], unlabeled["none"]) == (copies, copies)
    assert (unlabeled["labeled"], unlabeled["hidden"]) == ({"kind": 0}, {"kind": copies})
    assert "0 of 78,000" in outcome.out
    assert "the rest is hidden" in outcome.out


def test_a_pretrained_encoder_is_where_training_starts(tmp_path):
    pretrained, out = tmp_path / "pretrained", tmp_path / "run"
    small = (*SMALL, "--size", 16, "--steps", 2)
    assert call("run", "imagenet32_pretrain", *small, "--out", pretrained, *QUICK).code == 0
    assert call("run", "realmix_cifar10", "--weights", pretrained, *small, "--out", out, *QUICK).code == 0
    recipe = RunFolder(out).recipe()
    teacher = load_file(pretrained / "checkpoints/last/teacher.safetensors")
    model = recipe.model.build(tuple(recipe.tasks.values()))
    start = model.state_dict()
    encoder = [name for name in start if name.startswith("encoder.")]
    assert len(encoder) > 20
    assert all(start[name].equal(teacher[name]) for name in encoder)
    assert not any(name in teacher for name in start if name not in encoder)  # heads are those of other classes
    cold = recipe.model.build(tuple(recipe.tasks.values()), pretrained=False).state_dict()
    assert not cold["encoder.stem.weight"].equal(teacher["encoder.stem.weight"])
    trained = load_file(out / "checkpoints/last/student.safetensors")["encoder.stem.weight"]
    moved, apart = (trained - teacher["encoder.stem.weight"]).norm(), (trained - cold["encoder.stem.weight"]).norm()
    assert 0 < moved < 0.1 * apart
