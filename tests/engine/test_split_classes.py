"""A split whose classes the task doesn't know is refused when it is opened, before anything was trained."""

import pytest
from kinds import study

from ssmtl import Split, Supervised
from ssmtl.datasets.shapes_phantom import FIGURES, TEXTURES, ShapesPhantom
from ssmtl.datasets.subset import Subset
from ssmtl.errors import DataError
from ssmtl.evaluate import SplitLoader

SHAPES = ShapesPhantom(samples=20, split="test", canvas=(16, 16))


def split(reader):
    return Split("test", reader, tasks=("kind",))


def test_foreign_classes_are_refused_when_the_split_is_opened():
    recipe = study(Supervised())
    for reader in (SHAPES, Subset(SHAPES, only=(FIGURES[0], TEXTURES[0]))):
        with pytest.raises(DataError, match=f"'{TEXTURES[0]}'") as caught:
            SplitLoader(recipe, split(reader))
        assert "\n" not in str(caught.value)


def test_the_sentence_is_that_of_a_source():
    recipe = study(Supervised())
    with pytest.raises(DataError) as caught:
        recipe.tasks["kind"].target(SHAPES.classes("label").index(TEXTURES[0]), SHAPES.classes("label"))
    with pytest.raises(DataError) as refused:
        SplitLoader(recipe, split(SHAPES))
    assert str(refused.value) == str(caught.value)


def test_known_classes_come_in_any_order_and_number():
    data = SplitLoader(study(Supervised()), split(Subset(SHAPES, only=(FIGURES[3], FIGURES[1]))))
    (batch,) = data
    assert sorted(batch.targets["kind"].labels.tolist()) == [1, 1, 3, 3]
