"""The command line inside the test's own process: the same words and exit codes, without seconds of imports."""

import contextlib
import io
import os
from typing import NamedTuple
from unittest import mock

from ssmtl.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def sentence(self):
        """What stderr says after "error: ", which must be its last line, and no traceback."""
        assert "Traceback" not in self.err
        lines = self.err.strip().splitlines()
        assert lines, self
        assert lines[-1].startswith("error: "), self.err
        return lines[-1].removeprefix("error: ")


def call(*words):
    """Run `ssmtl WORDS...`, decoding in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, {"COLUMNS": "400", "TERM": "dumb"}),
    ):
        code = _exit_code(words)
    return Outcome(code, out.getvalue(), err.getvalue())


def _exit_code(words):
    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        return ended.code
    raise AssertionError("main() returned instead of exiting")


def refused(*words):
    """Run `ssmtl WORDS...`, which must end with exit code 2; return its one sentence."""
    outcome = call(*words)
    assert outcome.code == 2, outcome
    return outcome.sentence
