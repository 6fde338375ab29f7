"""Folders that are filled once per run, whichever of its processes needs them first."""

import fcntl
import os
import shutil


def filled(tmp_path_factory, name, fill):
    """A folder that all processes of a run of the tests share, and leave as it is.

    Args:
        tmp_path_factory: pytest's.
        name: of the folder.
        fill: a function of the empty folder, which one process calls.
    """
    base = tmp_path_factory.getbasetemp()
    # Each worker of pytest-xdist has a folder in that of the run.
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            # What a process that failed has left.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fill(folder)
            done.touch()
    return folder
