import itertools
import statistics
from collections import Counter

import pytest

from ssmtl.errors import RecipeError
from ssmtl.report.page import write_report
from ssmtl.report.published import Cell, lookup, study
from ssmtl.report.records import read_run
from ssmtl.report.tables import split_tables

PAPER = "partial-labels"
EXTRA = "train+trainextra"
SEQUENCE = "train+trainextra+sequence"
FULLY, PARTIALLY = "fully-labeled (2972)", "partially-labeled (73427)"
SIZES = (93, 186, 372, 744, 1488)
PAIRS = ((93, 372), (93, 744), (93, 1488), (186, 744), (186, 1488), (372, 1488))
SEMI_SUPERVISED = [*itertools.product(("FixMatch*", "DenseFixMatch"), ("implicit", "explicit"))]
WAYS = [("Supervised", "uniform"), *SEMI_SUPERVISED]


def partial(experiment, sampling, masks, boxes):
    return {"experiment": experiment, "sampling": sampling, "n_seg_labels": masks, "n_det_labels": boxes}


def bdd(sampling, lu_on):
    return {"dataset": "BDD100K", "sampling": sampling, "lu_on": lu_on}


def values(method, setting):
    (row,) = lookup(PAPER, method, setting)
    return row.values


def compared(make_run, method, setting, metrics, *, same_data=True, test_root="streets"):
    """Return a run of a street recipe that names a published row and logged `metrics` on one test split."""
    reader = {"kind": "Cityscapes", "root": "streets"}
    recipe = {
        "sources": [{"kind": "Source", "name": "frames", "reader": {**reader, "split": "train"}}],
        "test": [{"kind": "Split", "name": "test", "reader": {**reader, "root": test_root, "split": "val"}}],
        "published": {"paper": PAPER, "method": method, "setting": [*setting.items()], "same_data": same_data},
    }
    record = {"phase": "test", "step": 1, "split": "test", "checkpoint": "best", "weights": "teacher", **metrics}
    return make_run(recipe=recipe, records=[record], pictures=False)


def test_every_number_of_the_nine_tables_is_there():
    rows = study(PAPER).rows
    numbers = Counter()
    for row in rows:
        numbers[row.table] += len(row.values)
    assert numbers == {"1": 104, "2": 100, "3": 120, "4": 38, "5": 79, "6": 35, "7": 55, "8": 219, "9": 120}
    assert Counter(row.table for row in rows) == {
        "1": 78, "2": 50, "3": 60, "4": 19, "5": 4, "6": 4, "7": 12, "8": 11, "9": 11
    }  # fmt: skip
    assert {row.method for row in rows} == {
        "-", "Supervised", "FixMatch*", "DenseFixMatch", "Supervised single-task", "Supervised multi-task"
    }  # fmt: skip


def test_every_number_has_a_title_and_lies_where_it_can():
    known = study(PAPER)
    for row in known.rows:
        assert row.values.keys() <= known.metrics.keys()
        limit = 100 if row.method == "-" else 1
        assert all(0 <= cell.value <= limit for cell in row.values.values())
        assert known.domain_of(row).title == row.setting["dataset"]


@pytest.mark.parametrize(
    ("method", "setting", "boxes", "masks"),
    [
        ("Supervised", partial("a", "uniform", 93, 2975), 0.3173, 0.5684),
        ("DenseFixMatch", partial("a", "explicit", 1488, 2975), 0.3549, 0.755),
        ("Supervised", partial("b", "uniform", 93, 93), 0.1988, 0.5519),
        ("DenseFixMatch", partial("b", "implicit", 93, 93), 0.212, 0.6002),
        ("FixMatch*", partial("b", "explicit", 744, 744), 0.3249, 0.7395),
        ("DenseFixMatch", partial("c", "explicit", 1488, 1488), 0.3374, 0.751),
        ("Supervised", partial("d", "uniform", 93, 372), 0.2714, 0.5608),
        ("FixMatch*", partial("d", "implicit", 186, 1488), 0.3257, 0.6678),
        ("DenseFixMatch", partial("e", "explicit", 372, 1488), 0.352, 0.7145),
        ("Supervised", {"train_set": "train"}, 0.3666, 0.7645),
        ("DenseFixMatch", {"train_set": SEQUENCE, "sampling": "implicit", "lu_on": "unlabeled"}, 0.1545, 0.7551),
        ("DenseFixMatch", {"train_set": SEQUENCE, "sampling": "explicit", "lu_on": "all"}, 0.3843, 0.7806),
        ("Supervised multi-task", {"train_on": FULLY}, 0.22, 0.577),
        ("Supervised multi-task", {"train_on": PARTIALLY}, 0.2686, 0.6047),
        ("DenseFixMatch", bdd("explicit", "all"), 0.267, 0.647),
    ],
)
def test_known_cells(method, setting, boxes, masks):
    found = values(method, setting)
    assert (found["mAP"].value, found["mIoU"].value) == (boxes, masks)


def test_every_setting_of_the_few_label_tables_has_one_row_per_way():
    sizes = {
        "a": [(size, 2975) for size in SIZES],
        "b": [(size, size) for size in SIZES],
        "c": [(size, size) for size in SIZES],
        "d": PAIRS,
        "e": PAIRS,
    }
    for experiment, pairs in sizes.items():
        for (method, sampling), (masks, boxes) in itertools.product(WAYS, pairs):
            assert values(method, partial(experiment, sampling, masks, boxes)).keys() == {"mAP", "mIoU"}
    for (method, sampling), size in itertools.product(WAYS, SIZES):
        assert values(method, partial("single-task", sampling, 0, size)).keys() == {"mAP"}
        assert values(method, partial("single-task", sampling, size, 0)).keys() == {"mIoU"}


def test_the_labels_of_one_task_are_enough_to_name_a_single_task_row():
    found = values("FixMatch*", {"experiment": "single-task", "sampling": "explicit", "n_det_labels": 93})
    assert found == {"mAP": Cell(0.2358)}
    assert lookup(PAPER, "FixMatch*", partial("single-task", "explicit", 93, 93)) == []


def test_a_row_without_a_key_is_none_of_another_experiment():
    assert {row.setting["experiment"] for row in lookup(PAPER, "Supervised", {"n_seg_labels": 93})} == {
        "single-task", "a", "b", "c", "d", "e"
    }  # fmt: skip
    assert lookup(PAPER, "FixMatch*", {"dataset": "BDD100K", "train_set": "train"}) == []


def test_a_supervised_row_does_not_depend_on_the_unsupervised_loss():
    for setting in ({"train_set": "train"}, {"train_on": FULLY}):
        method = "Supervised" if "train_set" in setting else "Supervised multi-task"
        assert values(method, setting) == values(method, {**setting, "lu_on": "all"})


def test_what_several_tables_print_of_one_setting_is_one_row():
    setting = {"train_set": EXTRA, "sampling": "explicit", "lu_on": "all"}
    (row,) = lookup(PAPER, "FixMatch*", setting)
    assert row.table == "4, 5, 6"
    assert len(row.values) == 2 + 19 + 8
    assert row.values["mAP"] == Cell(0.3848, 0.109)
    assert row.values["mIoU"] == Cell(0.7857, 0.132)
    assert (row.values["iou_train"].value, row.values["ap_train"].value) == (0.81, 0.284)


def test_bdd100k_rows_have_losses_and_classes():
    (row,) = lookup(PAPER, "DenseFixMatch", bdd("explicit", "all"))
    assert row.table == "7, 8, 9"
    assert len(row.values) == 5 + 19 + 10
    losses = [row.values[name].value for name in ("det_loss_cls", "det_loss_reg", "seg_loss")]
    assert losses == [0.1191, 0.1791, 0.0224]
    assert row.values["ap_traffic light"].value == 0.201
    single = values("Supervised single-task", {"train_on": "detection-labeled"})
    assert {name: cell.value for name, cell in single.items()} == {
        "mAP": 0.2722, "det_loss_cls": 0.112, "det_loss_reg": 0.1708
    }  # fmt: skip


@pytest.mark.parametrize(("mean", "one"), [("mAP", "ap_"), ("mIoU", "iou_")])
def test_a_printed_spread_is_the_population_deviation_of_the_printed_classes(mean, one):
    with_classes = [row for row in study(PAPER).rows if any(key.startswith(one) for key in row.values)]
    for row in with_classes:
        classes = [cell.value for key, cell in row.values.items() if key.startswith(one)]
        assert row.values[mean].value == pytest.approx(statistics.fmean(classes), abs=0.00055)
        assert row.values[mean].sd == pytest.approx(statistics.pstdev(classes), abs=0.00055)
    assert len(with_classes) == 3 + 10


def test_tables_that_disagree_on_a_mean_are_doubted_and_no_other():
    first = {(row.method, *row.setting.items()): row for row in study(PAPER).rows if row.table in {"4", "7"}}
    for row in study(PAPER).rows:
        if row.method == "-" or row.table not in {"5", "6", "8", "9"}:
            continue
        metric = "mIoU" if row.table in {"5", "8"} else "mAP"
        cell, precise = row.values[metric], first[row.method, *row.setting.items()].values[metric]
        assert bool(cell.doubts) == (abs(cell.value - precise.value) > 0.00055)
    (doubt,) = values("FixMatch*", bdd("implicit", "unlabeled"))["mAP"].doubts
    assert "Table 7 prints 0.2564 and Table 9 prints 0.257" in doubt


def test_explicit_sampling_that_starves_boxes_is_explained_where_it_shows():
    doubted = 0
    for method, size in itertools.product(("FixMatch*", "DenseFixMatch"), SIZES):
        implicit, explicit = (values(method, partial("a", way, size, 2975)) for way in ("implicit", "explicit"))
        below = explicit["mAP"].value < implicit["mAP"].value
        assert bool(explicit["mAP"].doubts) == below
        assert implicit["mAP"].doubts == explicit["mIoU"].doubts == ()
        doubted += below
    assert doubted == 9
    (doubt,) = values("FixMatch*", partial("a", "explicit", 93, 2975))["mAP"].doubts
    assert "0.3407 of implicit sampling" in doubt
    assert "the 93 images with masks" in doubt


@pytest.mark.parametrize(
    ("method", "setting", "sentence"),
    [
        ("DenseFixmatch", {}, "did you mean 'DenseFixMatch'"),
        ("FixMatch*", {"experimant": "b"}, "did you mean 'experiment'"),
        ("FixMatch*", {"domain": "in"}, "know no setting 'domain'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(method, setting, sentence):
    with pytest.raises(RecipeError, match=sentence):
        lookup(PAPER, method, setting)


def test_ours_stands_beside_the_row_and_its_classes(make_run):
    metrics = {"boxes/map": 0.25, "boxes/ap_train": 0.125, "masks/miou": 0.5, "masks/iou_traffic light": 0.75}
    setting = {"train_set": EXTRA, "sampling": "explicit", "lu_on": "all"}
    (table,) = split_tables(read_run(compared(make_run, "FixMatch*", setting, metrics)))
    shown = {(line.task, line.metric): (*line.ours, line.published) for line in table.lines}
    assert shown["boxes", "mAP"] == ("0.250", "0.385 ± 0.109")
    assert shown["boxes", "AP, train"] == ("0.125", "0.284")
    assert shown["masks", "mIoU"] == ("0.500", "0.786 ± 0.132")
    assert shown["masks", "IoU, traffic light"] == ("0.750", "0.679")
    assert table.source.endswith(
        "Tables 4, 5, 6 (Cityscapes: trained on train+trainextra, sampling explicit, unsupervised loss on all)"
    )
    notes = {line.metric: [table.footnotes[note - 1] for note in line.notes] for line in table.lines}
    assert any("which is optimistic" in note for note in notes["mIoU"])
    assert any("AP of instance masks" in note for note in notes["mAP"])
    assert notes["AP, train"] == []


def test_the_page_says_what_stands_after_the_sign(make_run):
    folder = compared(make_run, "DenseFixMatch", partial("b", "implicit", 93, 93), {"masks/miou": 0.5})
    page = " ".join(write_report(folder).read_text().split())
    assert "0.600" in page
    assert (
        "Table 2 (Cityscapes: setting b, sampling implicit, segmentation labels 93, detection labels 93, images with "
        "both 93); ± is the population standard deviation over the classes." in page
    )


def test_the_page_of_another_study_speaks_of_its_own_spread(make_run):
    page = write_report(make_run()).read_text()
    assert "; mean ± standard deviation where printed.</p>" in page
    assert "population" not in page


def test_phantom_streets_are_not_cityscapes(make_run):
    setting = partial("e", "explicit", 93, 372)
    folder = compared(make_run, "DenseFixMatch", setting, {"boxes/map": 0.5}, same_data=False)
    (table,) = split_tables(read_run(folder))
    assert table.published_title == "published, on other data"
    assert "tested on the validation frames of Cityscapes (500 test images)" in table.warnings[0]


def test_a_split_of_another_collection_has_no_row(make_run):
    folder = compared(make_run, "Supervised", {"train_set": "train"}, {"boxes/map": 0.5}, test_root="elsewhere")
    (table,) = split_tables(read_run(folder))
    assert table.source == ""
    assert "on the data they learned from, and this split reads other data" in table.warnings[0]
    assert {line.published for line in table.lines} == {""}


def test_a_setting_that_does_not_say_which_data_finds_too_many_rows(make_run):
    folder = compared(make_run, "FixMatch*", {"sampling": "explicit", "lu_on": "all"}, {"boxes/map": 0.5})
    (table,) = split_tables(read_run(folder))
    assert "partial-labels has 3 rows of FixMatch*" in table.warnings[0]
