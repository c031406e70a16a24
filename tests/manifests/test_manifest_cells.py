"""One cell at a time."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmtl.errors import DataError
from ssmtl.manifests.cells import as_text, is_coco, parse_boxes, parse_labels

names = st.lists(st.text(min_size=1).filter(lambda name: not name.startswith("[")), unique=True)


@given(names)
def test_a_list_of_names_comes_back(given_names: list[str]) -> None:
    assert parse_labels(json.dumps(given_names)) == tuple(given_names)


@given(names.filter(lambda found: found and not any("|" in name for name in found)))
def test_names_behind_bars_come_back(given_names: list[str]) -> None:
    assert parse_labels("|".join(given_names)) == tuple(given_names)


def test_nothing_applies_is_not_an_empty_name() -> None:
    assert parse_labels("[]") == ()
    for text in ("", "a||b", "a|a", '["a", ""]'):
        with pytest.raises(DataError, match="a class name that is empty or there twice"):
            parse_labels(text)
    for text in ("[1, 2]", '["a"', "['a']"):
        with pytest.raises(DataError, match=r'write it as \["dog", "outdoors"\]'):
            parse_labels(text)


def test_boxes_are_class_and_edges() -> None:
    assert parse_boxes('[{"class": "car", "box": [1, 2.5, 30, 40]}]') == (("car", (1.0, 2.5, 30.0, 40.0)),)
    assert parse_boxes("[]") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10 20 30 40", "can't be read as JSON"),
        ("(10, 20, 30, 40)", "can't be read as JSON"),
        ('{"class": "car"}', "is no list of boxes"),
        ("[10, 20, 30, 40]", "box 1 is '10'"),
        ('[{"class": "car", "bbox": [1, 2, 3, 4]}]', "box 1 is"),
        ('[{"class": 3, "box": [1, 2, 3, 4]}]', "the class 3, but a name was expected"),
        ('[{"class": "car", "box": [1, 2, 3]}]', "four finite numbers"),
        ('[{"class": "car", "box": [1, 2, 3, NaN]}]', "four finite numbers"),
    ],
)
def test_other_notations_of_boxes_are_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        parse_boxes(text)


def test_a_cell_of_boxes_that_names_a_file() -> None:
    assert is_coco("annotations/instances.JSON")
    assert not is_coco('[{"class": "a.json", "box": [0, 0, 1, 1]}]')


def test_fields_become_what_a_cell_would_hold() -> None:
    assert [as_text(value) for value in ("a", "", None, math.nan, 3, 3.0, 0.5, [], ["é"])] == [
        "a", None, None, None, "3", "3", "0.5", "[]", '["é"]',
    ]  # fmt: skip
