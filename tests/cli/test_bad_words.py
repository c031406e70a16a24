"""Words that mean nothing, each answered with one sentence and the nearest name."""

import pytest
from in_process import call, refused
from launch import TINY, run_ssmtl

from ssmtl.commands.run import RunFlags, ask

WELL_FORMED = """
from ssmtl import Recipe

def recipe(*, data=None, seed: int = 0) -> Recipe:
    {body}
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trane",), 'Unknown command "trane"'),
        (("pred",), 'Did you mean "predict"?'),
        (("run",), "parameter RECIPE requires an argument"),
        (("run", TINY, "--sede", 1), "Unknown option: --sede. Did you mean --seed?"),
        (("run", TINY, "--lr", "quick"), 'Invalid value for --lr: unable to convert "quick" into float'),
        (("run", TINY, "--precision", "bf16"), 'Choose from: "32-true", "bf16-mixed", "16-mixed"'),
        (("run", TINY, "--streams", "implict"), 'Did you mean "implicit"?'),
        (("run", TINY, "--devices", "0"), "the number of devices must be at least 1, got 0"),
        (("run", TINY, "--workers", "-1"), "the number of workers must be at least 0, got -1"),
        (("run", TINY, "--steps", "0"), "Recipe.steps: Input should be greater than or equal to 1"),
        (("run", "multimix_cxr", "--seed", "-1"), "seed: Input should be greater than or equal to 0"),
        (
            ("run", "multimix_cxr", "--lung-labels", "0"),
            "greater than or equal to 1, or Input should be 'full'",
        ),
        (("run", "multimix_cxr", "--size", 40, "--workers", 0, "--quiet"), "both sides must be multiples of 16"),
        (("run", "multimix_cx"), "no shipped recipe of that name; did you mean 'multimix_cxr'?"),
        (("run", "recipes/multimix_cxs.py"), "did you mean 'multimix_cxr'?"),
        (("eval", "--checkpoint", "best"), "parameter RUN requires an argument"),
        (("eval", "somewhere", "--checkpoint", "bets"), 'Did you mean "best"?'),
        (("compare",), "no run folder was given"),
    ],
)
def test_words_that_mean_nothing(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused(*words)


def test_a_recipe_that_raises_names_its_line(recipe_file):
    path = recipe_file("import math\n\nmath.sqrt(-1)\n")
    sentence = refused("run", path)
    assert f"the recipe {path} raised ValueError at line 3: " in sentence


def test_a_relative_path_names_its_line_too(recipe_file, monkeypatch):
    monkeypatch.chdir(recipe_file("\n1 / 0\n").parent)
    assert "the recipe mine.py raised ZeroDivisionError at line 2: division by zero" in refused("run", "mine.py")


def test_a_recipe_function_that_raises_names_its_line(recipe_file):
    path = recipe_file(WELL_FORMED.format(body="return {}['films']"))
    assert f"the recipe {path} raised KeyError at line 5: 'films'" in refused("run", path)


def test_a_recipe_with_a_syntax_error_names_its_line(recipe_file):
    assert "raised SyntaxError at line 2: " in refused("run", recipe_file("x = 1\nif x\n"))


def test_an_unknown_field_suggests_the_nearest_and_names_the_line(recipe_file):
    path = recipe_file(WELL_FORMED.format(body="from ssmtl import FixMatch; return FixMatch(treshold=0.7)"))
    sentence = refused("run", path)
    assert "FixMatch has no field 'treshold'; did you mean 'threshold'?" in sentence
    assert f"({path} at line 5)" in sentence


def test_debug_shows_where_an_error_came_from(recipe_file):
    path = recipe_file("import math\n\nmath.sqrt(-1)\n")
    outcome = run_ssmtl("run", path, "--debug")
    assert outcome.returncode != 0
    assert "Traceback" in outcome.stderr
    assert f'File "{path}", line 3' in outcome.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "has no function `recipe`; define one that returns a Recipe"),
        ("def recipe(data, *, seed=0): ...\n", "the argument 'data' of"),
        ("def recipe(*, data=None, seed=0, out=None): ...\n", "the argument 'out' of"),
        ("def recipe(*, data=None): ...\n", "must take the keyword 'seed'"),
        (WELL_FORMED.format(body="return 3"), "must return a Recipe, got int"),
    ],
)
def test_a_file_that_is_no_recipe(recipe_file, text, says):
    assert says in refused("run", recipe_file(text))


def test_a_file_that_is_no_python(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert "is not a Python file" in refused("run", tmp_path / "notes.txt")


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    assert "can't be written" in refused("run", TINY, "--out", tmp_path / "file/run")


def test_brackets_in_a_path_are_text_and_not_markup(tmp_path):
    assert "[/red]" in refused("eval", tmp_path / "[/red]")


def test_list_names_recipes_and_components():
    outcome = call("list")
    assert outcome.code == 0
    for name in ("multimix_cxr", "FixMatch", "Segmentation", "SaliencyBridge", "JSRT", "SigmoidRamp"):
        assert name in outcome.out


def test_the_last_of_a_repeated_flag_counts():
    """scripts/demo and scripts/compare put their own flags first and the caller's after them."""
    words = ["multimix_cxr", "--size", "64", "--steps", "300", "--steps", "5", "--size", "32"]
    asked = ask(words, "run", RunFlags(), "")
    assert asked.arguments["size"] == 32
    assert asked.flags.steps == 5
