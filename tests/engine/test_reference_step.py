"""The planned training step computes what the published program does, on exact rows instead of on all."""

import importlib.util
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "multimix_step.py"


def test_planned_step_equals_the_reference_in_loss_and_gradient():
    """Where that sends all 5m images through encoder, classifier, decoder and bridge (the benchmark's check)."""
    spec = importlib.util.spec_from_file_location("multimix_step", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.check(benchmark.films(2, 32))
