"""docs/choose.md gives no number that isn't on the results page which its row links to, and knows what it names."""

import re
from pathlib import Path

import pytest

from ssmtl.component import kinds

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "choose.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ")][2:]
NUMBER = re.compile(r"\d+\.\d+")


def test_there_is_a_table():
    assert len(ROWS) > 5
    assert "--- |" not in "".join(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0])
def test_every_number_was_measured(row):
    (page,) = re.findall(r"\]\((results/\w+\.md)\)", row)
    measured = set(NUMBER.findall((DOCS / page).read_text()))
    stated = NUMBER.findall(row)
    assert len(stated) >= 2, "a method and its baseline"
    assert set(stated) <= measured


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0])
def test_every_method_is_installed(row):
    tried = row.split(" | ")[1]
    assert set(re.findall(r"`(\w+)`", tried)) <= set(kinds("strategies"))


def test_numbers_in_the_text_were_measured_too():
    text = "".join(line for line in PAGE.splitlines(keepends=True) if not line.startswith("|"))
    everything = "".join(path.read_text() for path in (DOCS / "results").glob("*.md"))
    for number in re.findall(r"\d+[.,]\d+", text):
        assert number in everything, number
