"""Fixtures of all tests."""

import pytest
from launch import run_ssmtl


@pytest.fixture
def ssmtl():
    """Return a function that runs `ssmtl WORDS...` in a process of its own and returns it, finished."""
    return run_ssmtl
