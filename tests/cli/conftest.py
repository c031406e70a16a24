import shutil
from types import SimpleNamespace

import pytest
from films import write_films
from in_process import call

TINY = {"size": 32, "diagnosis_labels": 8, "lung_labels": 4, "workers": 0}


@pytest.fixture(scope="session")
def _pristine(tmp_path_factory):
    return write_films(tmp_path_factory.mktemp("films"))


@pytest.fixture
def films(_pristine, tmp_path):
    """A copy of the study's folder, to be damaged."""
    return shutil.copytree(_pristine, tmp_path / "films")


def _words(*flags, **values):
    pairs = ((f"--{name.replace('_', '-')}", value) for name, value in {**TINY, **values}.items())
    return "run", "multimix_cxr", *(word for pair in pairs for word in pair), "--quiet", *flags


@pytest.fixture
def study(films, tmp_path):
    """Return a function that gives the words of a one-step run of MultiMix on `films`, with some values changed."""
    return lambda *flags, **values: _words(*flags, **{"data": films, "out": tmp_path / "run", "steps": 1, **values})


@pytest.fixture(scope="session")
def trained(_pristine, tmp_path_factory):
    """One run of MultiMix on a folder of films, with both checkpoints: `path`, `data` and the `outcome` of training."""
    path = tmp_path_factory.mktemp("runs") / "trained"
    outcome = call(*_words(data=_pristine, out=path, steps=3, checkpoint_every=1, eval_every=2))
    assert outcome.code == 0, outcome
    return SimpleNamespace(path=path, data=_pristine, outcome=outcome)


@pytest.fixture
def run_copy(trained, tmp_path):
    """A copy of the trained run, to be damaged."""
    return shutil.copytree(trained.path, tmp_path / "copy")
