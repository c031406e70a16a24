"""Help teaches: every flag is explained, examples work as words, and none of it waits for PyTorch."""

import subprocess
import sys

import pytest
from in_process import call
from launch import environment

QUIETLY = """
import sys
from ssmtl.cli import main
for words in {commands!r}:
    try:
        main(list(words))
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
heavy = {{"torch", "lightning", "kornia", "timm", "matplotlib", "numpy"}} & set(sys.modules)
assert not heavy, heavy
"""
COMMANDS = ("run", "data", "eval", "predict", "export", "report", "compare", "list")


def test_help_and_list_do_not_import_torch():
    commands = [("--help",), ("--version",), ("list",), *((name, "--help") for name in COMMANDS)]
    script = QUIETLY.format(commands=commands)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
    assert result.returncode == 0, result.stderr


def test_the_first_page_names_every_command_and_a_way_in():
    page = call("--help").out
    for name in (*COMMANDS, "ssmtl run multimix_cxr --steps 100", "--debug"):
        assert name in page


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run", ("RECIPE", "ssmtl list", "--resume", "Example: ssmtl run multimix_cxr --data DIR")),
        ("eval", ("RUN", "--checkpoint", "last, best", "--weights", "--data", "if it moved", "Example: ssmtl eval")),
        ("predict", ("RUN", "IMAGES", "--out", "predictions.csv", "Example: ssmtl predict")),
        ("export", ("RUN", "--format", "onnx, torch", "--size", "--dynamic", "model card", "Example: ssmtl export")),
        ("report", ("RUN", "report.html")),
        ("compare", ("RUNS", "--baseline", "--json", "Example: ssmtl compare")),
    ],
)
def test_a_command_explains_itself(command, words):
    outcome = call(command, "--help")
    assert outcome.code == 0
    for word in words:
        assert word in outcome.out


def test_a_recipe_explains_its_own_flags_and_those_of_every_recipe():
    page = call("run", "multimix_cxr", "--help").out
    own, _, shared = page.partition("Flags of every recipe")
    for flag in ("--data", "--method", "--diagnosis-labels", "--lung-labels", "--size", "--seg-kl", "--seed"):
        assert flag in own
    for flag in ("--out", "--steps", "--eval-every", "--checkpoint-every", "--devices", "--precision", "--resume"):
        assert flag in shared
    assert "choices: enc, enc-mm, enc-ssl, u-net, umtl, umtl-s, umtl-ssl, umtl-ssl-s, multimix" in page
    lines = [line for line in page.splitlines() if line.strip("│ ").startswith("--")]
    assert len(lines) > 15
    for line in lines:
        assert len(line.strip("│ ").split("  ", 1)[-1].strip()) > 10, f"a flag without a sentence: {line}"


def test_the_command_line_is_also_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "ssmtl.cli", "--version"], capture_output=True, text=True, env=environment()
    )
    assert (result.returncode, result.stdout.strip()) == (0, "0.1.0")
