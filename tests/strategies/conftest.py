from collections.abc import Callable

import pytest

from ssmtl.checks.fake_step import FakeStep
from ssmtl.task import Loss


@pytest.fixture
def fake_step() -> type[FakeStep]:
    return FakeStep


@pytest.fixture
def ratio() -> Callable[[Loss], float]:
    return lambda loss: (loss.total.sum() / loss.count.sum()).item()
