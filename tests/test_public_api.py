"""The names of `ssmtl`: all there, the same for type checkers and at run time, and free to import."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from launch import environment

import ssmtl


def test_every_public_name_loads_from_its_home():
    assert len(ssmtl.__all__) > 30
    for name in ssmtl.__all__:
        assert getattr(ssmtl, name).__name__ == name
        assert getattr(ssmtl, name) is getattr(importlib.import_module(ssmtl._MODULES[name]), name)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(ssmtl.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert all(alias.asname == alias.name for node in block.body for alias in node.names)
    assert seen == ssmtl._MODULES


def test_names_are_listed_once_and_in_order():
    assert list(ssmtl.__all__) == sorted(set(ssmtl.__all__))
    assert dir(ssmtl) == list(ssmtl.__all__)
    assert sum(len(names) for names in ssmtl._HOMES.values()) == len(ssmtl.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ssmtl' has no attribute 'Fixmatch'"):
        _ = ssmtl.Fixmatch


def test_importing_ssmtl_costs_nothing():
    script = "import sys, ssmtl; print(sorted({'torch', 'numpy', 'pydantic', 'kornia'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment())
    assert result.stdout.strip() == "[]", result.stderr
