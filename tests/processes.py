"""Functions of tests that need a process of their own, such as one with two logical devices."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
_PROGRAM = "import runpy, sys; runpy.run_path(sys.argv[1])[sys.argv[2]](*sys.argv[3:])"


def run_in_process(function, *arguments):
    """Calls a function of a test module in a new Python process; fails with what that says."""
    file = inspect.getsourcefile(function)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, file, function.__name__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
