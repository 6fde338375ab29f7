"""The processors of this machine."""

import os


def cores() -> int:
    """How many logical cores are open to this process; on some systems how many there are."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
