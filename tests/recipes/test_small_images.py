"""The recipes of small images have, method by method, what the papers and their programs train with."""

import math
from typing import NamedTuple

import pytest
import torch
from golden import ROOT
from small_sets import write_cifar, write_svhn

from ssmtl.commands.recipes import load_recipe
from ssmtl.datasets.small_images import small_images
from ssmtl.errors import DataError, RecipeError
from ssmtl.loader import open_sources
from ssmtl.optimizers import SGD, AdamW
from ssmtl.report.published import lookup
from ssmtl.schedules import Constant, FixMatchCosine
from ssmtl.strategies.fixmatch import FixMatch
from ssmtl.strategies.mean_teacher import MeanTeacher
from ssmtl.strategies.mixmatch import MixMatch
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.pi_model import PiModel
from ssmtl.strategies.pseudo_label import PseudoLabel
from ssmtl.strategies.realmix import RealMix
from ssmtl.strategies.supervised import Supervised
from ssmtl.strategies.tsa import TSA
from ssmtl.strategies.vat import VAT
from ssmtl_tasks.small_images import copies

CIFAR, MISMATCH, FIXMATCH, PRETRAIN = (
    load_recipe(ROOT / f"recipes/{name}.py")
    for name in ("realmix_cifar10", "realmix_mismatch", "fixmatch_cifar10", "imagenet32_pretrain")
)
METHODS = CIFAR.__annotations__["method"].__args__


class Row(NamedTuple):
    """Lambda, the share of a run after which it is reached, its most steps, weight decay, unlabeled rows of 64."""

    strategy: type
    lam: float
    share: float
    steps: int | None
    decay: float
    unlabeled: int


ON_CIFAR = {
    "supervised": Row(Supervised, 1, 0.4, None, 0.02, 0),
    "pseudo-label": Row(PseudoLabel, 1, 0.4, None, 0.02, 64),
    "pi-model": Row(PiModel, 20, 0.4, None, 0.02, 64),
    "mean-teacher": Row(MeanTeacher, 50, 0.4, None, 0.2, 64),
    "vat": Row(VAT, 0.3, 0.4, None, 0.02, 64),
    "mixmatch": Row(MixMatch, 75, 0.16, 16_384, 0.02, 64),
    "realmix": Row(RealMix, 75, 0.16, 16_384, 0.02, 64),
    "fixmatch": Row(FixMatch, 1, 0.0, None, 5e-4, 448),
}
ON_SVHN = ON_CIFAR | {
    "pseudo-label": ON_CIFAR["pseudo-label"]._replace(lam=2),
    "pi-model": ON_CIFAR["pi-model"]._replace(lam=5, decay=0.2),
    "mean-teacher": ON_CIFAR["mean-teacher"]._replace(lam=150),
    "mixmatch": ON_CIFAR["mixmatch"]._replace(lam=250),
}


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp("cifar"))


@pytest.fixture(scope="module")
def svhn(tmp_path_factory):
    return write_svhn(tmp_path_factory.mktemp("svhn"))


def names(reader, rounds=False):
    """Return the names of a reader's images, copies by the name of their image."""
    table = reader.open()
    return {table.name(row).partition("#")[0] for row in range(len(table))}


def readers(recipe):
    return {part.name: part.reader for part in (*recipe.sources, *recipe.validation, *recipe.test)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dataset", "rows"), [("cifar10", ON_CIFAR), ("svhn", ON_SVHN)])
def test_a_method_has_its_published_settings(dataset, rows, method, cifar, svhn):
    recipe = CIFAR(data=cifar if dataset == "cifar10" else svhn, dataset=dataset, method=method, labels=10)
    (objective,), row = recipe.objectives, rows[method]
    assert (type(objective.strategy), objective.lam) == (row.strategy, row.lam)
    assert (recipe.streams.labeled, recipe.streams.unlabeled) == (64, row.unlabeled)
    assert not recipe.streams.use_labels
    adam, sgd = AdamW(lr=0.002, weight_decay=row.decay), SGD(lr=0.03, weight_decay=row.decay)
    expected = (sgd, FixMatchCosine()) if method == "fixmatch" else (adam, Constant())
    assert (recipe.optimizer, recipe.schedule) == expected
    assert sgd.nesterov
    assert sgd.momentum == 0.9
    assert (recipe.model.encoder.depth, recipe.model.encoder.width) == (28, 2)
    assert (recipe.model.normalize, recipe.teacher.decay) == ("symmetric", 0.999)
    assert (recipe.evaluate, recipe.select, recipe.test_last) == ("teacher", "last", 20)


def test_every_method_has_a_row_here():
    assert list(ON_CIFAR) == list(METHODS)
    assert set(FIXMATCH.__annotations__["method"].__args__) < set(METHODS)


@pytest.mark.parametrize("method", [name for name, row in ON_CIFAR.items() if row.share and row.unlabeled])
@pytest.mark.parametrize("steps", [1000, 20_000, 500_000, 1_048_576])
def test_lambda_is_reached_when_the_programs_reach_it(method, steps):
    """16,384 steps for the MixMatch family, or 16 % of shorter runs: a common port takes 64 times as long."""
    objective, row = CIFAR(method=method).objectives[0], ON_CIFAR[method]
    reached = min(math.ceil(row.share * steps), row.steps or steps)
    lam = objective.lam
    assert objective.coefficient("consistency", 0, steps) == 0.0
    assert objective.coefficient("consistency", reached // 2, steps) == pytest.approx(lam / 2, rel=1e-2)
    assert objective.coefficient("consistency", reached - 1, steps) < lam
    assert {objective.coefficient("consistency", step, steps) for step in (reached, steps - 1)} == {lam}
    assert objective.coefficient("supervised", 0, steps) == 1.0


def test_fixmatch_does_not_raise_its_weight():
    for recipe in (FIXMATCH(), CIFAR(method="fixmatch")):
        assert recipe.objectives[0].coefficient("consistency", 0, 1000) == 1.0


def test_fixmatch_alone_is_fixmatch_among_the_others(cifar):
    one, other = FIXMATCH(data=cifar, labels=10), CIFAR(data=cifar, method="fixmatch", labels=10)
    for part in ("objectives", "sources", "model", "views", "optimizer", "schedule", "streams", "teacher", "steps"):
        assert getattr(one, part) == getattr(other, part), part
    strategy = FIXMATCH(threshold=0.7, mu=3, batch=10, pseudo_labels_from="teacher", gamma=0.5)
    assert strategy.objectives[0].strategy == FixMatch(
        threshold=0.7, pseudo_labels_from="teacher", ood_mask=OODMask(0.5)
    )
    assert strategy.streams.unlabeled == 30
    baseline = FIXMATCH(method="supervised")
    assert (baseline.streams.unlabeled, len(baseline.sources)) == (0, 1)
    assert (baseline.optimizer, baseline.schedule) == (one.optimizer, one.schedule)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", [0, 5])
def test_no_image_is_where_it_must_not_be(method, seed, cifar):
    found = {name: names(reader) for name, reader in readers(_short(cifar, method, seed)).items()}
    training = set.union(*(found[name] for name in ("labeled", "unlabeled") if name in found))
    assert len(found["labeled"]) == 20
    assert not training & found["validation"]
    assert not training & found["test"]
    assert (len(found["validation"]), len(found["test"])) == (1000, 20)
    if method == "fixmatch":
        assert found["labeled"] < found["unlabeled"]
        assert len(found["unlabeled"]) == 100
    elif method != "supervised":
        assert not found["labeled"] & found["unlabeled"]
        assert len(training) == 100


def _short(data, method, seed):
    return CIFAR(data=data, method=method, labels=20, seed=seed)


def test_seeds_change_what_is_labeled_and_not_what_is_held_out(cifar):
    one, two = (
        {name: names(reader) for name, reader in readers(_short(cifar, "mixmatch", seed)).items()} for seed in (1, 2)
    )
    assert one["validation"] == two["validation"]
    assert one["labeled"] != two["labeled"]
    assert one["labeled"] | one["unlabeled"] == two["labeled"] | two["unlabeled"]


@pytest.mark.parametrize("method", METHODS)
def test_every_class_has_the_same_number_of_labels_and_only_those_show(method, cifar):
    sources = open_sources(_short(cifar, method, 0))
    visible = sources.coverage.visible["kind"]
    assert visible.sum() == 20
    assert visible[sources.coverage.rows("labeled")].all()
    labels = sources.tables[0].labels()
    assert sorted(labels.tolist()) == sorted(list(range(10)) * 2)
    assert [group.use_labels for group in sources.groups()] == [True, False][: len(sources.recipe.sources)]


def test_phantoms_are_disjoint_too():
    found = {name: names(reader) for name, reader in readers(CIFAR(method="mixmatch")).items()}
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    assert (len(found["labeled"]), len(found["unlabeled"])) == (40, 3960)


@pytest.mark.parametrize("labels", [10, 250, 260, 1000])
def test_realmix_anneals_up_to_250_labels_and_extends(labels, cifar):
    recipe = CIFAR(data=cifar, labels=labels)
    strategy, reader = recipe.objectives[0].strategy, recipe.sources[1].reader
    assert strategy.tsa == (TSA("linear") if labels <= 250 else None)
    assert strategy.ood_mask == OODMask(0.0)
    assert (reader.kind, reader.rounds, reader.aug, reader.eraser) == ("Extend", 50, "cutout", "random_erasing")
    assert CIFAR(data=cifar, labels=labels, tsa=labels > 250).objectives[0].strategy.tsa != strategy.tsa
    for method in METHODS[1:]:
        other = CIFAR(data=cifar, labels=labels, method=method)
        assert (other.sources[1].reader.kind == "Extend") == (method == "realmix")
        assert (other.objectives[0].strategy.tsa is None) == (method != "realmix" or labels > 250)


def test_parts_can_be_put_on_other_methods():
    recipe = CIFAR(method="fixmatch", gamma=0.25, tsa=True, extend="simple", extend_rounds=3)
    assert recipe.objectives[0].strategy == FixMatch(ood_mask=OODMask(0.25), tsa=TSA())
    assert (recipe.sources[1].reader.aug, recipe.sources[1].reader.rounds) == ("simple", 3)


GAMMAS = {0: 0.0, 25: 0.2, 50: 0.4, 75: 0.6, 100: 0.85}
UNLABELED = {  # 4 deer, 5 dog, 6 frog, 7 horse; 0 airplane, 1 automobile, 8 ship, 9 truck
    0: (4, 5, 6, 7),
    25: (0, 5, 6, 7),
    50: (0, 1, 6, 7),
    75: (0, 1, 8, 7),
    100: (0, 1, 8, 9),
}


@pytest.mark.parametrize("mismatch", GAMMAS)
def test_a_level_of_mismatch_has_the_classes_and_the_mask_of_the_paper(mismatch, cifar):
    recipe = MISMATCH(data=cifar, mismatch=mismatch, labels=12)
    assert recipe.objectives[0].strategy.ood_mask == OODMask(GAMMAS[mismatch])
    assert recipe.objectives[0].strategy.tsa is None
    all_classes = CIFAR(data=cifar).objectives[0].task.classes
    unlabeled = recipe.sources[1].reader
    assert {all_classes.index(name) for name in unlabeled.classes("label")} == set(UNLABELED[mismatch])
    animals = tuple(all_classes[index] for index in range(2, 8))
    assert recipe.objectives[0].task.classes == animals
    for split in ("labeled", "validation", "test"):
        assert readers(recipe)[split].classes("label") == animals
    found = {name: names(reader) for name, reader in readers(recipe).items()}
    assert [len(found[name]) for name in ("labeled", "unlabeled", "validation", "test")] == [12, 4 * 8, 600, 12]
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    assert MISMATCH(data=cifar, mismatch=mismatch, method="mixmatch").objectives[0].strategy == MixMatch()


@pytest.mark.parametrize("mismatch", GAMMAS)
def test_foreign_phantoms_are_of_the_other_family(mismatch):
    recipe = MISMATCH(mismatch=mismatch)
    known = recipe.objectives[0].task.classes
    foreign = [name for name in recipe.sources[1].reader.classes("label") if name not in known]
    assert len(foreign) == mismatch // 25
    assert len(recipe.sources[1].reader.classes("label")) == 4


def test_digits_are_never_mirrored(cifar, svhn):
    for data, dataset, flips in ((cifar, "cifar10", True), (svhn, "svhn", False)):
        for method in METHODS:
            recipe = CIFAR(data=data, dataset=dataset, method=method)
            for view in (recipe.views.weak, recipe.views.strong):
                assert ("HorizontalFlip" in {op.kind for op in view.transforms()}) == flips


def errors_of(recipe):
    published = recipe.published
    rows = lookup(published.paper, published.method, dict(published.setting))
    return [row.values["error_pct"].value for row in rows]


TABLE_2 = {"pi-model": 53.02, "vat": 36.03, "mean-teacher": 47.32, "mixmatch": 11.78, "realmix": 9.79}
TABLE_3 = {"pi-model": 17.65, "vat": 8.41, "mean-teacher": 6.45, "mixmatch": 3.63, "realmix": 3.53}
TABLE_1 = {"mean-teacher": 20.14, "mixmatch": 21.07, "realmix": 16.99, "supervised": 20.32}


def test_a_run_names_the_row_that_it_is_comparable_with(cifar, svhn, tmp_path):
    for method in METHODS:
        of_cifar, of_svhn = CIFAR(data=cifar, method=method), CIFAR(data=svhn, dataset="svhn", method=method)
        at_75 = MISMATCH(data=cifar, method=method, mismatch=75)
        for recipe, table in ((of_cifar, TABLE_2), (of_svhn, TABLE_3), (at_75, TABLE_1)):
            if method in table:
                assert table[method] in errors_of(recipe), recipe.name
                assert recipe.published.same_data
            else:
                assert recipe.published is None or not errors_of(recipe)
    few = CIFAR(data=cifar, labels=40)
    assert few.published is CIFAR(labels=250).published is FIXMATCH(data=cifar).published is None
    assert 6.39 in errors_of(CIFAR(data=cifar, labels=4000))
    weights = {"data": cifar, "weights": tmp_path / "run"}
    assert errors_of(CIFAR(**weights)) == [8.48]
    assert errors_of(CIFAR(**weights, method="supervised", labels=4000)) == [8.45]
    assert CIFAR(**weights, method="vat").published is None


@pytest.mark.parametrize(
    ("function", "flags", "expected"),
    [
        (CIFAR, {"extend": "simple"}, [10.42]),
        (CIFAR, {"extend_rounds": 25}, [10.80]),
        (CIFAR, {"extend_rounds": 7}, None),
        (CIFAR, {"extend": "none"}, None),
        (CIFAR, {"gamma": 0.2}, None),
        (CIFAR, {"method": "mixmatch", "extend": "cutout"}, None),
        (MISMATCH, {"mismatch": 75, "gamma": 0.0}, [22.70]),
        (MISMATCH, {"mismatch": 75, "gamma": 0.3}, [20.73]),
        (MISMATCH, {"mismatch": 75, "extend_rounds": 25}, None),
        (MISMATCH, {"mismatch": 75, "method": "mixmatch", "gamma": 0.6}, None),
        (MISMATCH, {"mismatch": 75, "labels": 60}, None),
    ],
)
def test_a_changed_method_is_another_row_or_none(function, flags, expected, cifar):
    recipe = function(data=cifar, **flags)
    assert (recipe.published and errors_of(recipe)) == expected


def test_only_the_original_pixels_are_the_same_data(cifar, tmp_path):
    jpegs = CIFAR(data=tmp_path)
    assert jpegs.published.setting == CIFAR(data=cifar).published.setting
    assert not jpegs.published.same_data
    assert not CIFAR(data=cifar, size=16).published.same_data
    assert CIFAR(data=cifar / "cifar-10-batches-py").published.same_data


def test_flags_reach_their_parts(cifar):
    recipe = CIFAR(
        data=cifar, method="vat", labels=10, network="wrn-16-2", batch=8, lam=0.5, lr=0.01, ema=0.9, bn_momentum=0.02,
        size=16,
    )  # fmt: skip
    assert (recipe.model.encoder.depth, recipe.model.encoder.bn_momentum) == (16, 0.02)
    assert (recipe.streams.labeled, recipe.streams.unlabeled) == (8, 8)
    assert (recipe.objectives[0].lam, recipe.optimizer.lr, recipe.teacher.decay) == (0.5, 0.01, 0.9)
    assert recipe.sources[0].reader.canvas == (16, 16)
    assert CIFAR(method="mean-teacher").objectives[0].lam == 10.0  # few steps: see ssmtl_tasks.small_images


@pytest.mark.parametrize(
    ("function", "flags", "message"),
    [
        (CIFAR, {"labels": 45}, "45 labels can't be spread evenly over 10 classes.*take 40 or 50"),
        (CIFAR, {"labels": 0}, "0 labels can't be.*each needs at least one; take 10 or 20"),
        (CIFAR, {"labels": -10}, "take 10 or 20"),
        (CIFAR, {"labels": 7}, "take 10 or 20"),
        (MISMATCH, {"labels": 50}, "over 6 classes.*take 48 or 54"),
        (FIXMATCH, {"labels": 45}, "take 40 or 50"),
        (CIFAR, {"method": "supervised", "gamma": 0.2}, "--gamma 0.2 would drop unlabeled images.*reads none"),
        (MISMATCH, {"method": "supervised", "gamma": 0.2}, "--gamma 0.2 would drop unlabeled images"),
        (FIXMATCH, {"method": "supervised", "gamma": 0.2}, "--gamma 0.2 would drop unlabeled images"),
        (CIFAR, {"dataset": "svhn"}, "--dataset svhn is read from files; name their folder with --data"),
    ],
)
def test_flags_that_make_no_study_are_refused(function, flags, message):
    with pytest.raises((RecipeError, DataError), match=message):
        function(**flags)


def test_the_pretraining_leaves_images_that_no_other_recipe_reads():
    source, other = PRETRAIN().sources[0].reader, CIFAR().sources[0].reader.reader
    assert source.kind == other.kind
    assert not names(source) & names(other)
    assert not torch.equal(*(torch.from_numpy(reader.open()[0].image.copy()) for reader in (source, other)))
    assert PRETRAIN().published is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"method": "supervised", "extend": "simple"}, "the supervised baseline reads none"),
        ({"method": "mixmatch", "extend_rounds": 7}, "mixmatch makes none; name --extend too"),
    ],
)
@pytest.mark.parametrize("recipe", [CIFAR, MISMATCH])
def test_flags_that_would_do_nothing_are_refused(recipe, flags, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**flags)


def test_copies_of_digits_are_not_mirrored():
    images = small_images(None)
    digits = copies(images.train, images._replace(flip=False), "realmix", "simple", None)
    assert not digits.flip
    assert copies(images.train, images, "realmix", None, None).rounds == 50


@pytest.mark.parametrize("change", [{"lam": 1.0}, {"tsa": True}])
def test_other_settings_than_the_papers_stand_beside_no_published_row(cifar, change):
    for recipe in (CIFAR, MISMATCH):
        assert recipe(data=cifar, method="mixmatch").published is not None
        assert recipe(data=cifar, method="mixmatch", **change).published is None
    assert CIFAR(data=cifar, method="realmix", tsa=False).published is None
