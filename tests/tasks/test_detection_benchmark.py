"""The benchmark of detection compares ways that do the same, and reckons as it says."""

import importlib.util
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("detection_benchmark", FOLDER / "detection.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_loss_gradients_and_detections_are_the_peers(benchmark):
    of = benchmark.data(2, 128, 6, 8, "cpu")
    benchmark.check(of)
    of.theirs[1]["labels"] = (of.theirs[1]["labels"] + 1) % 8
    with pytest.raises(AssertionError):
        benchmark.check(of)


def test_scores_of_all_packages_are_alike_and_the_usual_way_comes_back(benchmark):
    usual = benchmark.detection_metrics.average_precision
    ways = benchmark.map_ways(benchmark.scenes(10, 200, 8))
    assert list(ways) == [f"{who}_{tools}" for tools in benchmark.BACKENDS for who in ("ours", "torchmetrics")]
    assert benchmark.detection_metrics.average_precision is usual


def test_ratios_say_how_much_longer_peers_take_and_how_times_grow(benchmark):
    first = {"ours_loss": (2.0, 1.0), "torchvision_loss": (3.0, 4.0)}
    seconds = {"10": first, "300": {"ours_loss": (4.0, 1.5), "torchvision_loss": (30.0, 12.0)}}
    assert benchmark.ratios(seconds, 0) == {"torchvision_loss_10": 1.5, "torchvision_loss_300": 7.5}
    assert benchmark.ratios(seconds, 1) == {"torchvision_loss_10": 4.0, "torchvision_loss_300": 8.0}
    assert benchmark.growth(seconds, [300, 10], 0) == {"ours_300_over_10": 2.0, "torchvision_300_over_10": 10.0}


def test_a_time_is_the_median_of_turns(benchmark):
    assert benchmark.median([(1.0, 5.0), (9.0, 4.0), (2.0, 30.0)], 0) == 2.0
    assert benchmark.median([(1.0, 5.0), (9.0, 4.0), (2.0, 30.0)], 1) == 5.0


def test_numbers_of_boxes_are_a_list(benchmark):
    assert benchmark.counts("10,300") == [10, 300]
    with pytest.raises(ArgumentTypeError, match="10,120"):
        benchmark.counts("10,0")
