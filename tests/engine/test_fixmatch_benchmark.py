"""The benchmark of FixMatch's step compares ways that do the same, and reckons as it says."""

import importlib.util
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

FOLDER = Path(__file__).parents[2] / "benchmarks"
SMALL = {"batch": 2, "workers": 0, "samples": 40, "steps": 1, "warmup": 0, "repeats": 2}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("fixmatch_benchmark", FOLDER / "fixmatch_step.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options():
    return Namespace(device="cpu", precision="32-true", compile=False, threads=1, **SMALL)


def test_loss_and_gradients_are_the_usual_ones(benchmark):
    benchmark.check()


def test_check_refuses_another_loss_and_another_network(benchmark, monkeypatch):
    usual = benchmark.PeerStep.loss
    with monkeypatch.context() as patch:
        patch.setattr(benchmark.PeerStep, "loss", lambda *arguments: usual(*arguments) * 1.001)
        with pytest.raises(AssertionError, match="apart"):
            benchmark.check()
    shuffled = benchmark.tensors
    monkeypatch.setattr(benchmark, "tensors", lambda step: [2 * t if t.ndim == 4 else t for t in shuffled(step)])
    with pytest.raises(AssertionError, match="apart"):
        benchmark.check()


def test_the_usual_average_moves_by_a_thousandth(benchmark, options):
    sources = benchmark.open_sources(benchmark.recipe(2, 40, benchmark.Views()))
    usual = benchmark.Usual(sources, benchmark.TrainStep(sources.recipe), options)
    first = usual.step.network.fc.weight.detach().clone()
    usual(next(usual.batches()))
    moved = usual.step.network.fc.weight.detach() - first
    assert moved.abs().max() > 1e-3
    torch.testing.assert_close(usual.step.average.fc.weight.detach() - first, 0.001 * moved, rtol=0.0, atol=3e-8)


def test_both_ways_get_as_many_images_of_the_same_labels(benchmark, options):
    views = benchmark.Views(weak=benchmark.cifar_weak(), strong=benchmark.fixmatch_strong())
    sources = benchmark.open_sources(benchmark.recipe(2, 40, views))
    ours = benchmark.Ours(sources, options)
    usual = benchmark.Usual(sources, ours.module, options)
    batch, (((labeled,), labels), ((weak, strong), _)) = next(ours.batches()), next(usual.batches())
    assert len(batch) == 16
    assert int(batch.labeled[benchmark.TASK].sum()) == len(labeled) == len(labels) == 2
    assert weak.shape == strong.shape == (14, 3, 32, 32)
    assert weak.dtype == torch.float32
    assert -1 <= weak.min() < 0 < weak.max() <= 1
    assert len(usual.labeled) == int(sources.coverage.visible[benchmark.TASK].sum()) == 20


def test_every_way_is_timed_in_every_turn_and_learns(benchmark, options, monkeypatch):
    order = []
    usual = benchmark.turn

    def watched(way, given):
        order.append(type(way).__name__)
        return usual(way, given)

    monkeypatch.setattr(benchmark, "turn", watched)
    turns = benchmark.measure(options)
    assert order == ["Usual", "Ours", "Ours", "Usual"]
    answer = benchmark.summary(turns, options.batch)
    assert all(0 < one.waiting < one.step for taken in turns.values() for one in taken)
    assert answer["ratio"] > 0
    benchmark.show(turns, answer, "title")


def test_a_turn_counts_neither_warmup_nor_what_comes_before_asking(benchmark, options, monkeypatch):
    options.steps, options.warmup = 2, 1
    now = iter([0.0, 5.0, 10.0, 10.0, 11.0, 14.0, 17.0, 20.0])
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: next(now))
    monkeypatch.setattr(benchmark.time, "process_time", iter([1.0, 9.0]).__next__)

    class Way:
        def batches(self):
            return iter(range(9))

        def __call__(self, batch):
            pass

    # Asked at 0 (5 s, warm up); the clock starts at 10; asked at 10 (1 s) and 14 (3 s); it stops at 20.
    assert benchmark.turn(Way(), options) == (5.0, 2.0, 4.0)


def test_ratios_and_rates_come_from_medians(benchmark):
    turns = {
        "usual": [benchmark.Turn(8.0, 2.0, 6.0), benchmark.Turn(9.0, 0.0, 7.0), benchmark.Turn(99.0, 99.0, 8.0)],
        "ssmtl": [benchmark.Turn(2.0, 0.5, 1.0), benchmark.Turn(3.0, 0.3, 2.0), benchmark.Turn(4.0, 0.1, 3.0)],
    }
    assert benchmark.summary(turns, 64) == {
        "ratio": 3.0,
        "cpu_ratio": 3.5,
        "images_usual": pytest.approx(512 / 9),
        "images_ssmtl": pytest.approx(512 / 3),
        "waiting_usual": 0.25,
        "waiting_ssmtl": pytest.approx(0.1),
    }


def test_cutout_is_a_square_of_half_the_side_and_leaves_the_original_alone(benchmark, monkeypatch):
    peer = importlib.import_module("fixmatch_peer")
    monkeypatch.setattr(peer.random, "randrange", lambda side: 16)
    cut = np.asarray(peer.Cutout()(Image.fromarray(np.zeros((32, 32, 3), np.uint8))))
    assert (cut == 127).all(axis=2).sum() == 16 * 16
    assert (cut[8:24, 8:24] == 127).all()
    pictures = peer.Pictures(np.zeros((1, 32, 32, 3), np.uint8), [0], peer.pipelines())
    (weak, strong), _ = pictures[0]
    assert (weak == -1).all()
    assert strong.max() > -0.1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "--steps 0 is too small: give at least 1"),
        (["--workers", "-1"], "--workers -1 is too small: give at least 0"),
        (["--samples", "3"], "--samples 3 is too small: give at least 20"),
        (["--precision", "bf16"], "invalid choice: 'bf16'"),
        (["--device", "cuda"], "needs a GPU"),
    ],
)
def test_options_that_measure_nothing_are_refused(benchmark, monkeypatch, capsys, flags, message):
    monkeypatch.setattr(benchmark.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["fixmatch_step.py", *flags])
    with pytest.raises(SystemExit):
        benchmark.arguments()
    assert message in capsys.readouterr().err
