"""`ssmtl data coverage`: the matrix of labels and what batches carry, as words, as numbers, or one sentence."""

import json

import pytest
from in_process import call, refused
from launch import TINY

MULTIMIX = ("multimix_cxr", "--size", 32)


def lines(outcome):
    """Return the cells of the tables' rows by their first cell."""
    assert outcome.code == 0, outcome
    rows = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in outcome.out.splitlines() if "│" in line]
    return {row[0]: row[1:] for row in rows}


def test_the_matrix_of_two_sources():
    outcome = call("data", "coverage", TINY)
    rows = lines(outcome)
    assert rows["films"] == ["24", "8 of 24", "-", "0", "16"]
    assert rows["lung films"] == ["24", "-", "4 of 24", "0", "20"]
    assert rows["all"] == ["48", "8 of 24", "4 of 24", "0", "36"]
    assert rows["films labeled"] == ["2", "8", "2.00", "0.00"]
    assert rows["lung films unlabeled"] == ["2", "20", "unused", "unused"]
    assert rows["the batch"] == ["8", "", "2.00", "2.00"]
    assert rows["batches without any"] == ["", "", "0.0%", "0.0%"]
    assert "warning" not in outcome.out


def test_the_recipes_flags_count_and_starvation_is_a_warning():
    outcome = call("data", "coverage", TINY, "--streams", "implicit")
    assert lines(outcome)["the batch"] == ["4", "", "0.67", "0.33"]
    warnings = [line for line in outcome.out.splitlines() if line.startswith("warning: ")]
    assert [line.split("'")[1] for line in warnings] == ["diagnosis", "lungs"]
    assert "carries 0.33 labeled rows on average, and 70% of the batches none" in warnings[1]


def test_few_labels_beside_many_are_a_warning():
    outcome = call("data", "coverage", *MULTIMIX, "--diagnosis-labels", 200, "--lung-labels", 10)
    assert "warning: 'lungs' is starved: it has 10 labels, 'diagnosis' 200." in outcome.out


def test_one_task_needs_no_column_for_all_of_them():
    outcome = call("data", "coverage", *MULTIMIX, "--method", "u-net")
    assert "every task" not in outcome.out
    assert lines(outcome)["lung films"] == ["150", "10 of 150", "140"]


def test_the_numbers_are_written_too(tmp_path):
    out = tmp_path / "coverage.json"
    assert f"numbers: {out}" in call("data", "coverage", TINY, "--out", out).out
    found = json.loads(out.read_text())
    assert found["total"]["labeled"] == {"diagnosis": 8, "lungs": 4}
    assert found["total"]["hidden"] == {"diagnosis": 16, "lungs": 20}
    assert found["expected"] == {"diagnosis": 2.0, "lungs": 2.0}
    assert found["warnings"] == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("data", "coverage", "multimix_cx"), "did you mean 'multimix_cxr'?"),
        (("data", "covrage", TINY), 'Did you mean "coverage"?'),
        (("data", "coverage"), "parameter RECIPE requires an argument"),
        (("data", "coverage", TINY, "--rows", 3), "Unknown option: --rows"),
        (("data", "coverage", TINY, "--out", "nowhere/x.json"), "the file system refused nowhere/x.json"),
        (("data", "coverage", *MULTIMIX, "--lung-labels", 151), "asks for 151 labels of 'lungs', but its sources have"),
    ],
)
def test_mistakes_are_one_sentence(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused(*words)
    assert not list(tmp_path.iterdir())


def test_help_teaches():
    assert "data" in call("--help").out
    assert "coverage" in call("data", "--help").out
    general = call("data", "coverage", "--help").out
    for word in ("RECIPE", "hides", "--out", "Example: ssmtl data coverage multimix_cxr"):
        assert word in general
    page = call("data", "coverage", "multimix_cxr", "--help").out
    own, _, shared = page.partition("Flags of the matrix")
    for flag in ("--data", "--diagnosis-labels", "--seed"):
        assert flag in own
    assert "--out" in shared
    assert "less than one labeled" in " ".join(shared.split())


def test_a_run_writes_its_labels_and_a_resumed_one_notices_other_data(study, films, tmp_path):
    outcome = call(*study())
    assert outcome.code == 0, outcome
    path = tmp_path / "run/labels.json"
    found = json.loads(path.read_text())
    assert found["counts"] == {"diagnosis": 8, "lungs": 4}
    name = next(iter(found["labels"]["diagnosis"]["films"]))
    file = films / "cxr/classification" / name
    file.write_bytes(file.read_bytes() + b"\0")
    sentence = refused("run", "multimix_cxr", "--resume", tmp_path / "run", "--steps", 2, "--quiet")
    assert f"for {name} of the source 'films' or its image changed since" in sentence
    assert json.loads(path.read_text()) == found
