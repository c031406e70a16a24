import json
import math

import pytest

from ssmtl.errors import CheckpointError
from ssmtl.report.records import read_metrics, read_run


def test_a_run_is_read_by_phase(make_run):
    run = read_run(make_run())
    assert [len(run.phase(name)) for name in ("train", "validation", "test")] == [10, 2, 2]
    assert run.info.command == "ssmtl run recipes/multimix_cxr.py --seed 0"
    assert run.phase("test")[0].values["diagnosis/accuracy"] == 0.75
    assert "step" not in run.phase("train")[0].values
    assert run.missing == ()


@pytest.mark.parametrize(
    "tail", ['{"phase":"train","st', '{"phase":"train","step":7,"loss":1.0', "\x00\x00", "7", "[" * 100_000]
)
def test_half_a_line_at_the_end_is_left_out_and_counted(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"phase":"train","step":5,"loss":2.0}\n' + tail)
    records, missing = read_metrics(path)
    assert [(record.step, record.values["loss"]) for record in records] == [(5, 2.0)]
    assert missing == ("1 line(s) of metrics.jsonl can't be read and were left out.",)


def test_a_resumed_run_continues_after_half_a_line_and_repeats_steps(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"phase":"train","step":10,"loss":3.0}\n{"phase":"train","step":20,"loss":9.0}\n{"phase":"tr'
        '{"phase":"train","step":15,"loss":1.0}\n{"phase":"train","step":20,"loss":2.0}\n'
    )
    records, missing = read_metrics(path)
    assert [(record.step, record.values["loss"]) for record in records] == [(10, 3.0), (20, 2.0)]
    assert len(missing) == 1


def test_null_nan_and_infinity_are_numbers_and_words_are_not(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"phase":"train","step":1,"a":null,"b":NaN,"c":-Infinity,"d":"x","e":true,"f":[1],"g":2}\n')
    ((record,), _) = read_metrics(path)
    assert set(record.values) == {"a", "b", "c", "g"}
    assert math.isnan(record.values["a"])
    assert math.isnan(record.values["b"])
    assert record.values["c"] == -math.inf


@pytest.mark.parametrize("text", ["", "\n\n", "not json\n"])
def test_a_log_without_records_is_told(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text(text)
    records, missing = read_metrics(tmp_path / "metrics.jsonl")
    assert records == ()
    assert missing == ("metrics.jsonl holds no readable record: there are no metrics and no curves.",)


def test_a_missing_log_is_told(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl")[1] == (
        "metrics.jsonl is missing: there are no metrics and no curves.",
    )


@pytest.mark.parametrize("name", ["recipe.json", "run.json"])
@pytest.mark.parametrize("text", ["{", "[1]", "\xff", "[" * 100_000])
def test_damaged_json_is_one_sentence(make_run, name, text):
    folder = make_run()
    (folder / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=rf"{name} .*restore it from a copy"):
        read_run(folder)


def test_a_folder_that_is_not_a_run_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not a run folder: it has no recipe\.json"):
        read_run(tmp_path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CheckpointError, match="is not a run folder"):
        read_run(file)


def test_a_field_of_the_wrong_type_is_named(make_run):
    with pytest.raises(CheckpointError, match=r"run\.json is damaged: 'seed' input should be a valid integer"):
        read_run(make_run(info={"seed": "many"}))


def test_a_newer_format_is_refused(make_run):
    folder = make_run()
    dump = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps({**dump, "format": 2}))
    with pytest.raises(CheckpointError, match="has format 2, expected 1 with a recipe; upgrade ssmtl"):
        read_run(folder)
