"""`recipes/custom.py`: which tasks and strategies the columns of a manifest become."""

import csv

import pytest
from golden import ROOT
from own_folder import mask, picture

from ssmtl.commands.evaluation import relocate
from ssmtl.commands.recipes import load_recipe
from ssmtl.errors import DataError, RecipeError
from ssmtl.manifests.check import check_manifest
from ssmtl.manifests.classes import write_classes

RECIPE = load_recipe(ROOT / "recipes/custom.py")
BOX = '[{"class": "car", "box": [1, 1, 9, 9]}]'
CLASSES = {"label": ("cat", "dog"), "labels:tags": ("wet", "old"), "mask": ("background", "road"), "boxes": ("car",)}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a manifest of rows without their image, has it checked, and returns its path."""

    def write(rows, *, checked=True):
        path, columns = tmp_path / "own.csv", dict.fromkeys(name for row in rows for name in row)
        mask(tmp_path / "m.png", (0, 1))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["image", *columns])
            writer.writeheader()
            for number, row in enumerate(rows):
                picture(tmp_path / f"{number}.png", seed=number)
                writer.writerow({"image": f"{number}.png", **row})
        write_classes(path, {kind: names for kind, names in CLASSES.items() if kind in columns})
        if checked:
            report = check_manifest(path)
            assert not report.refused, report.refused
        return path

    return write


FULL = {"label": "cat", "labels:tags": "[]", "mask": "m.png", "boxes": BOX}
ROWS = [{**FULL, "split": "train"}, {"label": "dog", "split": "train"}, {"split": "train"}, {**FULL, "split": "val"}]


def kinds(recipe):
    return {o.task.name: (o.task.kind, o.task.reads, o.strategy.kind) for o in recipe.objectives}


def test_every_column_becomes_a_task_that_learns_from_unlabeled_images(write):
    recipe = RECIPE(data=write(ROWS))
    assert kinds(recipe) == {
        "label": ("Classification", "label", "FixMatch"),
        "tags": ("MultiLabel", "labels:tags", "FixMatch"),
        "mask": ("Segmentation", "mask", "DenseFixMatch"),
        "boxes": ("Detection", "boxes", "DenseFixMatch"),
    }
    assert (recipe.select, recipe.test, recipe.streams.unlabeled) == ("best", (), 8)
    assert recipe.validation[0].tasks == ("label", "tags", "mask", "boxes")


def test_the_baseline_draws_labeled_images_only(write):
    recipe = RECIPE(data=write(ROWS), method="supervised")
    assert {strategy for _, _, strategy in kinds(recipe).values()} == {"Supervised"}
    assert recipe.streams.unlabeled == 0


def test_a_task_whose_every_image_is_labeled_learns_from_labels_alone(write):
    rows = [{"label": name, "mask": "m.png" * (name == "cat"), "split": "train"} for name in ("cat", "dog", "cat")]
    assert [strategy for _, _, strategy in kinds(RECIPE(data=write(rows))).values()] == ["Supervised", "DenseFixMatch"]


def test_two_columns_of_one_form_are_two_tasks(write):
    rows = [{"label:sex": "f", "label:view": "side", "split": "train"}, {"label:sex": "m", "label:view": "front"}]
    recipe = RECIPE(data=write([rows[0], {**rows[1], "split": "train"}, {"split": "train"}]))
    assert kinds(recipe)["sex"][:2] == ("Classification", "label:sex")
    assert kinds(recipe)["view"][:2] == ("Classification", "label:view")


def test_without_validation_the_last_weights_are_kept_and_that_is_said(write):
    recipe = RECIPE(data=write([row for row in ROWS if row["split"] == "train"]))
    assert (recipe.select, recipe.validation) == ("last", ())
    assert [sentence.partition(":")[0] for sentence in recipe.deviations] == [
        "Nothing is scored",
        "No image is labeled for validation",
    ]


def test_no_flip_means_no_flip(write):
    path = write(ROWS)
    assert "HorizontalFlip" in {op.kind for op in RECIPE(data=path).views.strong.always}
    views = RECIPE(data=path, flip=False).views
    assert "HorizontalFlip" not in {op.kind for policy in (views.weak, views.strong) for op in policy.always}


def test_a_run_from_a_relative_path_finds_its_data_elsewhere(write, tmp_path, monkeypatch):
    path = write(ROWS)
    monkeypatch.chdir(path.parent)
    recipe = RECIPE(data=path.relative_to(tmp_path))
    moved = relocate(recipe, tmp_path.parent / "elsewhere")
    assert moved.sources[0].reader.root == tmp_path.parent / "elsewhere"


@pytest.mark.parametrize(
    ("rows", "error", "sentence"),
    [
        ([{"label": "cat"}, {"label": "dog"}], RecipeError, "says train nowhere. Run: ssmtl data split"),
        ([{"label": "cat", "split": "val"}], RecipeError, "says train nowhere"),
        ([{"label": "", "split": "train"}], RecipeError, "no training image with an annotation"),
    ],
)
def test_data_that_nothing_can_be_learned_from_is_refused(write, rows, error, sentence):
    with pytest.raises(error, match=sentence):
        RECIPE(data=write(rows))


def test_unchecked_data_is_refused(write):
    with pytest.raises(DataError, match="has not been checked"):
        RECIPE(data=write(ROWS, checked=False))
