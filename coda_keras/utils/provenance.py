"""Where numbers come from: machine, packages, code and command, as results files record them."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from coda_keras import backend
from coda_keras.utils import processors


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def command() -> str:
    """The command line that started this process, quoted for a shell."""
    program, *arguments = sys.argv
    path, arguments = Path(program), [shlex.quote(argument) for argument in arguments]
    if path.name == "__main__.py":
        # `python -m coda_keras` and the like.
        return " ".join(["python -m", path.parent.name, *arguments])
    # Commands that were installed are called by their names.
    called = ["python", shlex.quote(program)] if path.suffix == ".py" else [path.name]
    return " ".join([*called, *arguments])


def result_packages() -> list[str]:
    """Names of the packages that results depend on, the running backend's first."""
    names = (backend.NAME, "tensorflow", "keras", "keras-cv", "tensorflow-datasets", "numpy")
    return list(dict.fromkeys(names))


def versions(packages: Sequence[str] | None = None) -> dict[str, str | None]:
    """Versions of Python and of `packages`; None for a package that is not installed.

    Args:
        packages: names; None for `result_packages`.
    """
    names = result_packages() if packages is None else packages
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def hardware() -> dict[str, object]:
    """The machine: `processor`, logical `cores` open to this process, names of its `gpus`."""
    return {"processor": _processor(), "cores": processors.cores(), "gpus": backend.accelerators()}


def record(arguments: Mapping[str, object]) -> dict[str, object]:
    """What a results file says of its making: these arguments, command, time, versions, machine."""
    return {
        "arguments": plain(arguments),
        "command": command(),
        "finished": now(),
        "versions": versions(),
        "hardware": hardware(),
    }


def conditions(
    arguments: Mapping[str, object],
    folder: str | os.PathLike,
    *paths: str,
    packages: Sequence[str] | None = None,
) -> dict[str, object]:
    """The head of a benchmark's record, made when it begins.

    Args:
        arguments: of the benchmark.
        folder: of the git repository.
        paths: what the numbers depend on there.
        packages: as for `versions`.
    """
    return {
        "arguments": plain(arguments),
        "commit": commit(folder),
        "uncommitted": uncommitted(folder, *paths),
        "versions": versions(packages),
        "hardware": hardware(),
        "load_average": os.getloadavg(),
        "started": now(),
    }


def commit(folder: str | os.PathLike) -> str | None:
    """The commit that `folder` is checked out at; None outside of a git repository."""
    return _git(folder, "rev-parse", "HEAD")


def uncommitted(folder: str | os.PathLike, *paths: str) -> str | None:
    """What git has not recorded of `paths` below `folder`, a line a file; None outside of git."""
    return _git(folder, "status", "--porcelain", "--", *paths)


def plain(value: object) -> object:
    """`value` as JSON holds it: dicts, lists, numbers, strings, None; all else as its string."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (int, float, str, type(None))) else str(value)


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(folder, *arguments):
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
