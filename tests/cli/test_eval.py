"""`ssmtl eval`, `compare` and `report`: the numbers of a run folder, without the recipe's file."""

import json
import shutil

import pytest
from in_process import call, refused

SPLITS = {"diagnosis test", "lungs test", "diagnosis cross", "lungs cross"}


def lines(run, phase):
    return [row for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if row["phase"] == phase]


def evaluated(run):
    return json.loads((run / "evaluation.json").read_text())


def test_eval_repeats_the_numbers_of_training(run_copy):
    outcome = call("eval", run_copy)
    assert outcome.code == 0, outcome
    note = evaluated(run_copy)
    assert (note["step"], note["weights"]) == (3, "teacher")
    tested = {row["split"]: row for row in lines(run_copy, "test")}
    assert set(note["splits"]) == set(tested) == SPLITS
    for split, values in note["splits"].items():
        assert len(values) > 4
        for name, value in values.items():
            assert tested[split][name] == pytest.approx(value, abs=1e-6, nan_ok=True), (split, name)
            assert f"{value:.4f}" in outcome.out


@pytest.mark.parametrize("weights", ["student", "teacher"])
def test_eval_of_the_best_checkpoint(run_copy, weights):
    assert call("eval", run_copy, "--checkpoint", "best", "--weights", weights).code == 0
    best = json.loads((run_copy / "checkpoints/best/manifest.json").read_text())["state"]["step"]
    note = evaluated(run_copy)
    assert (note["step"], note["weights"]) == (best, weights)
    assert note["checkpoint"] == str(run_copy / "checkpoints/best")


def test_eval_of_data_that_moved(run_copy, films, tmp_path):
    recipe = run_copy / "recipe.json"
    recipe.write_text(recipe.read_text().replace(json.loads(recipe.read_text())["recipe"]["data"], str(films)))
    assert call("eval", run_copy).code == 0
    before = evaluated(run_copy)["splits"]
    shutil.move(films, tmp_path / "elsewhere")
    sentence = refused("eval", run_copy)
    assert f"found no folder {films}" in sentence
    assert call("eval", run_copy, "--data", tmp_path / "elsewhere").code == 0
    assert evaluated(run_copy)["splits"] == before


def test_eval_of_a_manifest_that_moved(run_copy, films, tmp_path):
    recipe = run_copy / "recipe.json"
    recipe.write_text(recipe.read_text().replace(json.loads(recipe.read_text())["recipe"]["data"], str(films)))
    shutil.move(films, tmp_path / "elsewhere")
    manifest = tmp_path / "elsewhere/manifest.csv"
    manifest.write_text("image\n")
    assert call("eval", run_copy, "--data", manifest).code == 0


def test_data_of_a_run_on_phantoms_can_not_move(run_copy, films):
    path = run_copy / "recipe.json"
    recipe = json.loads(path.read_text())
    recipe["recipe"]["data"] = None
    path.write_text(json.dumps(recipe))
    assert "was trained without a data folder; leave out --data" in refused("eval", run_copy, "--data", films)


def test_a_relative_data_folder_is_remembered_as_an_absolute_one(study, films, tmp_path, monkeypatch):
    monkeypatch.chdir(films.parent)
    assert call(*study(data=films.name)).code == 0
    monkeypatch.chdir("/")
    assert call("eval", tmp_path / "run").code == 0


def test_a_run_folder_is_complete(trained):
    for name in (
        *("recipe.json", "run.json", "metrics.jsonl", "report.html"),
        *(f"checkpoints/{which}/{who}.safetensors" for which in ("last", "best") for who in ("student", "teacher")),
    ):
        assert (trained.path / name).stat().st_size > 0, name
    assert list((trained.path / "tensorboard").glob("events.*"))
    assert len(list((trained.path / "pictures").glob("*lungs*.png"))) >= 2
    assert "report: " in trained.outcome.out


def test_report_is_written_again(run_copy):
    (run_copy / "report.html").unlink()
    outcome = call("report", run_copy)
    assert outcome.code == 0
    assert "lungs test" in outcome.out
    assert "<html" in (run_copy / "report.html").read_text()


@pytest.fixture
def variants(run_copy, tmp_path):
    """Two seeds of one recipe and two of another, whose every accuracy is 0.25 higher."""
    folders = []
    for name, seed, accuracy in (("plain", 0, 0.5), ("plain", 1, 0.6), ("better", 0, 0.75), ("better", 1, 0.85)):
        folder = shutil.copytree(run_copy, tmp_path / f"{name} {seed}")
        for file in ("recipe.json", "run.json"):
            data = json.loads((folder / file).read_text())
            data.get("recipe", data).update(name=name, seed=seed)
            (folder / file).write_text(json.dumps(data))
        row = {"phase": "test", "step": 3, "split": "test", "checkpoint": "last", "weights": "student"}
        (folder / "metrics.jsonl").write_text(json.dumps(row | {"diagnosis/accuracy": accuracy}))
        folders.append(folder)
    return folders


def test_compare_prints_and_writes_differences_to_the_baseline(variants, tmp_path):
    outcome = call("compare", *variants, "--baseline", "plain", "--json", tmp_path / "out.json")
    assert outcome.code == 0, outcome
    assert "0.550 ± 0.071" in outcome.out
    assert "+0.250 ± 0.000 (2/2)" in outcome.out
    data = json.loads((tmp_path / "out.json").read_text())
    difference = data["differences"]["better"]["test"]["diagnosis/accuracy"]
    assert difference["values"] == pytest.approx([0.25, 0.25])


def test_compare_suggests_the_nearest_baseline(variants):
    assert "did you mean 'plain'?" in refused("compare", *variants, "--baseline", "plian")
