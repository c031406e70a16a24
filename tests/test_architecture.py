"""Rules of the house that no linter knows; a failure says what to do."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ssmtl", "tasks/ssmtl_tasks")
PROGRAMS = ("recipes", "benchmarks", "examples")
LONGEST = 400


def sources(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no Python file in {folders}"
    return found


def name_of(path):
    return str(path.relative_to(ROOT))


EVERYWHERE = sources(*PACKAGES, *PROGRAMS, "tests")


def imports(tree):
    """Yield (module, names, level) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module or "", [alias.name for alias in node.names], node.level
        elif isinstance(node, ast.Import):
            yield from ((alias.name, [], 0) for alias in node.names)


@pytest.mark.parametrize("path", EVERYWHERE, ids=name_of)
def test_a_file_is_short_absolute_and_done(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST, "split it: a long file is two rooms"
    for module, names, level in imports(ast.parse(text)):
        assert level == 0, f"import {module} by its full name"
        assert (module, names) != ("__future__", ["annotations"]), "it hides late failures and unchecked shapes"
        assert module.split(".")[0] not in PROGRAMS, f"{module} is a program; move what is shared into ssmtl"
    if path != Path(__file__):
        for mark in ("TODO", "FIXME", "XXX"):
            assert mark not in text, f"do what '{mark}' says, or open an issue"


@pytest.mark.parametrize("path", sources(*PACKAGES, *PROGRAMS), ids=name_of)
def test_a_file_says_what_it_is(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, "add a module docstring"
    assert text.split("\n\n")[0].rstrip().endswith((".", "`", ")")) or text.split("\n")[0].endswith("."), text


@pytest.mark.parametrize("path", sources(*PACKAGES, *PROGRAMS), ids=name_of)
def test_values_are_copied_by_replace(path):
    called = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    assert "model_copy" not in called, "model_copy checks nothing; use Component.replace"
    assert "model_construct" not in called, "model_construct checks nothing; call the class"


@pytest.mark.parametrize("folder", [*PROGRAMS, "tests"])
def test_programs_are_no_packages(folder):
    plugins = {path.parent for path in (ROOT / "examples").glob("*/pyproject.toml")}
    found = [path for path in (ROOT / folder).rglob("__init__.py") if plugins.isdisjoint(path.parents)]
    assert not found, f"{folder} is run, not imported: remove its __init__.py"
