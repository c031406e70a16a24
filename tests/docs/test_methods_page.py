"""docs/methods.md says what is: its programs run, its defaults are those of the classes, its names are logged."""

import ast
import json
import re
from pathlib import Path

import pytest
from kinds import study

import ssmtl
from ssmtl.component import kinds, resolve
from ssmtl.datasets.shapes_phantom import ShapesPhantom
from ssmtl.engine import LOG_EVERY, Options, train
from ssmtl.recipe import Recipe, Source
from ssmtl.report.curves import coverage_figures, loss_figures, mask_figures
from ssmtl.report.records import Record
from ssmtl.runs import RunFolder
from ssmtl.strategies.mixmatch import Mixing
from ssmtl.strategies.ood_mask import OODMask
from ssmtl.strategies.realmix import RealMix
from ssmtl.strategies.tsa import TSA
from ssmtl.teacher import Teacher
from ssmtl_tasks import Classification, Detection, MultiLabel, Segmentation

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "methods.md").read_text()
OWN_WORDS = {"TSA(steps=)": None}
"""Defaults that the page says in words."""


def table(heading):
    """Return the cells of the table under a heading, without its head."""
    part = PAGE.partition(f"\n## {heading}\n" if heading else "\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def coded(cell):
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_its_programs_run_and_build_what_they_show():
    programs = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(programs) == 2
    public = {name: getattr(ssmtl, name) for name in ssmtl.__all__}
    names = {**public, "animal": Classification("animal", classes=("cat", "dog")), "reader": ShapesPhantom()}
    built = [
        eval(compile(ast.Expression(statement.value), "methods.md", "eval"), names)
        for program in programs
        for statement in ast.parse(program).body
    ]
    assert [type(part).__name__ for part in built] == ["Objective"] * 3 + ["Source"]
    assert [part.strategy.kind for part in built[:3]] == ["RealMix", "FixMatch", "Supervised"]
    assert isinstance(built[3], Source)
    assert built[3].hide_labels


def test_every_strategy_that_learns_from_unlabeled_images_has_a_line():
    listed = {name for row in table("") for name in coded(row[0])}
    assert set(kinds("strategies")) == listed | {"PredictionMatching"}  # that one is MultiMix's own


@pytest.mark.parametrize("row", table(""), ids=lambda row: row[0])
def test_a_strategy_asks_for_the_abilities_of_its_line(row):
    for name in coded(row[0]):
        asked = [ability.__name__ for ability in resolve("strategies", name)().abilities()]
        assert list(dict.fromkeys(asked)) == coded(row[2])


def test_tasks_have_the_abilities_that_the_page_names():
    everything = {
        ability for row in table("") for name in coded(row[0]) for ability in resolve("strategies", name)().abilities()
    }
    having = {
        "Classification": Classification("a", classes=("cat", "dog")),
        "Segmentation": Segmentation("b", classes=("lung",)),
        "Detection": Detection("c", classes=("car",)),
        "MultiLabel": MultiLabel("d", classes=("cat", "dog")),
    }
    found = {name: {a.__name__ for a in everything if isinstance(task, a)} for name, task in having.items()}
    assert found == {
        "Classification": {"PseudoLabels", "Distributions", "Mixable", "Confident"},
        "Segmentation": {"PseudoLabels", "Distributions", "Confident"},
        "Detection": {"PseudoLabels"},
        "MultiLabel": {"PseudoLabels", "Distributions", "Confident"},
    }


def component(name):
    """Return the class of a switch, wherever it is registered."""
    if name in ("Teacher", "Recipe"):
        return {"Teacher": Teacher, "Recipe": Recipe}[name]
    return next(resolve(group, name) for group in ("strategies", "parts", "readers", "streams") if name in kinds(group))


@pytest.mark.parametrize("row", table("Switches"), ids=lambda row: row[0])
def test_a_switch_has_the_default_of_its_line(row):
    switches = re.findall(r"(\w+)\((\w+)=\)", row[0])
    if row[0].startswith("`bn_update=`"):
        switches = [(cls.__name__, "bn_update") for cls in Mixing.__subclasses__()]
    assert switches
    stated = coded(row[1]) or re.findall(r"^[\d.]+", row[1])
    for place, (name, field) in enumerate(switches):
        default = component(name).model_fields[field].default
        if f"{name}({field}=)" in OWN_WORDS:
            assert default is OWN_WORDS[f"{name}({field}=)"]
        else:
            assert default == ast.literal_eval(stated[min(place, len(stated) - 1)])


@pytest.mark.parametrize("row", table("Switches"), ids=lambda row: row[0])
def test_what_a_switch_may_be_otherwise_is_allowed(row):
    for name, field in re.findall(r"(\w+)\((\w+)=\)", row[0]):
        if name == "Recipe" or field == "unlabeled_includes_labeled":
            continue  # it needs more than itself
        needed = {"Extend": {"reader": ShapesPhantom()}, "OODMask": {"gamma": 0.5}}.get(name, {})
        for word in coded(row[2]):
            if re.fullmatch(r'"\w+"', word) and not (name == "Teacher" and field == "warmup"):
                assert getattr(component(name)(**needed, **{field: ast.literal_eval(word)}), field) == word.strip('"')


WATCHED = [name for row in table("What to watch") for name in coded(row[0])]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """The names that two steps of RealMix with all its parts log, where half of the unlabeled classes are foreign."""
    recipe = study(RealMix(ood_mask=OODMask(0.5), tsa=TSA()), foreign=2, steps=2, eval_every=2, test=())
    folder = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", recipe, "methods.md")
    assert train(recipe, folder, Options(accelerator="cpu", workers=0, quiet=True))
    rows = map(json.loads, (folder.path / "metrics.jsonl").read_text().splitlines())
    return {name for row in rows if row["phase"] == "train" for name in row}


@pytest.mark.parametrize("name", WATCHED)
def test_a_name_to_watch_is_logged_and_drawn(name, logged):
    assert f"kind/{name}" in logged
    records = [Record("train", step, "", "", "", {f"kind/{name}": 0.5}) for step in (10, 20)]
    (figure,) = coverage_figures(records) + mask_figures(records)
    assert figure.title.endswith("of kind")
    assert not loss_figures(records)


def test_every_name_that_is_logged_is_a_loss_or_explained(logged):
    others = {name.removeprefix("kind/") for name in logged if name.startswith("kind/")}
    assert {name for name in others if not name.startswith("confidence_to_")} == {
        *(name for name in WATCHED if not name.startswith("confidence_to_")), "supervised", "consistency",
    }  # fmt: skip
    assert LOG_EVERY == 10


def test_every_reader_of_small_images_has_a_line():
    listed = [name for row in table("Small images") for name in coded(row[0])]
    assert len(listed) == len(set(listed)) == 7
    assert set(listed) < set(kinds("readers"))
