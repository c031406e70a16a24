"""`ssmtl export`: the words, the file, the model card whose code runs, and what is refused."""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from films import film
from in_process import call, refused
from PIL import Image
from unchecked import unchecked

from ssmtl.datasets.canvas import place_image
from ssmtl.evaluate import predict
from ssmtl.runs import RunFolder

CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def _unchecked():
    """While a model is recorded its sizes are symbols, which run-time type checks take for anything but numbers."""
    with unchecked():
        yield


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The trained MultiMix as ONNX: its file, its card, and what was said."""
    file = tmp_path_factory.mktemp("exported") / "films.onnx"
    outcome = call("export", trained.path, "--out", file)
    assert outcome.code == 0, outcome
    return file, file.with_name("films.onnx.md").read_text(), outcome.err


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(film(7, sick=True)[0]).resize((75, 50)).save(path)
    return path


def wanted(run, picture, size=(32, 32), weights="teacher"):
    """Return what the model says of a picture, in probabilities."""
    model, _, _ = RunFolder(run).model("last", weights)
    with Image.open(picture) as image:
        pixels = place_image(image, size, 1, size)
    with torch.no_grad():
        outputs = predict(model, torch.from_numpy(pixels)[None], ("diagnosis", "lungs"))
    return {
        "diagnosis.probabilities": outputs["diagnosis"].softmax(1).numpy(),
        "lungs.probabilities": outputs["lungs"].sigmoid().numpy(),
    }


def run_code(text, folder, monkeypatch):
    """Run the Python blocks of a card, one after the other, in a folder; return their names."""
    monkeypatch.chdir(folder)
    names = {}
    for block in CODE.findall(text):
        exec(block, names)  # the card of a file that this test made
    return names


def test_the_file_says_what_the_model_says(exported, trained, picture):
    file, _, said = exported
    session = onnxruntime.InferenceSession(str(file))
    names = [output.name for output in session.get_outputs()]
    with Image.open(picture) as image:
        pixels = place_image(image, (32, 32), 1, (32, 32)).astype(np.float32)[None] / 255
    found = dict(zip(names, session.run(names, {"images": pixels}), strict=True))
    expected = wanted(trained.path, picture)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    assert float(re.search(r"random batches: (\S+)", said)[1]) < 1e-4


def test_the_file_holds_the_names_of_its_classes(exported):
    notes = {entry.key: entry.value for entry in onnx.load(exported[0]).metadata_props}
    assert json.loads(notes["classes"]) == {"diagnosis": ["normal", "pneumonia"], "lungs": ["lung"]}
    assert (notes["step"], notes["weights"]) == ("3", "teacher")


def test_the_code_on_the_card_runs_and_says_the_same(exported, trained, picture, monkeypatch, capsys):
    file, card, _ = exported
    (picture.parent / file.name).write_bytes(file.read_bytes())
    found = run_code(card, picture.parent, monkeypatch)["found"]
    assert "lungs.probabilities (1, 1, 32, 32)" in capsys.readouterr().out
    for name, values in wanted(trained.path, picture).items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)


def test_the_card_tells_input_outputs_data_scores_and_deviations(exported, trained):
    _, card, _ = exported
    assert "| `diagnosis` | Classification | normal, pneumonia |" in card
    assert "| `lungs.probabilities` | n, 1, 32, 32 | float32 | of 'lung' at each pixel |" in card
    assert "(mean 0.5; standard deviation 0.5)" in card
    labels = json.loads((trained.path / "labels.json").read_text())["counts"]
    rows = [line.split(" | ") for line in card.splitlines() if line.startswith(("| films |", "| lung films |"))]
    assert [cell.strip(" |") for cell in rows[0][2:]] == [str(labels["diagnosis"]), "0"]
    assert [cell.strip(" |") for cell in rows[1][2:]] == ["0", str(labels["lungs"])]
    for deviation in RunFolder(trained.path).recipe().deviations:
        assert f"- {deviation}" in card


def test_the_card_has_the_scores_of_these_weights_only(exported, trained):
    _, card, _ = exported
    found = [line.strip("| ").split(" | ") for line in card.splitlines() if re.match(r"\| (test|validation) \|", line)]
    records = [json.loads(line) for line in (trained.path / "metrics.jsonl").read_text().splitlines()]
    tested = {
        (record["phase"], record["split"], name): value
        for record in records
        if record.get("weights") == "teacher" and (record["phase"] == "test" or record["step"] == 3)
        for name, value in record.items()
        if "/" in name or name == "geometric_mean"
    }
    assert tested
    assert {tuple(row[:3]) for row in found} >= {key for key in tested if key[0] == "test"}
    for phase, split, metric, value in found:
        expected = tested[phase, split, metric]
        assert value == ("undefined" if expected is None else f"{expected:.4f}")


def test_a_program_of_torch_takes_dynamic_sizes_and_its_card_runs(trained, picture, monkeypatch):
    file = picture.parent / "films.pt2"
    words = ("--format", "torch", "--weights", "student", "--dynamic", "--out", file)
    outcome = call("export", trained.path, *words)
    assert outcome.code == 0, outcome
    card = file.with_name("films.pt2.md").read_text()
    least = int(re.search(r"any multiples of 16 from (\d+) pixels on", card)[1])
    assert "| `lungs.probabilities` | n, 1, height, width |" in card
    assert "None was measured for these weights" in card
    found = run_code(card, picture.parent, monkeypatch)["found"]
    for name, values in wanted(trained.path, picture, (least, least), "student").items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)
    larger = torch.export.load(file).module()(torch.rand(2, 1, least + 32, least))
    assert larger["lungs.probabilities"].shape == (2, 1, least + 32, least)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--size", 32, 32, "--dynamic"), "both --size 32 32 and --dynamic were given"),
        (("--size", 40, 32), "multiples of 16"),
        (("--size", 0, 32), "give two sides of 1 or more"),
        (("--checkpoint", "best", "--weights", "nobody"), "nobody"),
    ],
)
def test_what_can_not_be_exported_is_refused_and_leaves_nothing(trained, tmp_path, words, says):
    assert says in refused("export", trained.path, "--out", tmp_path / "out/model.onnx", *words)
    assert not (tmp_path / "out").exists()


def test_without_the_extra_it_says_how_to_get_it(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    sentence = refused("export", trained.path, "--out", tmp_path / "model.onnx")
    assert 'pip install "ssmtl[export]"' in sentence
    assert "onnxscript" in sentence
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_kept(trained, tmp_path, monkeypatch):
    from ssmtl.commands import export

    def save(program, notes, file):
        file.touch()
        return lambda images: {"diagnosis.probabilities": torch.ones(len(images), 2) / 2, "lungs.probabilities": images}

    monkeypatch.setattr(export, "record", lambda *_, **__: None)
    monkeypatch.setattr(export, "save_program", save)
    sentence = refused("export", trained.path, "--format", "torch", "--out", tmp_path / "model.pt2")
    assert "the file's 'diagnosis.probabilities' differs from the model's" in sentence
    assert not list(tmp_path.iterdir())
