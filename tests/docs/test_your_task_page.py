"""docs/your-task.md says what is checked: its matrix is that of the suite, its abilities are all there are."""

import re
import runpy
import tomllib
from pathlib import Path

from ssmtl import task as contract
from ssmtl.checks.tasks import CHECKS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "your-task.md").read_text()


def test_the_matrix_is_that_of_the_suite():
    script = runpy.run_path(str(ROOT / "scripts" / "conformance"))
    assert script["written"](PAGE) == PAGE, "run scripts/conformance"
    assert PAGE.count("\n| ") > len(CHECKS)


def test_the_matrix_has_every_built_in_task():
    script = runpy.run_path(str(ROOT / "scripts" / "conformance"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(script["TASKS"]) == set(project["entry-points"]["ssmtl.tasks"])


def test_every_ability_has_a_line_with_all_of_its_methods():
    rows = re.findall(r"^\| ((?:`[A-Z]\w+`(?:, )?)+) \| ([^|]+) \|", PAGE, flags=re.MULTILINE)
    listed = {}
    for abilities, methods in rows:
        for ability, named in zip(re.findall(r"`(\w+)`", abilities), methods.split("; "), strict=False):
            listed[ability] = set(re.findall(r"`(\w+)`", named))
    protocols = {name: value for name, value in vars(contract).items() if getattr(value, "_is_protocol", False)}
    protocols = {name: value for name, value in protocols.items() if value.__module__ == contract.__name__}
    methods = {name: {key for key in vars(value) if not key.startswith("_")} for name, value in protocols.items()}
    assert listed == {name: found for name, found in methods.items() if name != "Classified"}


def test_the_contract_table_has_every_method_that_must_be_written():
    table = PAGE.partition("## The contract")[2].partition("### Abilities")[0]
    named = set(re.findall(r"`(\w+)[(`]", table))
    assert set(contract.Task.__abstractmethods__) <= named
