"""Threads in which requests run, and the bounds on those that arrive and wait."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent import futures
from typing import Any

# At once; a message that takes longer does not count any more.
_ARRIVALS, _ARRIVAL_SECONDS = 32, 0.25


class FullError(Exception):
    """There are as many requests as may be."""


class Pool:
    """Runs functions in threads and lets others wait.

    What waits holds no thread, and costs nothing any more once whoever asked has gone.

    Args:
        threads: number of functions that run at once.
        most: number that may be there, running or waiting.
        most_bytes: bytes of the messages that may be there.
    """

    def __init__(self, threads: int, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self._arrivals, self._slots = asyncio.Semaphore(_ARRIVALS), asyncio.Semaphore(threads)
        self._threads = futures.ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._present = self._bytes = 0

    async def receive(self, read: Callable[[], Awaitable[Any]]) -> Any:
        """Returns `await read()`, a message, for a few callers at a time.

        Messages that arrive have their memory before anybody can refuse them. One that stays out
        for long, or for ever, keeps nobody else waiting: it only stops to count.

        Raises:
            FullError: if it could not run; nothing is read then.
        """
        await self._arrivals.acquire()
        place = [self._arrivals]

        def leave() -> None:
            while place:
                place.pop().release()

        timer = asyncio.get_running_loop().call_later(_ARRIVAL_SECONDS, leave)
        try:
            self._check_room(1)
            return await read()
        finally:
            timer.cancel()
            leave()

    async def run(self, function: Callable[..., Any], message: bytes, *arguments: Any) -> Any:
        """Returns `function(message, *arguments)`, run in a thread.

        Raises:
            FullError: if there are too many; nothing waits then.
        """
        size = len(message)
        self._check_room(size)
        self._present += 1
        self._bytes += size
        try:
            await self._slots.acquire()
        except BaseException:
            self._leave(size)
            raise
        loop = asyncio.get_running_loop()
        work = self._threads.submit(function, message, *arguments)

        def end(_: futures.Future) -> None:
            loop.call_soon_threadsafe(self._end, size)

        # Whoever asked may go while it runs; the thread is taken until it ends.
        work.add_done_callback(end)
        return await asyncio.wrap_future(work)

    def _check_room(self, size: int) -> None:
        if self._present >= self.most or (self._present and self._bytes + size > self.most_bytes):
            raise FullError(
                f"There are {self._present} requests of {self._bytes} bytes already, at most "
                f"{self.most} of {self.most_bytes} bytes may be. Try again later."
            )

    def _end(self, size: int) -> None:
        self._slots.release()
        self._leave(size)

    def _leave(self, size: int) -> None:
        self._present -= 1
        self._bytes -= size
