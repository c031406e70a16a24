"""`ssmtl new`: packages that work as they are written, recipes copied out, and nothing overwritten."""

from pathlib import Path

import pytest
from in_process import call, refused
from plugins import install

from ssmtl.commands.new import names_for
from ssmtl.commands.recipes import load_recipe, shipped_recipes

FILES = ["README.md", "pyproject.toml", "tests/test_contract.py"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def written(kind, name, tmp_path):
    """Return the package that `ssmtl new KIND NAME` writes, as installed."""
    outcome = call("new", kind, name)
    assert outcome.code == 0, outcome
    folder = tmp_path / names_for(name).distribution
    assert f"cd {folder.name}" in outcome.out
    return install(str(folder), tmp_path / "site")


@pytest.mark.parametrize(
    ("kind", "name", "shown"),
    [("task", "Severity", "tasks"), ("strategy", "mono_match", "strategies")],
)
def test_a_package_is_found_and_keeps_the_contract(kind, name, shown, tmp_path):
    plugin = written(kind, name, tmp_path)
    names = names_for(name)
    own = [f"{names.module}/__init__.py", f"{names.module}/{names.file}.py", f"{names.module}/py.typed"]
    found = [path for path in plugin.folder.rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(plugin.folder)) for path in found) == sorted([*FILES, *own])
    ended = plugin.pytest()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "passed" in ended.stdout
    assert plugin.python("-m", "ruff", "check", "--no-cache").returncode == 0
    assert plugin.python("-m", "ruff", "format", "--no-cache", "--check").returncode == 0
    listed = plugin.ssmtl("list").stdout
    (line,) = [line for line in listed.splitlines() if shown in line.split()]
    assert names.cls in line


@pytest.mark.parametrize(("kind", "name"), [("task", "Severity"), ("strategy", "mono_match")])
def test_a_package_is_typed_strictly(kind, name, tmp_path, request):
    plugin = written(kind, name, tmp_path)
    ended = plugin.mypy(request.config.cache.mkdir("mypy_of_plugins"), names_for(name).module)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("given", "cls", "file"),
    [
        ("Depth", "Depth", "depth"),
        ("MonoDepth", "MonoDepth", "mono_depth"),
        ("mono_depth", "MonoDepth", "mono_depth"),
        ("SNRLoss", "SNRLoss", "snr_loss"),
        ("depth2", "Depth2", "depth2"),
    ],
)
def test_names_follow_from_one(given, cls, file):
    names = names_for(given)
    assert names == (cls, file, f"ssmtl_{file}", f"ssmtl-{file.replace('_', '-')}")
    assert names_for(cls) == names


@pytest.mark.parametrize("name", ["2d", "mono-depth", "Mono Depth", "_x", "x__y", "größe", "class!"])
def test_a_name_that_no_class_can_have_is_refused(name):
    assert "can't be the name of a class" in refused("new", "task", name)


def test_a_taken_name_is_refused():
    assert "there is a task called Segmentation already" in refused("new", "task", "segmentation")
    assert "there is a strategy called FixMatch already" in refused("new", "strategy", "fix_match")
    assert not list(Path().iterdir())


def test_nothing_is_overwritten(tmp_path):
    call("new", "task", "Severity")
    kept = tmp_path / "ssmtl-severity" / "README.md"
    kept.write_text("mine")
    assert "exists and is not an empty folder" in refused("new", "task", "Severity")
    assert kept.read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert call("new", "task", "Severity", "--out", "empty").code == 0
    assert (tmp_path / "empty" / "ssmtl_severity" / "severity.py").is_file()


def test_a_recipe_is_copied_and_runs_like_the_shipped_one(tmp_path):
    outcome = call("new", "recipe", "lungs", "--like", "multimix_cxr")
    assert "ssmtl run lungs.py" in outcome.out
    assert (tmp_path / "lungs.py").read_bytes() == shipped_recipes()["multimix_cxr"].read_bytes()
    assert load_recipe(tmp_path / "lungs.py").__doc__ == load_recipe(shipped_recipes()["multimix_cxr"]).__doc__
    assert call("new", "recipe", "--like", "multimix_cxr", "--out", "deep/other.py").code == 0
    assert (tmp_path / "deep" / "other.py").is_file()


def test_the_custom_recipe_is_the_default(tmp_path):
    assert call("new", "recipe").code == 0
    assert (tmp_path / "custom.py").read_bytes() == shipped_recipes()["custom"].read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--like", "multimix"), "no shipped recipe of that name; did you mean 'multimix_cxr'?"),
        (("my recipe",), "can't be the name of a recipe"),
        (("lungs", "--out", "lungs.py"), "both say what the file is called"),
        (("--like", "multimix_cxr", "--out", "lungs.txt"), "let the name end in .py"),
    ],
)
def test_a_copy_that_makes_no_sense_is_refused(words, sentence):
    assert sentence in refused("new", "recipe", *words)


def test_a_recipe_of_ones_own_is_not_overwritten(tmp_path):
    (tmp_path / "lungs.py").write_text("mine")
    assert "'lungs.py' exists" in refused("new", "recipe", "lungs", "--like", "multimix_cxr")
    assert (tmp_path / "lungs.py").read_text() == "mine"
