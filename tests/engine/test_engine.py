"""The loop: which checkpoint is best and tested, what a run folder holds, clipping, accumulation, precision."""

import json

import pytest
import torch
from launch import TINY
from safetensors.torch import load_file

import ssmtl.engine
from ssmtl.commands.recipes import load_recipe
from ssmtl.commands.run import finish
from ssmtl.engine import Options, Progress, train
from ssmtl.errors import CheckpointError, NonFiniteLossError
from ssmtl.evaluate import geometric_mean
from ssmtl.loader import open_sources, training_loader
from ssmtl.runs import RunFolder
from ssmtl.train_step import TrainStep

QUIET = Options(workers=0, quiet=True)
MOMENTUM = 0.9
TINY_RECIPE = load_recipe(TINY)
HISTOGRAM = [f"confidence_to_{percent}" for percent in (20, 40, 60, 80, 90, 95, 99, 100)]


def recipe(steps=2, **flags):
    changes = {name: flags.pop(name) for name in ("clip", "eval_every", "checkpoint_every") if name in flags}
    return TINY_RECIPE(**flags).replace(steps=steps, **changes)


@pytest.fixture
def folder(tmp_path):
    return lambda of, name="run": RunFolder.create(tmp_path / name, of, "ssmtl run tiny.py")


@pytest.fixture
def blind(monkeypatch):
    """Skip metrics, which these tests don't look at."""
    monkeypatch.setattr(ssmtl.engine, "evaluate", lambda *_: {})
    monkeypatch.setattr(ssmtl.engine, "draw_pictures", lambda *_: [])


def student(run, name="last"):
    return load_file(run.checkpoint(name) / "student.safetensors")


def manifest(run, name):
    return json.loads((run.checkpoint(name) / "manifest.json").read_text())["state"]


def log(run, phase):
    return [
        row for row in map(json.loads, (run.path / "metrics.jsonl").read_text().splitlines()) if row["phase"] == phase
    ]


def test_geometric_mean_of_headlines():
    scores = {"diagnosis/auc": 0.81, "lungs/jaccard": 0.64, "lungs/dice": 0.9}
    headlines = {recipe().headline(task) for task in ("diagnosis", "lungs")}
    assert headlines <= scores.keys()
    assert geometric_mean(recipe(), scores) == pytest.approx(0.72)  # sqrt(0.81 * 0.64)
    assert geometric_mean(recipe(), scores | {"lungs/jaccard": float("nan")}) == 0.0
    assert geometric_mean(recipe(), {"lungs/jaccard": 0.64}) == pytest.approx(0.64)


@pytest.fixture
def scripted(monkeypatch):
    """Validation scores by hand: (AUC, Jaccard) after steps 1 to 4; remembers whose weights the test was given."""
    tested = []
    script = iter([(0.4, 0.4), (0.9, 0.4), (0.5, 0.5), (0.99, 0.2)])  # geometric means 0.4, 0.6, 0.5, 0.44

    def evaluate(model, data, device):
        if data.split.name == "test":
            tested.append({name: value.clone() for name, value in model.state_dict().items()})
            return {"diagnosis/auc": 0.5, "lungs/jaccard": 0.32, "lungs/dice": float("nan")}
        auc, jaccard = next(script)
        return {"diagnosis/auc": auc, "lungs/jaccard": jaccard}

    monkeypatch.setattr(ssmtl.engine, "evaluate", evaluate)
    monkeypatch.setattr(ssmtl.engine, "draw_pictures", lambda *_: [])
    return tested


@pytest.mark.parametrize("select", ["best", "last"])
def test_best_is_the_highest_geometric_mean_and_select_decides_what_is_tested(folder, scripted, select):
    one = recipe(steps=4, eval_every=1, checkpoint_every=1, select=select)
    run = folder(one)
    assert train(one, run, QUIET)
    assert manifest(run, "best") == {"step": 2, "best": pytest.approx(0.6), "best_step": 2, "tested": []}
    assert manifest(run, "last") == {"step": 4, "best": pytest.approx(0.6), "best_step": 2, "tested": []}
    (tested,) = scripted
    chosen, other = student(run, select), student(run, "last" if select == "best" else "best")
    assert all(tested[name].equal(chosen[name]) for name in chosen)
    assert not all(tested[name].equal(other[name]) for name in other)
    means = [row["geometric_mean"] for row in log(run, "validation") if row["split"] == "all"]
    assert means == pytest.approx([0.4, 0.6, 0.5, (0.99 * 0.2) ** 0.5])
    row, together = log(run, "test")
    assert (row["checkpoint"], row["weights"], row["split"], row["lungs/dice"]) == (select, "student", "test", None)
    assert (together["checkpoint"], together["split"]) == (select, "all")
    assert together["geometric_mean"] == pytest.approx(0.4)


def test_what_a_finished_run_leaves(folder):
    one = recipe(steps=2, eval_every=2)
    run = folder(one)
    assert run.note()["status"] == "running"
    assert finish(one, run, QUIET, train, resume=False) == 0
    note = run.note()
    assert (note["status"], note["device"], note["steps"], note["seed"]) == ("finished", "cpu", 2, 0)
    assert note["finished"] >= note["started"]
    assert note["command"] == "ssmtl run tiny.py"
    assert {"python", "torch", "ssmtl"} <= note["versions"].keys()
    assert run.recipe() == one
    (row,) = log(run, "train")
    terms = {"diagnosis/supervised", "diagnosis/consistency", "lungs/supervised", "lungs/matching"}
    logged = {f"diagnosis/{name}" for name in ("coverage", "confidence", *HISTOGRAM)}
    assert row.keys() - {"diagnosis/precision"} == {"phase", "step", "lr", "loss"} | terms | logged
    assert (row["step"], row["lr"]) == (2, 1e-3)
    (row, _) = log(run, "validation")
    assert row.keys() >= {"phase", "step", "split", "weights", "diagnosis/auc", "diagnosis/accuracy", "lungs/jaccard"}
    (row, _) = log(run, "test")
    assert row.keys() >= {"checkpoint", "weights", "diagnosis/f1_pneumonia", "lungs/dice", "lungs/hausdorff"}
    assert "<html" in (run.path / "report.html").read_text()
    assert list((run.path / "tensorboard").glob("events.out.*"))
    assert {path.name.split("--")[1] for path in (run.path / "pictures").iterdir()} == {
        "diagnosis",
        "diagnosis saliency",
        "lungs",
    }


def test_a_failed_run_says_so(folder, blind, monkeypatch):
    one = recipe()
    run = folder(one)
    monkeypatch.setattr(
        TrainStep, "_reduce", lambda *_: (torch.tensor(0.0), {"lungs/matching": torch.tensor(torch.nan)})
    )
    monkeypatch.setattr(ssmtl.engine.Fabric, "backward", lambda *_: None)
    with pytest.raises(NonFiniteLossError, match=r"the term lungs/matching became nan at step 0"):
        finish(one, run, QUIET, train, resume=False)
    assert run.note()["status"] == "failed"


def test_a_stopped_run_says_so_and_saves_where_it_stands(folder, blind, monkeypatch, capsys):
    one = recipe(steps=5)
    run = folder(one)
    real = ssmtl.engine._Trainer._agreed
    monkeypatch.setattr(ssmtl.engine._Trainer, "_agreed", lambda self, seen, done: done == 3 or real(self, seen, done))
    assert finish(one, run, QUIET, train, resume=False) == 130
    assert run.note()["status"] == "stopped"
    assert manifest(run, "last")["step"] == 3
    assert "Go on with: --resume" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(ssmtl.engine, "evaluate", lambda *_: {})
    monkeypatch.setattr(ssmtl.engine, "draw_pictures", lambda *_: [])
    assert finish(one, run, QUIET, train, resume=True) == 0
    assert (run.note()["status"], manifest(run, "last")["step"]) == ("finished", 5)


def mean_gradient(one, count):
    """Return the model's first weights and the mean gradient of the first step's micro-steps."""
    torch.manual_seed(ssmtl.engine.key("weights", one.seed))
    step = TrainStep(one).train()
    batches = training_loader(open_sources(one), start=0, stop=count, rank=0, world=1, workers=0, pin=False)
    for micro, batch in enumerate(batches):
        (step(batch, 0, micro)[0] / count).backward()
    return {name: (p.detach(), p.grad) for name, p in step.student.named_parameters()}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_step_of_sgd_by_hand(folder, blind, accumulate):
    one = recipe(steps=1, optimizer="sgd", lr=0.1, accumulate=accumulate)
    run = folder(one)
    assert train(one, run, QUIET)
    after = student(run)
    for name, (before, gradient) in mean_gradient(one, accumulate).items():
        # Nesterov's first step: the velocity is the gradient, the update gradient + momentum * velocity.
        expected = before - 0.1 * (1 + MOMENTUM) * gradient
        assert torch.allclose(after[name], expected, rtol=1e-4, atol=1e-6), name


def test_clipping_bounds_the_norm_of_the_gradient(folder, blind):
    one = recipe(steps=1, optimizer="sgd", lr=1.0, clip=0.01)
    run = folder(one)
    assert train(one, run, QUIET)
    before = mean_gradient(one, 1)
    norm = torch.stack([gradient.norm() for _, gradient in before.values()]).norm()
    assert norm > 0.1, "the clip must bite"
    after = student(run)
    moved = torch.stack([(after[name] - value).norm() for name, (value, _) in before.items()]).norm()
    assert moved.item() == pytest.approx(0.01 * (1 + MOMENTUM), rel=1e-3)


def test_half_precision_trains_and_stays_close(folder, blind):
    one = recipe(steps=3)
    runs = {name: folder(one, name) for name in ("32-true", "bf16-mixed")}
    for precision, run in runs.items():
        assert train(one, run, Options(workers=0, quiet=True, precision=precision))
    full, half = (log(run, "train")[-1] for run in runs.values())
    assert full["loss"] != half["loss"]
    assert full["loss"] == pytest.approx(half["loss"], rel=0.1)
    weights = student(runs["bf16-mixed"])
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in weights.values())


def test_the_first_checkpoint_is_written_before_the_first_step(folder, blind, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    one = recipe()
    run = folder(one)
    monkeypatch.setattr(ssmtl.engine._Trainer, "_step", killed)
    with pytest.raises(Killed):
        train(one, run, QUIET)
    assert manifest(run, "last")["step"] == 0


def test_progress_reads_back_what_it_wrote_and_nothing_else():
    for progress in (Progress(), Progress(step=7, best=0.5, best_step=5)):
        assert Progress.read(json.loads(json.dumps(progress.state()))) == progress
    with pytest.raises(CheckpointError, match="is not one of a run"):
        Progress.read({"step": 3})
