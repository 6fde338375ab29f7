"""TensorFlow, without the lines that it writes before anybody can ask it not to.

Whatever the log level, it tells that oneDNN is on, that there is no CUDA, and that such lines may
come. They are left out while it is imported, by a process beside this one that reads what is
written to the standard error: whatever else TensorFlow says arrives, also what it says last if
importing it ends this process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

STDERR = 2
# Of a process that has the standard error in its place after an import.
PATIENCE_SECONDS = 5
FILTER = r"""
import re, sys
known = re.compile(rb"I\d{4} \d|WARNING: All log messages before absl::InitializeLog")
for line in sys.stdin.buffer:
    if not known.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""


def leave_out() -> None:
    """Leaves the lines out when TensorFlow is imported, if it is; further calls do nothing."""
    if "tensorflow" not in sys.modules and _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


@contextmanager
def filtered() -> Iterator[None]:
    """What is written to the standard error inside the block is there at its end, less the lines.

    Nothing is left out where there is no standard error, or no way to start a process.
    """
    reader = _reader()
    if reader is None:
        yield
        return
    # The lines come from C++, which knows the descriptor and no `sys.stderr`.
    kept = os.dup(STDERR)
    _flush()
    assert reader.stdin is not None
    with reader.stdin as pipe:
        os.dup2(pipe.fileno(), STDERR)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, STDERR)
        os.close(kept)
        # It ends with the last process that writes to it.
        with suppress(subprocess.TimeoutExpired):
            reader.wait(PATIENCE_SECONDS)


def _reader() -> subprocess.Popen | None:
    # Where Python was started without a standard error the descriptor may be anything.
    if sys.__stderr__ is None:
        return None
    program = [sys.executable or "", "-I", "-S", "-c", FILTER]
    try:
        os.fstat(STDERR)
        # In a session of its own Ctrl-C does not end it before this process.
        return subprocess.Popen(program, stdin=subprocess.PIPE, start_new_session=True)
    except OSError:
        return None


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        with filtered():
            super().exec_module(module)


class _Finder:
    """Finds TensorFlow where it lies on the path, to be imported inside `filtered`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


_FINDER = _Finder()
