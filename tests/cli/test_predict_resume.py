"""`ssmtl predict` stopped and started again: nothing is done twice, and the files are those of one go."""

import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from films import film
from in_process import call, refused
from launch import command, environment
from PIL import Image

from ssmtl import predict
from ssmtl.prediction_log import Entry, PredictionLog

FINAL = ("predictions.csv", "predictions.coco.json", "masks", "overlays")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Eleven films of different sizes, so that they make two batches of 4 and one of 3."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(11):
        pixels = Image.fromarray(film(number, sick=number % 2 == 1)[0]).resize((40 + number, 50))
        pixels.save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def at_once(trained, films, tmp_path_factory):
    """What an uninterrupted prediction of the films leaves."""
    out = tmp_path_factory.mktemp("once") / "out"
    assert call("predict", trained.path, films, "--out", out).code == 0
    return contents(out)


def contents(out):
    """Return the bytes of all final files by name."""
    paths = [path for name in FINAL for path in (sorted((out / name).rglob("*")) or [out / name])]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def stop_after(monkeypatch, count):
    """Let Ctrl-C come after so many images."""
    real, left = predict.write_answers, [count]

    def write(*args):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(*args)

    monkeypatch.setattr(predict, "write_answers", write)


def counted(monkeypatch):
    """Return a list that gets the stem of every image that is predicted from now on."""
    real, stems = predict.write_answers, []

    def write(*args):
        stems.append(args[5])
        return real(*args)

    monkeypatch.setattr(predict, "write_answers", write)
    return stems


@pytest.mark.parametrize("images", [1, 6])
def test_what_was_stopped_goes_on_and_ends_the_same(trained, films, at_once, tmp_path, monkeypatch, images):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(patch, images)
        assert call("predict", trained.path, films, "--out", out).code == 130
    assert not (out / "predictions.csv").exists()
    stems = counted(monkeypatch)
    outcome = call("predict", trained.path, films, "--out", out)
    assert outcome.code == 0, outcome
    whole = images // 4 * 4
    assert stems == [f"{number:02d}" for number in range(whole, 11)]
    assert ("4 image(s) are done already" in outcome.err) == (whole == 4)
    assert contents(out) == at_once


def test_a_killed_process_leaves_nothing_that_hurts(trained, films, at_once, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(command("predict", trained.path, films, "--out", out), env=environment())
    log = out / "predictions.jsonl"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") > 2):
        time.sleep(0.002)
    process.kill()
    process.wait()
    with log.open("ab") as stream:
        stream.write(b'{"state": ["half a li')
    assert call("predict", trained.path, films, "--out", out).code == 0
    assert contents(out) == at_once
    assert all(json.loads(line) for line in log.read_text().splitlines())


def test_only_what_changed_is_predicted_again(trained, films, tmp_path, monkeypatch):
    folder, out = tmp_path / "films", tmp_path / "out"
    shutil.copytree(films, folder)
    words = ("predict", trained.path, folder, "--out", out, "--batch-size", 1)
    assert call(*words).code == 0
    before = (out / "predictions.csv").read_text()
    os.utime(folder / "03.png", (1, 1))
    (out / "masks/05--lungs.png").unlink()
    Image.fromarray(film(50, sick=True)[0]).save(folder / "99.png")
    stems = counted(monkeypatch)
    assert call(*words).code == 0
    assert stems == ["03", "05", "99"]
    rows = (out / "predictions.csv").read_text().splitlines()
    assert rows[:-1] == before.splitlines()
    assert rows[-1].startswith(f"{folder / '99.png'},99,")
    assert (out / "masks/05--lungs.png").exists()


def test_the_folder_of_other_weights_is_refused(trained, films, tmp_path):
    out = tmp_path / "out"
    assert call("predict", trained.path, films / "00.png", "--out", out).code == 0
    sentence = refused("predict", trained.path, films, "--out", out, "--weights", "student")
    assert "teacher, step 3, not of 'multimix_cxr multimix', student, step 3" in sentence
    assert "name another --out, or remove the folder" in sentence
    line, *rest = (out / "predictions.jsonl").read_text().splitlines()
    other = {**json.loads(line), "weights_sha256": "0"}
    (out / "predictions.jsonl").write_text("\n".join([json.dumps(other), *rest, ""]))
    assert "of the same run with other weights" in refused("predict", trained.path, films, "--out", out)


def test_a_foreign_file_of_that_name_is_not_touched(trained, films, tmp_path):
    (tmp_path / "predictions.jsonl").write_text('{"mine": 1}\n')
    assert "was not written by `ssmtl predict`" in refused("predict", trained.path, films, "--out", tmp_path)
    assert (tmp_path / "predictions.jsonl").read_text() == '{"mine": 1}\n'


def test_a_log_keeps_places_and_no_answers_in_memory(tmp_path):
    import tracemalloc

    from ssmtl.answers import Answers

    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    entries = [Entry(tmp_path / ".." / tmp_path.name / "." / f"{n}.png", f"{n}") for n in range(500)]
    for entry in entries:
        entry.path.write_bytes(b"1")
    answers = Answers({"name": "x" * 10_000}, [], [])
    with PredictionLog(tmp_path / "out", {"run": "r"}) as log:
        tracemalloc.start()
        for entry in entries:
            log.append(entry, (1, 1), answers)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < 500 * 1000
        assert np.all([log.has(entry) for entry in entries])
        assert log.read(entries[7])["columns"] == answers.columns
