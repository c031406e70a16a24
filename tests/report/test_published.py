import pytest

from ssmtl.errors import RecipeError
from ssmtl.report.published import Cell, lookup, study

MELBA, ISBI = "multimix-melba", "multimix-isbi-supp"


def cell(paper, method, labels, masks, domain, metric):
    (row,) = lookup(paper, method, {"n_cls_labels": labels, "n_seg_labels": masks, "domain": domain})
    return row.values[metric]


@pytest.mark.parametrize(
    ("paper", "method", "labels", "masks", "domain", "metric", "value", "sd"),
    [
        (MELBA, "MultiMix", 100, 10, "in", "acc", 0.800, 0.025),
        (MELBA, "MultiMix", 100, 10, "in", "f1_normal", 0.594, 0.064),
        (MELBA, "MultiMix", 100, 50, "in", "jaccard", 0.943, None),
        (MELBA, "MultiMix", 1000, 50, "cross", "acc", 0.54, 0.018),
        (MELBA, "UMTL", "full", 10, "in", "ssim", 0.521, None),
        (MELBA, "UMTL-SSL-S", "full", "full", "in", "f1_abnormal", 0.868, 0.009),
        (ISBI, "UMTL-SSL-S", "full", "full", "in", "f1_abnormal", 0.628, None),
        (ISBI, "MultiMix", "full", "full", "cross", "hausdorff_avg", 0.417, None),
    ],
)
def test_known_cells(paper, method, labels, masks, domain, metric, value, sd):
    found = cell(paper, method, labels, masks, domain, metric)
    assert found.value == value
    if sd is not None:
        assert found.sd == sd


def test_a_row_says_which_table_it_is_from():
    (row,) = lookup(MELBA, "MultiMix", {"n_cls_labels": 100, "n_seg_labels": 10, "domain": "cross"})
    assert (row.table, row.setting["cls_dataset"], row.setting["seg_dataset"]) == ("3", "NIHX", "MCU")
    assert "MELBA 2021" in row.citation
    assert row.source is None


def test_rows_of_the_journal_filled_from_the_supplement_say_so():
    sources = {row.source for row in study(MELBA).rows if row.paper == MELBA and row.method == "MultiMix"}
    filled = [row for row in study(MELBA).rows if row.source]
    assert sources == {None, "ISBI supplement, same row"}
    assert len(filled) == 4


def test_all_rows_are_there():
    rows = study(MELBA).rows
    assert sum(len(row.values) for row in rows) == 441 + 441 + 450 + 450
    assert all(0 <= cell.value <= 1 for row in rows for key, cell in row.values.items() if key != "hausdorff_avg")


def test_a_budget_given_as_text_finds_the_same_row():
    assert lookup(MELBA, "MultiMix", {"n_cls_labels": "100", "n_seg_labels": "10"}) == lookup(
        MELBA, "MultiMix", {"n_cls_labels": 100, "n_seg_labels": 10}
    )


def test_a_classifier_matches_any_number_of_masks():
    (row,) = lookup(MELBA, "Enc-SSL", {"n_cls_labels": 1000, "n_seg_labels": 50, "domain": "in"})
    assert row.values["acc"] == Cell(0.822, row.values["acc"].sd)
    assert "dice" not in row.values


def test_a_budget_that_was_not_published_has_no_row():
    assert lookup(MELBA, "MultiMix", {"n_cls_labels": 77, "n_seg_labels": 10}) == []


@pytest.mark.parametrize(
    ("paper", "method", "setting", "sentence"),
    [
        ("multimix-melbo", "MultiMix", {}, "did you mean 'multimix-melba'"),
        (MELBA, "MultiMax", {}, "did you mean 'MultiMix'"),
        (MELBA, "MultiMix", {"n_cls_label": 100}, "did you mean 'n_cls_labels'"),
        (ISBI, "Enc-MM", {}, "did you mean 'Enc"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(paper, method, setting, sentence):
    with pytest.raises(RecipeError, match=sentence):
        lookup(paper, method, setting)


def test_every_dice_that_contradicts_its_jaccard_is_doubted_and_no_other():
    checked = 0
    for row in study(MELBA).rows:
        if "dice" not in row.values:
            continue
        jaccard, dice = row.values["jaccard"].value, row.values["dice"]
        bridge_free = row.method in {"U-Net", "UMTL", "UMTL-SSL"}
        implied = 2 * jaccard / (1 + jaccard)
        checked += bridge_free
        assert bool(dice.doubts) == bridge_free
        assert bridge_free or abs(implied - dice.value) <= 0.0205
        if dice.value < jaccard:
            assert "never below Jaccard" in dice.doubts[0]
    assert checked == 84  # 42 rows in each paper


def test_the_dice_doubt_names_what_jaccard_implies():
    # UMTL 100/10: J = .871, so D = 2 * .871 / 1.871 = .93105, and .93105 - .626 = .30505
    (doubt,) = cell(MELBA, "UMTL", 100, 10, "in", "dice").doubts
    assert "0.931" in doubt
    assert "0.305" in doubt


@pytest.mark.parametrize(
    ("method", "labels", "masks", "domain", "metric", "words"),
    [
        ("UMTL", "full", 10, "in", "ssim", "misprint"),
        ("UMTL-S", 100, 50, "in", "recall", "0.789"),  # 1 / (1/.873 + 1/.891 - 1) = .7888
        ("UMTL-S", "full", 50, "cross", "precision", "swapped"),
        ("U-Net", None, "full", "cross", "jaccard", "0.735"),
        ("UMTL-SSL", 100, "full", "in", "acc", "No confusion matrix"),
    ],
)
def test_known_contradictions_are_told(method, labels, masks, domain, metric, words):
    setting = {"n_seg_labels": masks, "domain": domain} | ({"n_cls_labels": labels} if labels else {})
    (row,) = lookup(MELBA, method, setting)
    assert any(words in doubt for doubt in row.values[metric].doubts)
