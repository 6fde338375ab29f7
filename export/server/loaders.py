"""Threads in which versions load, and what becomes of a load that does not end."""

import collections
import threading
from collections.abc import Callable

Function = Callable[[], object]


class Loaders:
    """Runs functions in threads, a few at once, and goes on without those that take too long.

    A thread cannot be ended. One that is given up stays behind, and another takes its place.

    Args:
        threads: number of functions that run at once.
        seconds: that a function may take.
    """

    def __init__(self, threads: int, seconds: float) -> None:
        self.seconds = seconds
        self._threads = self._free = threads
        self._queue: collections.deque[tuple[Function, Function]] = collections.deque()
        self._changed = threading.Condition()

    def submit(self, function: Function, give_up: Function) -> None:
        """Has `function` run; `give_up` is called, in another thread, if it takes too long.

        Neither may raise.
        """
        with self._changed:
            self._queue.append((function, give_up))
            self._begin()

    def wait(self) -> None:
        """Waits until nothing runs but what was given up."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue and self._free == self._threads)

    def _begin(self) -> None:
        while self._queue and self._free:
            self._free -= 1
            functions = self._queue.popleft()
            threading.Thread(target=self._run, args=functions, name="load", daemon=True).start()

    def _run(self, function: Function, give_up: Function) -> None:
        ended = threading.Lock()

        def end(*last: Function) -> None:
            if ended.acquire(blocking=False):
                for call in last:
                    call()
                self._leave()

        timer = threading.Timer(self.seconds, end, [give_up])
        timer.daemon = True
        timer.start()
        function()
        timer.cancel()
        end()

    def _leave(self) -> None:
        with self._changed:
            self._free += 1
            self._begin()
            self._changed.notify_all()
