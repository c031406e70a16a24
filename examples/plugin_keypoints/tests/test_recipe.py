"""The recipe beside the package: three tasks on one encoder, flipped with sides exchanged, or not at all."""

from pathlib import Path

import pytest

from ssmtl.commands.recipes import load_recipe
from ssmtl.errors import RecipeError
from ssmtl.loader import open_sources

faces = load_recipe(Path(__file__).parent.parent / "recipes" / "faces.py")


def drawn(recipe, view):
    return [op.kind for op in recipe.policy(recipe.sources[0], view).always]


def test_three_tasks_share_an_encoder_and_few_labels():
    sources = open_sources(faces(point_labels=12, labels=30))
    assert {name: int(rows.sum()) for name, rows in sources.coverage.visible.items()} == {
        "points": 12,
        "expression": 30,
        "outline": 30,
    }


def test_both_views_flip_unless_told_otherwise():
    for view in ("weak", "strong"):
        assert "HorizontalFlip" in drawn(faces(), view)
        assert "HorizontalFlip" not in drawn(faces(flips=False), view)
    assert faces(flips=False).tasks["points"].mirrored is None


def test_the_baseline_differs_in_nothing_but_the_method():
    semi, baseline = faces(), faces(method="supervised")
    assert {o.strategy.kind for o in semi.objectives} == {"DenseFixMatch", "FixMatch"}
    assert {o.strategy.kind for o in baseline.objectives} == {"Supervised"}
    differ = {name for name in type(semi).model_fields if getattr(semi, name) != getattr(baseline, name)}
    assert differ == {"name", "objectives", "streams"}


def test_a_folder_is_refused():
    with pytest.raises(RecipeError, match="--data names faces; leave it out"):
        faces(data=Path("faces"))
