"""Processes that a call starts, none of which goes on alone."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from coda_keras.cluster.calls import environment

# What a training needs for its step and a checkpoint, after it is told to end.
END_SECONDS = 60.0
_running: set[subprocess.Popen[Any]] = set()


def run(
    line: Sequence[str | Path],
    output: IO[Any] | None = None,
    without: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> int:
    """Runs a process to its end, on the device of the call that starts it.

    Under Linux it is killed where this process is: a call that runs again elsewhere must not
    meet what is left of its first run. Where an exception ends the call, such as that of a signal,
    the process is ended by SIGTERM, and killed if that takes more than `END_SECONDS`.

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
    process = subprocess.Popen(
        [*prefix, *line],
        stdout=output,
        stderr=errors,
        env=variables,
        # Ctrl-C reaches this process alone: a training that is told twice saves no checkpoint.
        start_new_session=True,
    )
    _running.add(process)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        raise
    finally:
        process.kill()
        _running.discard(process)


def end_all() -> None:
    """Ends, by SIGTERM, the processes that calls of this process have started."""
    for process in list(_running):
        process.terminate()
