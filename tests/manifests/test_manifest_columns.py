"""What a header means, and what is wrong with it."""

import pytest

from ssmtl.errors import DataError
from ssmtl.manifests.columns import Column, annotations, parse_header, require_columns

FILE = "manifest.csv"


def wrong(*header: str) -> list[str]:
    return [f"{problem.what}; {problem.fix}" for problem in parse_header(header, FILE)[1] if not problem.warning]


def test_every_column_of_the_contract_is_known() -> None:
    header = ("image", "label", "labels:signs", "mask:lung", "boxes", "split", "source", "group", "sha256", "phash")
    columns, problems = parse_header(header, FILE)
    assert not problems
    assert annotations(columns) == (
        Column("label", "label", "", "label"),
        Column("labels:signs", "labels", "signs", "labels:signs"),
        Column("mask:lung", "mask", "lung", "mask:lung"),
        Column("boxes", "boxes", "", "boxes"),
    )
    assert [column.task for column in annotations(columns)] == ["label", "signs", "lung", "boxes"]


def test_other_columns_are_ignored_with_a_warning_each() -> None:
    columns, (age, patient) = parse_header(("image", "age", "patient"), FILE)
    assert [column.header for column in columns] == ["image"]
    assert (age.warning, age.row, age.what) == (True, 0, "the column 'age' is ignored")
    assert patient.warning
    assert patient.fix == "rename it to 'group' if that is what it holds."


@pytest.mark.parametrize(
    ("header", "meant"),
    [("Label", "label"), (" split", "split"), ("lable:sex", "label:sex"), ("bbox:cars", "boxes:cars"), ("grp", None)],
)
def test_a_header_that_is_nearly_a_known_one_is_a_problem(header: str, meant: str | None) -> None:
    found = wrong("image", header)
    if meant is None:
        assert not found
    else:
        assert f"is nearly '{meant}'" in found[0]


def test_a_name_that_no_task_can_have_is_a_problem_with_a_name_that_one_can() -> None:
    (found,) = wrong("image", "label:2nd look")
    assert "names the task '2nd look'" in found
    assert "such as to 'label:nd_look'" in found
    assert "such as to 'label:NAME'" in wrong("image", "label:")[0]


def test_two_columns_that_claim_one_task_are_a_problem() -> None:
    assert "'label:x' and 'mask:x' both claim the task 'x'" in wrong("image", "label:x", "mask:x")[0]
    assert "both claim the task 'X'" in wrong("image", "label:x", "boxes:X")[0]
    assert "'mask' and 'label:mask' both claim the task 'mask'" in wrong("image", "mask", "label:mask")[0]


def test_empty_and_double_headers_and_no_image_are_problems() -> None:
    assert wrong("image", " ", "label", "label") == [
        "column 2 has no header; name it, or take the column out.",
        "the column 'label' is there twice; take one of the two out.",
    ]
    assert wrong("filename", "label") == [
        "there is no column 'image', which holds the path of every image; rename the column 'filename' to 'image'."
    ]


def test_training_refuses_the_first_problem_and_takes_warnings() -> None:
    assert len(require_columns(("image", "age"), FILE)) == 1
    with pytest.raises(DataError, match=r"^manifest\.csv: the column 'Label' is nearly 'label'"):
        require_columns(("image", "Label"), FILE)
