"""Run folders that are damaged, full, taken or failing: what was good stays good."""

import errno
import json
import resource
import shutil

import pytest
from in_process import call, refused
from launch import TINY
from safetensors.torch import load_file

import ssmtl.checkpoint

QUICK = ("--workers", 0, "--quiet")
LAST = "checkpoints/last/manifest.json"


def step_of(run):
    return json.loads((run / LAST).read_text())["state"]["step"]


def status_of(run):
    return json.loads((run / "run.json").read_text())["status"]


def damage(run, *names):
    for name in names:
        path = run / f"checkpoints/{name}/student.safetensors"
        path.write_bytes(path.read_bytes()[:-10])


@pytest.fixture(scope="module")
def _finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "run"
    assert call("run", TINY, "--out", path, "--steps", 2, *QUICK).code == 0
    return path


@pytest.fixture
def tiny_run(_finished, tmp_path):
    """A copy of two finished steps of the tiny study."""
    return shutil.copytree(_finished, tmp_path / "run")


@pytest.mark.parametrize("command", [("eval",), ("report",), ("compare",), ("predict", "film.png")])
def test_a_folder_that_is_no_run(tmp_path, command):
    (tmp_path / "film.png").touch()
    name, *rest = command
    assert "is not a run folder: it has no recipe.json" in refused(name, tmp_path, *(tmp_path / word for word in rest))


def test_resuming_a_folder_that_is_no_run(tmp_path):
    assert "is not a run folder" in refused("run", TINY, "--resume", tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "can't be read as a recipe"),
        ('{"format": 99, "plugins": {}, "recipe": {}}', "has format 99, this version reads 1"),
        ('{"format": 1, "plugins": {}, "recipe": {"kind": "Recipe", "nam": "x"}}', "did you mean 'name'?"),
    ],
)
def test_a_damaged_recipe(run_copy, text, says):
    (run_copy / "recipe.json").write_text(text)
    assert says in refused("eval", run_copy)


def test_a_plugin_that_is_gone_is_named(run_copy):
    path = run_copy / "recipe.json"
    path.write_text(path.read_text().replace('"FixMatch"', '"FixMatchTwo"'))
    sentence = refused("eval", run_copy)
    assert "no installed package offers 'FixMatchTwo'" in sentence
    assert "did you mean 'FixMatch'?" in sentence


@pytest.mark.parametrize("command", ["eval", "predict"])
def test_a_damaged_checkpoint_falls_back_and_says_so(run_copy, films, command):
    damage(run_copy, "last")
    outcome = call(command, run_copy, *([films / "cxr_cross/montgomery/images"] if command == "predict" else []))
    assert outcome.code == 0
    last = run_copy / "checkpoints/last"
    assert f"checkpoint {last} is missing or damaged; going on from {last}.previous." in outcome.err
    assert "step 2" in outcome.out + outcome.err


@pytest.mark.parametrize("command", [("eval",), ("predict", "film.png"), ("run", TINY, "--resume")])
def test_two_damaged_checkpoints_are_refused(run_copy, tmp_path, command):
    damage(run_copy, "last", "last.previous")
    (tmp_path / "film.png").touch()
    words = {"predict": ("predict", run_copy, tmp_path / "film.png")}.get(command[0], (*command, run_copy))
    sentence = refused(*words)
    assert "no usable checkpoint" in sentence
    assert sentence.count("student.safetensors is missing or damaged") == 2


def test_resuming_falls_back_too(tmp_path):
    run = tmp_path / "run"
    assert call("run", TINY, "--out", run, "--steps", 3, "--checkpoint-every", 1, *QUICK).code == 0
    damage(run, "last")
    outcome = call("run", TINY, "--resume", run, "--steps", 4, *QUICK)
    assert outcome.code == 0, outcome
    assert "missing or damaged; going on from" in outcome.err
    assert step_of(run) == 4


def test_a_run_without_checkpoints_still_has_its_report(run_copy):
    for name in ("last", "last.previous"):
        (run_copy / f"checkpoints/{name}/manifest.json").unlink()
    assert "holds no checkpoint" in refused("eval", run_copy)
    assert call("report", run_copy).code == 0


def test_a_taken_folder_is_refused_and_untouched(tiny_run):
    before = (tiny_run / "recipe.json").read_bytes()
    sentence = refused("run", TINY, "--out", tiny_run, "--seed", 7, *QUICK)
    assert f"already holds a run; name another --out, or go on with --resume {tiny_run}" in sentence
    assert (tiny_run / "recipe.json").read_bytes() == before


@pytest.mark.parametrize("words", [("--seed", 1), ("--lr", 1e-4), ("--out", "elsewhere")])
def test_resume_takes_everything_from_the_folder(tiny_run, words):
    assert f"leave out {words[0]}" in refused("run", TINY, "--resume", tiny_run, *words)


def test_a_run_keeps_its_precision(tiny_run):
    note = json.loads((tiny_run / "run.json").read_text())
    assert note["options"] == {"devices": 1, "precision": "32-true", "workers": 0}
    words = ("run", TINY, "--resume", tiny_run, "--precision", "bf16-mixed")
    assert "the run uses precision 32-true to its end; leave out --precision" in refused(*words)


def test_a_full_disk_while_saving_loses_nothing(tiny_run):
    before = load_file(tiny_run / "checkpoints/last/student.safetensors")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        sentence = refused("run", TINY, "--resume", tiny_run, "--steps", 3, *QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "can't be written" in sentence
    assert "the previous one is untouched" in sentence
    after = load_file(tiny_run / "checkpoints/last/student.safetensors")
    assert all(after[name].equal(before[name]) for name in before)
    assert status_of(tiny_run) == "failed"
    assert call("run", TINY, "--resume", tiny_run, "--steps", 3, *QUICK).code == 0
    assert step_of(tiny_run) == 3


def test_a_full_disk_keeps_the_checkpoint_of_an_earlier_step(tmp_path, monkeypatch):
    saved = []

    def save_file(tensors, path, *rest):
        saved.append(path)
        if len(saved) > 4:  # student and teacher, at steps 0 and 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(tensors, path, *rest)

    real = ssmtl.checkpoint.save_file
    monkeypatch.setattr(ssmtl.checkpoint, "save_file", save_file)
    run = tmp_path / "run"
    sentence = refused("run", TINY, "--out", run, "--steps", 3, "--checkpoint-every", 1, *QUICK)
    assert "No space left on device" in sentence
    assert step_of(run) == 1
    assert not list(run.glob("checkpoints/.*"))


def test_a_log_that_can_not_be_written_is_one_sentence(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr("ssmtl.logs.RunLog._write", full)
    sentence = refused("run", TINY, "--out", tmp_path / "run", "--steps", 1, *QUICK)
    assert "the file system refused metrics.jsonl: No space left on device" in sentence


def test_a_loss_that_explodes_stops_and_leaves_what_is_needed(tmp_path):
    run = tmp_path / "run"
    sentence = refused("run", TINY, "--out", run, "--lr", 1e30, "--steps", 4, "--checkpoint-every", 4, *QUICK)
    (folder,) = run.glob("failed_step_*")
    assert "the term diagnosis/" in sentence
    assert str(folder) in sentence
    note = json.loads((folder / "step.json").read_text())
    assert folder.name == f"failed_step_{note['step']:06d}"
    assert any(value == "nan" for value in note["terms"].values())
    images = load_file(folder / "batch.safetensors")["images"]
    assert images.shape == (8, 1, 32, 32)
    assert len(note["images"]) == 8
    weights = load_file(folder / "student.safetensors")
    good = load_file(run / "checkpoints/last/student.safetensors")
    assert weights.keys() == good.keys()
    assert all(value.isfinite().all() for value in good.values())
    assert step_of(run) == 0
    assert status_of(run) == "failed"


def test_weights_that_are_not_finite_never_replace_a_good_checkpoint(tmp_path, monkeypatch):
    from ssmtl.engine import _Trainer

    def overflow(trainer, step, lr, batches):
        values = real(trainer, step, lr, batches)
        next(trainer.module.student.parameters()).data.fill_(float("inf"))
        return values

    real = _Trainer._step
    monkeypatch.setattr(_Trainer, "_step", overflow)
    run = tmp_path / "run"
    sentence = refused("run", TINY, "--out", run, "--steps", 3, "--checkpoint-every", 1, *QUICK)
    assert "weights" in sentence
    assert step_of(run) == 0
