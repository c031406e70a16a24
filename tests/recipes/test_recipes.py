"""Every recipe file that is found: it explains itself, builds, reads back in another process, and its losses stand."""

import ast
import inspect
import json
import subprocess
import sys

import pytest
from golden import ROOT, STEPS, first_losses, stored
from launch import environment

from ssmtl.commands.recipes import load_recipe, shipped_recipes
from ssmtl.evaluate import scores_once
from ssmtl.recipe import read_recipe

FILES = sorted((ROOT / "recipes").glob("*.py"))
READ_BACK = """
import sys
from pathlib import Path
from ssmtl.recipe import read_recipe
for path in map(Path, sys.argv[1:]):
    assert read_recipe(path).to_json() == path.read_text(), path
assert "recipes" not in " ".join(sys.modules)
"""


def by_name(path):
    return path.stem


def without_seeds(value):
    """Return a dumped recipe with all seeds taken out: those of budgets and readers follow the recipe's."""
    if isinstance(value, dict):
        return {name: without_seeds(part) for name, part in value.items() if name != "seed"}
    return [without_seeds(part) for part in value] if isinstance(value, list) else value


def test_recipes_are_found_and_shipped():
    assert len(FILES) >= 1
    assert list(shipped_recipes()) == [path.stem for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=by_name)
class TestRecipe:
    def test_its_docstring_says_what_a_reader_asks(self, path):
        text = ast.get_docstring(ast.parse(path.read_text()))
        headings = [line.split()[0] for line in text.splitlines() if line and not line.startswith(" ")][1:]
        assert headings == ["Paper", "Results", "Run", "Differs"]
        assert f"ssmtl run {path.stem}" in text

    def test_every_flag_is_explained_and_data_may_be_absent(self, path):
        function = load_recipe(path)
        explained = inspect.getdoc(function)
        for name in inspect.signature(function).parameters:
            assert f"\n    {name}: " in explained, name
        assert function().data is None

    def test_it_reads_back_without_its_file(self, path, tmp_path):
        recipe = load_recipe(path)()
        (tmp_path / "recipe.json").write_text(recipe.to_json())
        assert read_recipe(tmp_path / "recipe.json") == recipe
        assert recipe.model.build(tuple(recipe.tasks.values()), pretrained=False).heads.keys() == recipe.tasks.keys()

    def test_seeds_differ_in_nothing_but_the_seed(self, path):
        function = load_recipe(path)
        one, two = function(seed=1), function(seed=2)
        assert one != two
        assert one.name == two.name
        assert without_seeds(two.model_dump()) == without_seeds(one.model_dump())

    def test_its_first_losses_are_those_on_file(self, path, tmp_path):
        expected, found = stored(path), first_losses(path, tmp_path / "run")
        assert len(expected) == len(found) == STEPS
        for ours, theirs in zip(found, expected, strict=True):
            # Meant to change? Then write them anew with tests/support/golden.py, and say why in the commit.
            assert ours.pop("phase") == theirs.pop("phase") == "train"
            assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-3)


def test_a_fresh_process_reads_every_variant(tmp_path):
    written = []
    for path in FILES:
        function = load_recipe(path)
        method = inspect.signature(function).parameters.get("method")
        for name in method.annotation.__args__ if method else (None,):
            written.append(tmp_path / f"{path.stem}-{name}.json")
            written[-1].write_text(function(**({"method": name} if name else {})).to_json())
    assert len(written) >= 8
    words = [sys.executable, "-c", READ_BACK, *map(str, written)]
    result = subprocess.run(words, capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", FILES, ids=by_name)
def test_it_runs_from_the_command_line_without_data(path, tmp_path, ssmtl):
    out = tmp_path / "run"
    result = ssmtl("run", path.stem, "--size", 32, "--steps", 2, "--out", out, "--quiet")
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    tested = {row["split"] for row in rows if row["phase"] == "test"}
    recipe = read_recipe(out / "recipe.json")
    assert tested - {"all"} == {split.name for split in recipe.test}
    assert ("all" in tested) == (len(recipe.tasks) > 1 and scores_once(recipe.test, recipe.tasks))
    assert (out / "report.html").stat().st_size > 10_000
    assert "report: " in result.stdout
