"""Pictures beside a training: how often they pay, and the thread that draws them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

# The largest part of the time of a training that its pictures take.
SHARE = 0.05


class Pace:
    """When what costs time is made once more: as long as all of it takes a small share of the time.

    Args:
        share: number in 0 to 1, the largest part of the time since this object was made.
        clock: function that returns seconds.
    """

    def __init__(
        self, share: float = SHARE, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.share, self.clock, self._begin = share, clock, clock()
        self._spent, self._lock = 0.0, threading.Lock()

    def spend(self, seconds: float) -> None:
        """Counts what something has cost, in whatever thread."""
        with self._lock:
            self._spent += seconds

    def allows(self, seconds: float) -> bool:
        """Whether so many seconds more are within the share of the time that has passed."""
        return self._spent + seconds <= self.share * (self.clock() - self._begin)


class Drawing:
    """A thread that does one thing after the other, beside that which asks for them."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._begun: list[Future[Any]] = []

    @property
    def is_busy(self) -> bool:
        """Whether something is not done yet."""
        return not all(future.done() for future in self._begun)

    def begin(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Has a function called after those before; raises what one of them has raised."""
        self._raise_errors()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "drawing")
        self._begun.append(self._pool.submit(function, *arguments))

    def join(self) -> None:
        """Waits until all is done; raises what the first that failed has raised."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._raise_errors()

    def _raise_errors(self):
        done = [future for future in self._begun if future.done()]
        self._begun = [future for future in self._begun if future not in done]
        for future in done:
            future.result()
