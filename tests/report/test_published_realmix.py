from collections import Counter

import pytest

from ssmtl.errors import RecipeError
from ssmtl.recipe import Published
from ssmtl.report.page import write_report
from ssmtl.report.published import Cell, lookup, study
from ssmtl.report.records import read_run
from ssmtl.report.tables import split_tables

PAPER = "realmix"
LEVELS = (0, 25, 50, 75, 100)
GAMMAS = ("0", "0.2", "0.4", "0.6", "0.85")


def cifar(labels, **more):
    return {"dataset": "CIFAR-10", "n_labels": labels, **more}


def animals(mismatch, **more):
    return {"dataset": "CIFAR-10, 6 animals", "n_labels": 2400, "mismatch_pct": mismatch, **more}


def row(method, setting):
    (found,) = lookup(PAPER, method, setting)
    return found


def error(method, setting):
    return row(method, setting).values["error_pct"]


def compared(make_run, method, setting, *, same_data=True):
    """Return a run on CIFAR-10 that names a published row and has an error of 12.5 %."""
    reader = {"kind": "CIFAR10", "root": "cifar10"}
    published = Published(paper=PAPER, method=method, setting=(*setting.items(),), same_data=same_data)
    recipe = {
        "sources": [{"kind": "Source", "name": "train", "reader": {**reader, "split": "train"}}],
        "test": [{"kind": "Split", "name": "test", "reader": {**reader, "split": "test"}}],
        "published": published.model_dump(mode="json"),
    }
    way = {"checkpoint": "median of last 20", "weights": "teacher"}
    record = {"phase": "test", "step": 1, "split": "test", **way, "label/error_pct": 12.5, "label/accuracy": 0.875}
    return make_run(recipe=recipe, records=[record], pictures=False)


def test_every_number_of_the_six_tables_is_there():
    rows = study(PAPER).rows
    assert Counter(row.table for row in rows) == {
        "1": 15, "2": 10, "3": 10, "4": 8, "5": 3, "6": 3, "1 (caption)": 1, "2 (caption)": 1, "3 (caption)": 1
    }  # fmt: skip
    for found in rows:
        assert found.values.keys() == {"error_pct"}
        assert 0 < found.values["error_pct"].value < 100


@pytest.mark.parametrize(
    ("method", "setting", "value", "sd"),
    [
        ("Pi-Model", cifar(250), 53.02, None),
        ("Pi-Model", cifar(4000), 18.13, None),
        ("VAT", cifar(250), 36.03, None),
        ("VAT", cifar(4000), 11.32, None),
        ("Mean Teacher", cifar(250), 47.32, None),
        ("Mean Teacher", cifar(4000), 10.72, None),
        ("MixMatch", cifar(250), 11.78, None),
        ("MixMatch", cifar(4000), 6.45, None),
        ("RealMix", cifar(4000), 6.39, 0.27),
        ("Supervised", cifar(50000), 4.48, None),
        ("TL & Fine-Tuning", cifar(250), 20.6, None),
        ("TL & Fine-Tuning", cifar(4000), 8.45, None),
        ("RealMix + TL", cifar(250), 8.48, None),
        ("RealMix + TL", cifar(4000, pretrained="ImageNet 32x32"), 6.05, None),
        ("RealMix w/ Simple Aug", cifar(250, extend="simple", extend_rounds=50), 10.42, None),
        ("RealMix w/ 25 Augs", cifar(250, extend="cutout", extend_rounds=25), 10.8, None),
        ("RealMix", animals(75, gamma="0.3"), 20.73, None),
        ("RealMix w/o OODMask", animals(75), 22.7, None),
    ],
)
def test_known_cells_of_cifar10(method, setting, value, sd):
    assert error(method, setting)[:2] == (value, sd)


@pytest.mark.parametrize(
    ("method", "few", "many"),
    [
        ("Pi-Model", (17.65, 0.27), (5.57, 0.14)),
        ("VAT", (8.41, 1.01), (4.2, 0.15)),
        ("Mean Teacher", (6.45, 2.43), (3.39, 0.11)),
        ("MixMatch", (3.63, 0.24), (3.07, 0.14)),
        ("RealMix", (3.53, 0.38), (3.13, 0.11)),
    ],
)
def test_known_cells_of_svhn(method, few, many):
    for labels, cell in ((250, few), (4000, many)):
        assert error(method, {"dataset": "SVHN", "n_labels": labels}) == Cell(*cell)
    assert error("Supervised", {"dataset": "SVHN", "n_labels": 73257}).value == 2.72


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("Mean Teacher", (17.85, 17.25, 18.95, 20.14, 20.57)),
        ("MixMatch", (16.75, 18.14, 21.01, 21.07, 22.08)),
        ("RealMix", (16.41, 16.6, 16.51, 16.99, 17.62)),
        ("Supervised", (20.32,) * 5),
    ],
)
def test_the_mismatch_sweep_is_found_by_level_and_gamma(method, values):
    for level, gamma, value in zip(LEVELS, GAMMAS, values, strict=True):
        assert error(method, animals(level, gamma=gamma)).value == value


def test_what_several_tables_print_is_one_row_with_the_first_number():
    found = row("RealMix", cifar(250))
    assert found.table == "2, 4, 5"
    assert found.values["error_pct"][:2] == (9.79, 0.75)
    (doubt,) = found.values["error_pct"].doubts
    assert "Table 4 prints 9.78" in doubt
    assert row("MixMatch", cifar(4000)).table == "2, 4"
    printed = {(found.table, found.method, *found.setting.items()): found for found in study(PAPER).rows}
    joined = [
        found for found in printed.values() if (found.table, found.method) in {("4", "MixMatch"), ("4", "RealMix")}
    ]
    assert [found.values["error_pct"].value for found in joined] == [11.78, 6.45, 9.78, 6.39]
    assert row("RealMix", animals(75, gamma="0.6")).table == "1, 6"


def test_the_gamma_has_to_be_named_where_two_were_tried():
    assert len(lookup(PAPER, "RealMix", animals(75))) == 2
    assert len(lookup(PAPER, "RealMix", animals(50))) == 1


def test_which_numbers_are_doubted():
    known = study(PAPER).rows
    doubted = Counter((found.table, found.method) for found in known if found.values["error_pct"].doubts)
    assert doubted == {
        ("1", "RealMix"): 2,
        ("2", "Pi-Model"): 2,
        ("2", "VAT"): 2,
        ("2", "Mean Teacher"): 2,
        ("2 (caption)", "Supervised"): 1,
        ("3 (caption)", "Supervised"): 1,
        ("4", "TL & Fine-Tuning"): 2,
        ("4", "RealMix"): 1,
        ("4", "RealMix + TL"): 2,
    }
    assert "no baseline for few" in error("Supervised", cifar(50000)).doubts[0]
    assert "1 million steps" in error("VAT", cifar(250)).doubts[0]
    assert "differences this small are noise" in error("RealMix", animals(25)).doubts[0]


@pytest.mark.parametrize(
    ("method", "setting", "sentence"),
    [
        ("Real Mix", {}, "did you mean 'RealMix'"),
        ("RealMix", {"mismatch": 50}, "did you mean 'mismatch_pct'"),
        ("FixMatch", {}, "know no method 'FixMatch'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(method, setting, sentence):
    with pytest.raises(RecipeError, match=sentence):
        lookup(PAPER, method, setting)


def test_few_labels_without_unlabeled_images_have_no_published_row(make_run):
    (table,) = split_tables(read_run(compared(make_run, "Supervised", cifar(250))))
    assert "realmix has no row of Supervised" in table.warnings[0]


def test_ours_stands_beside_the_printed_percent_and_says_what_it_is(make_run):
    folder = compared(make_run, "RealMix", cifar(250))
    (table,) = split_tables(read_run(folder))
    shown = {line.metric: (*line.ours, line.published) for line in table.lines}
    assert shown == {"error %": ("12.50", "9.79 ± 0.75"), "accuracy": ("0.875", "")}
    assert table.columns == ("ours (median of last 20, teacher)",)
    assert table.source.endswith(
        "Tables 2, 4, 5 (CIFAR-10: labels 250, pretrained on nothing, Extend by cutout, Extend's copies 50)"
    )
    page = " ".join(write_report(folder).read_text().split())
    assert (
        "Ours is the median of the last 20 checkpoints, of each metric by itself; none is chosen by its test." in page
    )
    assert "± is the standard deviation over seeds (2 for RealMix) where printed." in page
    assert "500,000 steps with 2 seeds" in page


def test_the_animals_are_other_test_images(make_run):
    setting = animals(100, gamma="0.85")
    (table,) = split_tables(read_run(compared(make_run, "RealMix", setting, same_data=False)))
    assert "tested on the 6 animal classes of CIFAR-10 (6,000 test images)" in table.warnings[0]
    assert any("always answers the same class has error 83.33" in note for note in table.footnotes)
    assert "labels 2400, % of unlabeled classes that are foreign 100, OODMask's gamma 0.85" in table.source
