"""The command line as a person runs it: in a process of its own, two threads at most."""

import os
import subprocess
import sys
from pathlib import Path

TINY = Path(__file__).parent / "tiny.py"


def command(*words):
    return [sys.executable, "-m", "ssmtl.cli", *map(str, words)]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def run_ssmtl(*words):
    """Run `ssmtl WORDS...` and return the finished process."""
    return subprocess.run(command(*words), capture_output=True, text=True, env=environment(), timeout=280)
