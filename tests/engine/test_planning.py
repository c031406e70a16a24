"""The plan: exact rows, one pass per (model, bn), and the same passes for every batch."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.objective import Objective
from ssmtl.planning import plan
from ssmtl.strategies.base import Need
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.prediction_matching import PredictionMatching
from ssmtl.views.geometry import STRONG, WEAK
from ssmtl_tasks import Classification, Segmentation

FIXMATCH = Objective(Classification("diagnosis", classes=("normal", "pneumonia")), FixMatch(threshold=0.7))
MATCHING = Objective(Segmentation("lungs", classes=("lung",)), PredictionMatching())


def masks(*labeled):
    return {name: torch.tensor(rows) for name, rows in labeled}


def multimix(m=2, batch_statistics=False):
    """Rows: m labeled films, m unlabeled, m labeled lung films, m unlabeled."""
    film = [True] * 2 * m + [False] * 2 * m
    lung = [not f for f in film]
    diagnosed = [True] * m + [False] * 3 * m
    masked = [False] * 2 * m + [True] * m + [False] * m
    return plan(
        (FIXMATCH, MATCHING),
        masks(("diagnosis", film), ("lungs", lung)),
        masks(("diagnosis", diagnosed), ("lungs", masked)),
        batch_statistics=batch_statistics,
    )


def test_multimix_runs_exactly_the_rows_that_a_loss_reads():
    taped, free = multimix().passes
    assert taped.grad
    assert {view: rows.tolist() for view, rows in taped.views.items()} == {
        STRONG: [2, 3],  # unlabeled films, strong
        WEAK: [0, 1, 4, 5, 6, 7],  # labeled films, and all lung films
    }
    assert len(taped.heads["diagnosis"]) == 4  # strong unlabeled and labeled
    assert len(taped.heads["lungs"]) == 4  # the decoder sees lung films only
    assert not free.grad
    assert {view: rows.tolist() for view, rows in free.views.items()} == {WEAK: [2, 3]}
    assert "lungs" not in free.heads


def test_batch_statistics_make_one_joint_pass():
    (only,) = multimix(batch_statistics=True).passes
    assert only.grad
    assert only.views[WEAK].tolist() == list(range(8))


def test_places_lead_back_to_rows():
    layout = multimix()
    taped = layout.passes[0]
    items = torch.cat(list(taped.views.values()))
    for (task, need), found in taped.found.items():
        rows = items[taped.heads[task][found]]
        expected = {("diagnosis", "labeled"): [0, 1], ("diagnosis", "unlabeled"): [2, 3]} | {
            ("lungs", "labeled"): [4, 5],
            ("lungs", "unlabeled"): [6, 7],
        }
        assert rows.tolist() == expected[task, need.rows]


@given(st.lists(st.sampled_from(["labeled", "unlabeled", "other"]), min_size=1, max_size=8))
def test_every_batch_has_the_same_passes(rows):
    served = torch.tensor([row != "other" for row in rows])
    labeled = torch.tensor([row == "labeled" for row in rows])
    layout = plan((FIXMATCH,), {"diagnosis": served}, {"diagnosis": labeled}, batch_statistics=False)
    assert [(one.model, one.bn, one.grad) for one in layout.passes] == [
        ("student", "update", True),
        ("student", "update", False),
    ]
    for one in layout.passes:
        assert sum(len(index) for index in one.views.values()) >= 1
    supervised = layout.passes[0].found["diagnosis", Need(rows="labeled")]
    assert len(supervised) == rows.count("labeled")


def test_a_teacher_gets_a_pass_of_its_own_without_tape():
    teacher = FIXMATCH.replace(strategy=FixMatch(pseudo_labels_from="teacher"))
    served = torch.ones(4, dtype=torch.bool)
    labeled = torch.tensor([True, True, False, False])
    layout = plan((teacher,), {"diagnosis": served}, {"diagnosis": labeled}, batch_statistics=True)
    models = {one.model: one for one in layout.passes}
    assert models["teacher"].bn == "eval"
    assert not models["teacher"].grad
    assert models["teacher"].views[WEAK].tolist() == [2, 3]
    assert models["student"].views[WEAK].tolist() == [0, 1]
