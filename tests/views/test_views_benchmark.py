"""The benchmark of views compares ways that do the same, and reckons as it says."""

import importlib.util
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from rich.console import Console

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("views_benchmark", FOLDER / "views.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", [(3, 3, 24, 32), (2, 1, 33, 20)])
def test_all_ways_make_views_and_agree_on_the_weak_one(benchmark, shape):
    benchmark.check(benchmark.data(shape, "cpu"))


def test_check_refuses_a_weak_view_that_kornia_did_not_see(benchmark):
    of = benchmark.data((4, 1, 16, 16), "cpu")
    assert 0 < of.flipped.sum() < 4
    of.flipped.logical_not_()
    with pytest.raises(AssertionError, match="Kornia and we differ"):
        benchmark.check(of)


def test_one_run_has_a_ratio_to_every_peer_and_floor(benchmark):
    of = benchmark.data((1, 1, 16, 16), "cpu")
    parts = benchmark.stages(of, 1)
    ratios = benchmark.show(Console(quiet=True), "title", benchmark.measure(of, 1), parts)
    assert list(ratios) == list(benchmark.RATIOS)
    assert all(min(both) > 0 for both in ratios.values())
    assert parts["labels"] > 0
    assert parts["sample"] > 0


def test_ratios_say_how_much_slower_peers_are_and_how_far_the_floor_is(benchmark):
    seconds = {"kornia_dense": (8.0, 9.0), "ours_dense": (2.0, 3.0), "floor_dense": (0.5, 1.0)}
    ratios = benchmark.show(Console(quiet=True), "title", seconds, {"all": 2.0})
    assert ratios == {"kornia_dense": (4.0, 3.0), "floor_dense": (4.0, 3.0)}


def test_a_time_is_the_median_of_turns_averaged_over_draws(benchmark):
    draws = [[(1.0, 10.0), (2.0, 20.0), (90.0, 30.0)], [(4.0, 40.0), (5.0, 0.0), (60.0, 80.0)]]
    assert benchmark.typical(draws) == (3.5, 30.0)


def test_a_stage_does_not_count_the_stages_inside_of_it(benchmark, monkeypatch):
    clock = benchmark.Clock(benchmark.data((1, 1, 16, 16), "cpu"))
    now = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(now))
    clock.timed("outer", clock.timed("inner", lambda: None))()
    assert clock.spent == {"inner": 3.0, "outer": 7.0}


def test_every_op_of_the_pool_has_its_kornia_name(benchmark):
    peers = benchmark.kornia_ways.__globals__
    assert len(peers["KORNIA_POOL"]) == len(peers["POOL_DENSE"])
    gray, color = (benchmark.data((1, channels, 8, 8), "cpu").pool for channels in (1, 3))
    left_out = {list(peers["KORNIA_POOL"])[i] for i in set(color) - set(gray)}
    assert left_out == {"color"}


@pytest.mark.parametrize("text", ["8x3x256", "8x2x16x16", "0x3x16x16", "8x3x-1x16", ""])
def test_shapes_that_are_none_are_refused(benchmark, text):
    with pytest.raises(ArgumentTypeError, match="NxCxHxW"):
        benchmark.shapes(text)


def test_shapes_and_threads_are_lists(benchmark):
    assert benchmark.shapes("8x3x256x128,2x1x8x9") == [(8, 3, 256, 128), (2, 1, 8, 9)]
    assert benchmark.counts("1,4") == [1, 4]
    with pytest.raises(ArgumentTypeError, match="1,2"):
        benchmark.counts("1,0")
