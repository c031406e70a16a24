"""Fixtures of all tests."""

import pytest
from jaxtyping import install_import_hook
from launch import run_ssmtl

# Shapes and types in signatures are checked while the tests run, and only then.
CHECKED = [
    "ssmtl.models",
    "ssmtl.pictures",
    "ssmtl.planning",
    "ssmtl.report",
    "ssmtl.strategies",
    "ssmtl.views",
    "ssmtl_tasks",
]
install_import_hook(CHECKED, "beartype.beartype")


@pytest.fixture
def ssmtl():
    """Return a function that runs `ssmtl WORDS...` in a process of its own and returns it, finished."""
    return run_ssmtl
