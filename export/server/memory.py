"""Memory of what is no longer served goes back to the system at once, not some day."""

import contextlib
import ctypes
import gc


def settle() -> None:
    """Leaves all that has been imported out of later collections, which makes these short."""
    gc.collect()
    gc.freeze()


def collect() -> None:
    """Collects dropped graphs, which are cycles of Python objects, and trims the heap."""
    gc.collect()
    trim()


def trim() -> None:
    """Gives free pages to the system, which C's allocator keeps otherwise; glibc only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
