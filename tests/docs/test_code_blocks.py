"""Every block of Python or commands that people read, on the site and in READMEs, runs here or is at least right."""

import contextlib
import csv
import importlib
import os
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from documented import ROOT, pages
from in_process import call

import ssmtl
import ssmtl_tasks
from ssmtl import cli
from ssmtl.commands.data import CoverageFlags
from ssmtl.commands.run import RunFlags, ask
from ssmtl.commands.views import SheetFlags
from ssmtl.datasets.chest_phantom import ChestPhantom
from ssmtl.views import presets

PAGES = {page.name: page for page in pages()}
OWN_TESTS = {"docs/methods.md", "docs/views.md", "docs/your-strategy.md"}
"""Pages whose Python has a test of its own, which also looks at what it makes."""
RUN_HERE = [name for name, page in PAGES.items() if any(b.runs and b.kind == "bash" for b in page.blocks)]
OF_RECIPES = {"run": RunFlags(), "views": SheetFlags(), "data coverage": CoverageFlags()}
ELSEWHERE = {"cd", "mypy", "pytest", "ruff", "source"}
"""Programs that are not ours, whose words aren't looked at."""
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_]*(\.\w+)?$")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def cases(wanted):
    return [
        pytest.param(page, block, id=f"{page.name}-{number}")
        for page in PAGES.values()
        for number, block in enumerate(page.blocks)
        if wanted(page, block)
    ]


def names(folder=None):
    """What short programs take for granted: public names, films, and those of the example whose README it is."""
    public = {name: getattr(module, name) for module in (ssmtl, ssmtl_tasks) for name in module.__all__}
    losses = {name: getattr(importlib.import_module("ssmtl_tasks.losses"), name) for name in ("Dice", "CrossEntropy")}
    views = {name: value for name, value in vars(presets).items() if callable(value)}
    films = {"films": ChestPhantom(), "lung_films": ChestPhantom(), "Path": Path}
    plugins = [path.parent.name for path in folder.glob("ssmtl_*/__init__.py")] if folder else []
    own = {name: getattr(plugin, name) for plugin in map(importlib.import_module, plugins) for name in plugin.__all__}
    return {"__name__": "page", **public, **losses, **views, **films, **own}


def follow(page):
    """Run all blocks of a page one after the other, as a reader who types them would."""
    known = names()
    for block in page.blocks:
        if block.runs and block.kind == "python":
            exec(compile(block.text, page.name, "exec"), known)
        elif block.runs:
            for line in block.commands:
                words = shlex.split(line)
                assert words[0] == "ssmtl", f"only ssmtl is run here, mark the block as parsed only: {line}"
                outcome = call(*words[1:], *block.flags)
                assert outcome.code == 0, (line, outcome.err)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A folder where somebody has followed docs/start.md."""
    folder = tmp_path_factory.mktemp("reader")
    with contextlib.chdir(folder):
        follow(PAGES["docs/start.md"])
    return folder


def test_the_folder_of_the_start_page_holds_what_it_says(reader):
    with (reader / "photos" / "manifest.csv.bak").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labeled = {column: sum(bool(row[column]) for row in rows) for column in ("label:traffic", "mask", "boxes")}
    assert labeled == {"label:traffic": 20, "mask": 10, "boxes": 15}
    assert len(rows) == 100


def test_following_the_start_page_ends_with_predictions(reader):
    found = {path.name for path in (reader / "predictions").iterdir()}
    assert {"predictions.csv", "boxes.csv", "predictions.coco.json", "masks", "overlays"} <= found
    lines = (reader / "predictions" / "predictions.csv").read_text().splitlines()
    assert len(lines) == 1 + 100
    assert {"traffic", "traffic_dense", "boxes_car"} <= set(lines[0].split(","))
    assert (reader / "runs" / "first" / "report.html").stat().st_size > 10_000
    assert (reader / "views.png").exists()


@pytest.mark.parametrize("name", [name for name in RUN_HERE if name != "docs/start.md"])
def test_the_commands_of_a_page_work(name, reader, monkeypatch):
    monkeypatch.chdir(reader)
    follow(PAGES[name])


@pytest.mark.parametrize(
    ("page", "block"),
    cases(lambda page, b: b.kind == "python" and b.runs and page.name not in {*OWN_TESTS, *RUN_HERE}),
)
def test_python_runs(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = (ROOT / page.name).parent
    monkeypatch.syspath_prepend(str(folder))
    exec(compile(block.text, page.name, "exec"), names(folder))


@pytest.mark.parametrize(("page", "block"), cases(lambda _, b: b.kind in ("indented", "bash") and not b.runs))
def test_commands_that_are_not_run_exist_with_all_of_their_flags(page, block, monkeypatch):
    home = (ROOT / page.name).parent if page.name.startswith("examples/") else ROOT
    monkeypatch.syspath_prepend(str(home))
    for line in block.commands:
        for part in re.split(r" && |\s{3,}(?=ssmtl )", line):
            monkeypatch.chdir(home if "/plugin_" not in part else ROOT)
            check(shlex.split(re.sub(r"\[(-[^]]+)\]", r"\1", part)))


def check(words):
    """Raise unless a command, its file and its flags are there; words in capitals stand for something."""
    words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    program = words[0]
    if program in ELSEWHERE:
        return
    if program == "ssmtl":
        check_ssmtl(words[1:])
    elif program.startswith("scripts/"):
        assert os.access(ROOT / program, os.X_OK), program
    elif program == "python":
        text = (ROOT / words[1]).read_text()
        assert all(flag in text for flag in words if flag.startswith("--")), words
    elif program == "pip":
        check_packages(words[2:])
    else:
        raise AssertionError(f"a program that nothing is known of: {words}")


def check_packages(words):
    """Raise unless what is installed is ours, or a folder; "." is the folder that a reader is in."""
    for word in words:
        name, _, extra = word.rstrip("]").partition("[")
        assert word.startswith("-") or name in ("ssmtl", ".") or (ROOT / name).is_dir(), word
        assert name != "ssmtl" or not extra or extra in PROJECT["optional-dependencies"], word


def check_ssmtl(words):
    """Raise unless a command takes these words."""
    words = [word for word in words if word != "--help"]
    verb = next((verb for verb in OF_RECIPES if " ".join(words).startswith(f"{verb} ")), None)
    if verb is None:
        cli.app.parse_args(words, exit_on_error=False, print_error=False)
        return
    rest = words[len(verb.split()) :]
    given = [rest[0]]
    place = 1
    while place < len(rest):
        flag, value = rest[place], rest[place + 1] if place + 1 < len(rest) else "--"
        assert flag.startswith("--"), words
        single = value.startswith("--")
        if not single and PLACEHOLDER.match(value):
            assert f"{flag} " in f"{help_of(verb, rest[0])} ", (flag, words)
        else:
            given += [flag] if single else [flag, value]
        place += 1 if single else 2
    assert ask(given, verb.split()[-1], OF_RECIPES[verb], "") is not None


def help_of(verb, recipe):
    outcome = call(*verb.split(), recipe, "--help")
    assert outcome.code == 0, outcome
    return outcome.out
