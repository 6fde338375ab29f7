"""Processes that a call starts, none of which goes on alone."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from coda_keras.cluster.calls import environment

_running: set[subprocess.Popen[Any]] = set()


def run(
    line: Sequence[str | Path],
    output: IO[Any] | None = None,
    without: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> int:
    """Runs a process to its end, on the device of the call that starts it.

    Under Linux it is killed where this process is: a call that runs again elsewhere must not
    meet what is left of its first run.

    Args:
        line: the command line.
        output: file for what it prints; None for where this process prints.
        without: names of variables that it does not get.
        more: further variables.

    Returns:
        The exit code.

    Raises:
        OSError: if it cannot be started.
    """
    variables = {**os.environ, **environment(), **(more or {})}
    variables = {name: value for name, value in variables.items() if name not in without}
    bound = shutil.which("setpriv")
    prefix = [bound, "--pdeathsig", "KILL"] if bound else []
    errors = None if output is None else subprocess.STDOUT
    process = subprocess.Popen([*prefix, *line], stdout=output, stderr=errors, env=variables)
    _running.add(process)
    try:
        return process.wait()
    finally:
        _running.discard(process)


def end_all() -> None:
    """Ends, by SIGTERM, the processes that calls of this process have started."""
    for process in list(_running):
        process.terminate()
