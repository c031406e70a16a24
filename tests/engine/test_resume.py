"""A run that was killed ends, once resumed, with the bits of one that was not."""

import json
import signal
import subprocess
import time

from launch import TINY, command, environment
from safetensors.torch import load_file

CHECKPOINT = "checkpoints/last/manifest.json"


def test_killed_and_resumed_equals_uninterrupted(tmp_path, ssmtl):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert ssmtl("run", TINY, "--out", straight).returncode == 0
    _kill_after_step(broken, 5)
    assert ssmtl("run", TINY, "--resume", broken).returncode == 0
    for name in ("student", "teacher"):
        ours, theirs = (load_file(run / f"checkpoints/last/{name}.safetensors") for run in (broken, straight))
        assert ours.keys() == theirs.keys()
        assert all(ours[key].equal(theirs[key]) for key in theirs)
    assert (broken / "metrics.jsonl").read_text() == (straight / "metrics.jsonl").read_text()


def test_ctrl_c_saves_and_resumes(tmp_path, ssmtl):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command("run", TINY, "--out", out, "--steps", 500, "--eval-every", 1000, "--checkpoint-every", 1000),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(out / CHECKPOINT, process)
    _wait_until_logged(out, 2, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"--resume {out}" in output.replace("\n", "")
    step = json.loads((out / CHECKPOINT).read_text())["state"]["step"]
    assert 0 < step < 500
    shorter = ssmtl("run", TINY, "--resume", out, "--steps", step - 1)
    assert shorter.returncode == 2
    assert f"the run stands at step {step}" in shorter.stderr
    assert ssmtl("run", TINY, "--resume", out, "--steps", step + 2).returncode == 0
    assert json.loads((out / CHECKPOINT).read_text())["state"]["step"] == step + 2
    assert json.loads((out / "recipe.json").read_text())["recipe"]["steps"] == step + 2


def _kill_after_step(out, step):
    process = subprocess.Popen(
        command("run", TINY, "--out", out), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _wait_for(out / CHECKPOINT, process)
    _wait_until_logged(out, step, process)
    process.kill()
    process.wait()
    assert _logged(out) < 12, "the run ended before it could be killed"


def _wait_until_logged(out, step, process):
    deadline = time.monotonic() + 120
    while _logged(out) < step and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)


def _logged(out):
    """Return the last step in the log."""
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith("}") else 0


def _wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    assert path.exists(), process.stderr.read() if process.stderr else "the run ended early"
