"""The processors of this machine."""

import os
from pathlib import Path


def cores() -> int:
    """How many logical cores are open to this process; on some systems how many there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def features(listing: Path = Path("/proc/cpuinfo")) -> frozenset[str] | None:
    """The instruction sets of the processor by their names in Linux, such as `"avx2"`.

    Args:
        listing: the file in which Linux lists them.

    Returns:
        None where nothing lists them, as on Windows and macOS.
    """
    try:
        lines = listing.read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, values = line.partition(":")
        # Of x86-64 and of ARM.
        if name.strip() in ("flags", "Features"):
            return frozenset(values.split())
    return None
