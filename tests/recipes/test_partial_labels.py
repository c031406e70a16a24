"""The recipes of the partially labeled study can be told to be any cell of its tables, and then are just that."""

from itertools import product

import numpy as np
import pytest
from golden import ROOT
from pydantic import ValidationError

from ssmtl.commands.recipes import load_recipe
from ssmtl.errors import RecipeError
from ssmtl.loader import open_sources
from ssmtl.models.timm_encoder import TimmEncoder
from ssmtl.optimizers import SGD
from ssmtl.report.published import lookup
from ssmtl.schedules import Poly
from ssmtl.strategies.fixmatch import DenseFixMatch, FixMatchStar
from ssmtl.strategies.supervised import Supervised
from ssmtl.streams import Explicit, Implicit

PARTIAL, FULL, BDD = (
    load_recipe(ROOT / f"recipes/{n}.py") for n in ("cityscapes_partial", "cityscapes_full", "bdd100k")
)
METHODS = {"supervised": Supervised, "fixmatch-star": FixMatchStar, "dense-fixmatch": DenseFixMatch}
SIZES = (93, 186, 372, 744, 1488)
PAIRS = ((93, 372), (93, 744), (93, 1488), (186, 744), (186, 1488), (372, 1488))
SETTINGS = {
    "a": [(n, "full") for n in SIZES],
    "b": [(n, n) for n in SIZES],
    "c": [(n, n) for n in SIZES],
    "d": PAIRS,
    "e": PAIRS,
}
CELLS = [(letter, *counts) for letter, pairs in SETTINGS.items() for counts in pairs]


def cells(recipe):
    """Return the published metrics that a recipe says it compares with."""
    published = recipe.published
    return [set(row.values) for row in lookup(published.paper, published.method, dict(published.setting))]


@pytest.mark.parametrize(("letter", "masks", "boxes"), CELLS)
def test_every_cell_of_tables_1_to_3_of_two_tasks(letter, masks, boxes):
    for method, sampling in product(METHODS, ("implicit", "explicit")):
        recipe = PARTIAL(
            setting=letter,
            labels=masks,
            box_labels=None if boxes == "full" else boxes,
            method=method,
            sampling=sampling,
        )
        assert recipe.budget.counts == (("segmentation", masks), ("detection", boxes))
        assert {type(objective.strategy) for objective in recipe.objectives} == {METHODS[method]}
        assert any({"mAP", "mIoU"} <= metrics for metrics in cells(recipe)), recipe.published


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_every_cell_of_table_1_of_one_task(task):
    for method, sampling, labels in product(METHODS, ("implicit", "explicit"), SIZES):
        recipe = PARTIAL(tasks=task, labels=labels, method=method, sampling=sampling)
        assert recipe.budget.counts == ((task, labels),)
        assert cells(recipe), recipe.published


def test_frames_with_masks_lead_where_all_have_boxes():
    """Setting (a): frames with boxes alone are the rest."""
    assert PARTIAL(setting="a").streams == Explicit(labeled=8, unlabeled=8, labeled_if="segmentation")
    assert PARTIAL(setting="a", method="supervised").streams == Explicit(labeled=8, unlabeled=0)
    assert PARTIAL(setting="a", tasks="detection").streams.labeled_if == "any"
    assert PARTIAL(setting="e").streams == Explicit(labeled=8, unlabeled=8)
    assert PARTIAL(sampling="implicit").streams == Implicit(batch=16)
    assert PARTIAL(sampling="implicit", method="supervised").streams == Explicit(labeled=8, unlabeled=0)


def test_full_size_frames_are_trained_as_in_table_10(tmp_path):
    (tmp_path / "leftImg8bit").mkdir()
    (tmp_path / "images").mkdir()
    steps = []
    for recipe in (PARTIAL(data=tmp_path), FULL(data=tmp_path), BDD(data=tmp_path)):
        crop = recipe.views.weak.always[0]
        assert (crop.size, crop.scale) == ((800, 800), (0.5, 2.0))
        assert recipe.optimizer == SGD(lr=1e-3, momentum=0.9, weight_decay=5e-4)
        assert (recipe.schedule, recipe.teacher.decay) == (Poly(0.9), 0.99)
        assert recipe.model.encoder == TimmEncoder("resnet50", output_stride=16)
        assert not any("small network" in note for note in recipe.deviations)
        steps.append((recipe.steps, recipe.objectives[0].ramp.warmup))
    assert steps == [(89_250, 0.05), (150_000, 0.1), (300_000, 0.1)]


def test_methods_differ_in_strategy_and_flip_only():
    star, dense, baseline = (PARTIAL(method=m) for m in ("fixmatch-star", "dense-fixmatch", "supervised"))
    assert (
        [o.strategy.threshold for o in star.objectives] == [o.strategy.threshold for o in dense.objectives] == [0, 0.5]
    )
    for other in (star, baseline):
        assert other.model == dense.model
        assert other.optimizer == dense.optimizer
        assert other.budget == dense.budget
        assert [o.task for o in other.objectives] == [o.task for o in dense.objectives]
    assert star.policy(star.sources[0], "weak") == star.views.weak
    follow = [op.follow for op in star.policy(star.sources[0], "strong").always[:2]]
    assert follow == ["same", "same"]
    assert baseline.views.weak == dense.views.weak


def test_table_10_flips_dense_fixmatch_only():
    kinds = {}
    for method in METHODS:
        recipe = PARTIAL(method=method, shared_flip=False)
        kinds[method] = [op.kind for op in recipe.policy(recipe.sources[0], "weak").always]
    assert kinds == {
        "supervised": ["ScaleCrop"],
        "fixmatch-star": ["ScaleCrop"],
        "dense-fixmatch": ["ScaleCrop", "HorizontalFlip"],
    }


def test_every_cell_of_table_4():
    for extra, method, sampling, lu_on in product(
        ("", "+trainextra", "+trainextra+sequence"), METHODS, ("implicit", "explicit"), ("unlabeled", "all")
    ):
        if not extra and method != "supervised" and (sampling, lu_on) != ("implicit", "all"):
            continue
        recipe = FULL(train_set=f"train{extra}", method=method, sampling=sampling, lu_on=lu_on)
        assert len(recipe.sources) == (1 if method == "supervised" else 1 + extra.count("+"))
        assert len(recipe.budget.counts) == 0
        if method != "supervised" or not extra:
            assert any({"mAP", "mIoU"} <= metrics for metrics in cells(recipe)), recipe.published


def test_frames_beyond_the_training_set_have_no_label():
    recipe = FULL(train_set="train+trainextra+sequence", size=32)
    labeled = [source.reader.open().annotated("mask").any() for source in recipe.sources]
    assert labeled == [True, False, False]
    names = [source.reader.open().name(0) for source in recipe.sources]
    assert len(set(names)) == 3


def test_every_method_of_table_7():
    for method, sampling, lu_on in product(
        ("fixmatch-star", "dense-fixmatch"), ("implicit", "explicit"), ("unlabeled", "all")
    ):
        assert cells(BDD(method=method, sampling=sampling, lu_on=lu_on))
    for frames in ("partially-labeled", "fully-labeled"):
        recipe = BDD(method="supervised", train_on=frames)
        assert cells(recipe)
        assert recipe.streams.labeled_if == ("any" if frames == "partially-labeled" else "all")
    for task in ("segmentation", "detection"):
        assert cells(BDD(method="supervised", tasks=task))
        assert BDD(tasks=task).published is None  # the rows are of two tasks
    assert BDD().streams.labeled_if == "all"


@pytest.mark.parametrize("letter", SETTINGS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sampling", ["implicit", "explicit"])
def test_every_visible_label_can_be_drawn(letter, method, sampling):
    sources = open_sources(PARTIAL(setting=letter, method=method, sampling=sampling, size=32))
    drawn = set(np.concatenate([group.pool for group in sources.groups() if group.use_labels]).tolist())
    for visible in sources.coverage.visible.values():
        assert set(np.flatnonzero(visible).tolist()) <= drawn


@pytest.mark.parametrize(
    ("function", "flags", "message"),
    [
        (FULL, {"train_set": "train", "lu_on": "unlabeled"}, "every frame is labeled, so that nothing is left"),
        (FULL, {"train_set": "train", "sampling": "explicit"}, "use --sampling implicit and --lu-on all"),
        (BDD, {"train_on": "fully-labeled"}, "is for --method supervised: the others learn from every frame"),
        (PARTIAL, {"setting": "b", "box_labels": 20}, "takes the same number of both"),
        (PARTIAL, {"box_labels": 0}, "takes the same number of both"),
        (PARTIAL, {"size": 0}, "greater than or equal to 8"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(function, flags, message):
    with pytest.raises((RecipeError, ValidationError), match=message):
        function(**flags)


def test_variants_have_names_of_their_own():
    tried = product(
        ("fixmatch-star", "dense-fixmatch"), ("implicit", "explicit"), ("unlabeled", "all"), (20, 40), "be",
        ("both", "detection"),
    )  # fmt: skip
    flags = ("method", "sampling", "lu_on", "labels", "setting", "tasks")
    names = [PARTIAL(**dict(zip(flags, values, strict=True))).name for values in tried]
    assert len(set(names)) == len(names) == 64
    assert FULL(method="supervised").name == "cityscapes_full train supervised"


def test_deviations_say_what_the_run_really_is(tmp_path):
    (tmp_path / "leftImg8bit").mkdir()
    paper = " ".join(PARTIAL(data=tmp_path, pretrained=True, shared_flip=False).deviations)
    told = " ".join(PARTIAL(data=tmp_path, size=512, batch=4).deviations)
    assert not any(words in paper for words in ("random weights", "Views have", "Batches hold", "flips"))
    for words in ("starts from random weights", "Every method flips", "Batches hold 4"):
        assert words in told
    assert "Views have 64 x 64 pixels, not 800 x 800" in " ".join(PARTIAL().deviations)
