import math

import pytest
from rich.console import Console

from ssmtl.report.records import read_run
from ssmtl.report.tables import metric_table, number, split_tables


def lines(table):
    return {(line.task, line.metric): line for line in table.lines}


def text_of(table):
    console = Console(width=300, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return " ".join(capture.get().split())


def test_ours_stands_beside_the_published_row_of_the_same_budget(make_run):
    inside, outside = split_tables(read_run(make_run()))
    assert inside.columns == ("ours (last, student)",)
    # MELBA Table 2 and Table 3, MultiMix, 100 labels and 10 masks
    assert lines(inside)["diagnosis", "accuracy"][2:4] == (("0.750",), "0.800 ± 0.025")
    assert lines(inside)["lungs", "Jaccard"][2:4] == (("0.812",), "0.920 ± 0.008")
    assert lines(outside)["diagnosis", "accuracy"][2:4] == (("0.500",), "0.440 ± 0.058")
    assert lines(outside)["lungs", "Dice"][2:4] == (("0.900",), "0.857 ± 0.028")
    assert lines(inside)["diagnosis", "AUC"].published == ""
    assert "Table 2 (in-domain: classification test data CheX" in inside.source
    assert "Table 3 (cross-domain: classification test data NIHX" in outside.source


@pytest.mark.parametrize(
    ("source", "inside", "outside"),
    [
        ({"kind": "ChestPhantom", "hospital": "a"}, {"samples": 200, "seed": 4}, {"hospital": "b"}),
        ({"kind": "ClassFolders", "root": "cxr"}, {"split": "test"}, {"root": "cxr_cross"}),
        ({"kind": "JSRT", "root": "films"}, {"split": "test"}, {"kind": "Montgomery"}),
    ],
)
def test_what_makes_a_split_in_domain_is_the_collection_not_its_part(make_run, source, inside, outside):
    recipe = {
        "sources": [{"reader": source}],
        "test": [
            {"name": "CheX test", "reader": {**source, **inside}},
            {"name": "NIH test", "reader": {**source, **outside}},
        ],
    }
    same, other = split_tables(read_run(make_run(recipe=recipe)))
    assert "(in-domain" in same.source
    assert "(cross-domain" in other.source


def test_readers_around_others_bring_the_same_collection(make_run):
    def around(reader, **more):
        return {"kind": "Subset", "reader": {"kind": "Cached", "reader": reader}, **more}

    films = {"kind": "CheX", "root": "films"}
    recipe = {
        "sources": [{"reader": around(films, start=100)}],
        "test": [
            {"name": "CheX test", "reader": {**films, "split": "test"}},
            {"name": "NIH test", "reader": around({"kind": "NIHChestXray", "root": "nih"})},
        ],
        "published": {
            "paper": "multimix-melba",
            "method": "MultiMix",
            "setting": {"n_cls_labels": 100, "n_seg_labels": 10},
        },
    }
    same, other = split_tables(read_run(make_run(recipe=recipe)))
    assert "(in-domain" in same.source
    assert "(cross-domain" in other.source
    assert "read by NIHChestXray" in other.warnings[0]


def test_numbers_from_other_data_are_never_shown_without_saying_so(make_run):
    published = {"paper": "multimix-melba", "method": "MultiMix", "setting": {"n_cls_labels": 100, "n_seg_labels": 10}}
    folder = make_run(recipe={"published": published})
    for table in split_tables(read_run(folder)):
        assert table.published_title == "published, on other data"
        assert any(warning.startswith("The published numbers are from other data") for warning in table.warnings)
    shown = text_of(metric_table(folder))
    assert "published, on other data" in shown
    assert "for orientation, not a comparison" in shown


def test_doubts_become_numbered_footnotes(make_run):
    published = {
        "paper": "multimix-melba",
        "method": "UMTL",
        "setting": [["n_cls_labels", 100], ["n_seg_labels", 10]],
        "same_data": True,
    }
    folder = make_run(recipe={"published": published})
    inside = split_tables(read_run(folder))[0]
    (note,) = lines(inside)["lungs", "Dice"].notes
    assert "0.305 below the 0.931" in inside.footnotes[note - 1]
    assert lines(inside)["lungs", "Jaccard"].notes == ()
    assert "come with a doubt or a remark" in text_of(metric_table(folder))


@pytest.mark.parametrize(
    ("published", "sentence"),
    [
        ({"paper": "multimix-melba", "method": "MultiMax"}, "did you mean 'MultiMix'"),
        ({"paper": "multimix-melba", "method": "MultiMix", "setting": [["n_cls_labels", 7]]}, "has no row of MultiMix"),
        ({"paper": "multimix-melba", "method": "MultiMix"}, "has 9 rows of MultiMix"),
        ({"paper": "multimix-melba", "method": "MultiMix", "setting": "all"}, "its setting is 'all', expected pairs"),
    ],
)
def test_without_exactly_one_published_row_the_table_says_why(make_run, published, sentence):
    for table in split_tables(read_run(make_run(recipe={"published": published}))):
        assert table.source == ""
        assert any(sentence in warning for warning in table.warnings)
        assert {line.published for line in table.lines} == {""}


def test_a_run_that_is_compared_with_nothing_has_no_column_for_it(make_run):
    folder = make_run(recipe={"published": None})
    assert not any(table.warnings for table in split_tables(read_run(folder)))
    assert "published" not in text_of(metric_table(folder))
    assert "no metrics yet" not in text_of(metric_table(folder))


def test_weights_and_checkpoints_are_columns_and_the_last_record_of_each_stands(make_run):
    def scored(step, weights, auc):
        return {"phase": "test", "step": step, "split": "s", "checkpoint": "last", "weights": weights, "d/auc": auc}

    records = [scored(1, "student", 0.1), scored(2, "student", 0.2), scored(2, "teacher", None)]
    (table,) = split_tables(read_run(make_run(records=records)))
    assert table.columns == ("ours (last, student)", "ours (last, teacher)")
    assert lines(table)["d", "AUC"].ours == ("0.200", "n/a")


def test_a_median_of_checkpoints_says_so_beside_a_single_one(make_run):
    def scored(phase, checkpoint, error):
        return {"phase": phase, "step": 9, "split": "s", "checkpoint": checkpoint, "weights": "t", "d/error_pct": error}

    records = [
        scored("checkpoint_test", "single", 99.0),
        scored("test", "last", 50.0),
        scored("test", "median of last 7", 9.786),
    ]
    folder = make_run(records=records)
    (table,) = split_tables(read_run(folder))
    assert table.columns == ("ours (last, t)", "ours (median of last 7, t)")
    assert lines(table)["d", "error %"].ours == ("50.00", "9.79")
    (remark,) = table.remarks
    assert remark.startswith("Ours is the median of the last 7 checkpoints, of each metric by itself")
    assert remark in text_of(metric_table(folder))
    (plain,) = split_tables(read_run(make_run("plain", records=[scored("test", "last", 50.0)])))
    assert plain.remarks == ()


def test_an_untested_run_shows_its_last_validation_beside_nothing_published(make_run):
    records = [
        {"phase": "validation", "step": step, "split": "validation", "weights": "student", "diagnosis/accuracy": value}
        for step, value in ((50, 0.25), (100, 0.5))
    ]
    folder = make_run(records=records)
    (table,) = split_tables(read_run(folder))
    assert lines(table)["diagnosis", "accuracy"][2:4] == (("0.500",), "")
    assert table.warnings == ("This run has not been tested: these are its validation metrics at step 100.",)
    assert table.source == ""
    assert "has not been tested" in text_of(metric_table(folder))


def test_a_run_without_metrics_has_a_table_that_says_so(make_run):
    folder = make_run(records=[{"phase": "train", "step": 1, "loss": 1.0}])
    assert "This run has no metrics yet." in text_of(metric_table(folder))
    (folder / "metrics.jsonl").unlink()
    assert "metrics.jsonl is missing" in text_of(metric_table(folder))


def test_names_with_console_markup_are_printed_as_they_are(make_run):
    record = {"phase": "test", "step": 1, "split": "[red]x[/red]", "[bold]t/auc": 0.5}
    folder = make_run(records=[record], info={"name": "[/nothing]"})
    shown = text_of(metric_table(folder))
    assert "[red]x[/red]" in shown
    assert "[bold]t: AUC" in shown
    assert "[/nothing]" in shown


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (1.0, "1.000"), (0.0, "0.000"), (12.0, "12"), (2.5, "2.500"), (math.nan, "n/a")],
)
def test_numbers(value, text):
    assert number(value) == text
    assert number(math.inf) == "∞"
    assert number(-math.inf) == "-∞"
