"""Threads in which requests run, and the bounds on those that arrive and wait."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent import futures
from typing import Any

# At once, in all and of one connection; a message that takes longer does not count any more.
_ARRIVALS, _OWN_ARRIVALS, _ARRIVAL_SECONDS = 32, 8, 0.25
# Calls whose message has not arrived.
_SILENT = 1024


class FullError(Exception):
    """There are as many requests as may be."""


class _Connection:
    """The calls of a connection whose message has not arrived, the oldest first."""

    def __init__(self) -> None:
        self.silent: dict[asyncio.Task[Any] | None, None] = {}
        self.arrivals = asyncio.Semaphore(_OWN_ARRIVALS)


class Pool:
    """Runs functions in threads and lets others wait.

    What waits holds no thread, and costs nothing any more once whoever asked has gone.

    Args:
        threads: number of functions that run at once.
        most: number that may be there, running or waiting.
        most_bytes: bytes of the messages that may be there.

    Attributes:
        present: number of functions that run or wait.
    """

    def __init__(self, threads: int, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self._arrivals, self._slots = asyncio.Semaphore(_ARRIVALS), asyncio.Semaphore(threads)
        self._connections: dict[str, _Connection] = {}
        self._threads = futures.ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._busy: Counter[str] = Counter()
        self._bytes = 0
        self.present = 0

    async def receive(self, connection: str, read: Callable[[], Awaitable[Any]]) -> Any:
        """Returns `await read()`, a message, for a few callers at a time.

        Messages that arrive have their memory before anybody can refuse them. One that stays out
        for long, or for ever, keeps nobody else waiting: it only stops to count. Where too many
        stay out, the connection that has most of them loses its oldest.

        Args:
            connection: names whom the message comes from.
            read: reads it.

        Raises:
            FullError: if it could not run, and nothing is read then; or if it stayed out while
                there were too many.
        """
        own = self._connections.setdefault(connection, _Connection())
        task = asyncio.current_task()
        own.silent[task] = None
        if sum(len(other.silent) for other in self._connections.values()) > _SILENT:
            self._close_oldest()
        try:
            return await self._arrive(own, read)
        except asyncio.CancelledError:
            if task in own.silent:
                raise  # Whoever asked has gone.
            raise FullError(
                f"The call has sent no message yet, and there are more than {_SILENT} such calls. "
                "Try again later."
            ) from None
        finally:
            own.silent.pop(task, None)
            if not own.silent:
                self._connections.pop(connection, None)

    async def _arrive(self, own: "_Connection", read: Callable[[], Awaitable[Any]]) -> Any:
        places = []

        def leave() -> None:
            while places:
                places.pop().release()

        try:
            for semaphore in (own.arrivals, self._arrivals):
                await semaphore.acquire()
                places.append(semaphore)
            timer = asyncio.get_running_loop().call_later(_ARRIVAL_SECONDS, leave)
            try:
                self._check_room(1)
                return await read()
            finally:
                timer.cancel()
        finally:
            leave()

    def _close_oldest(self) -> None:
        largest = max(self._connections.values(), key=lambda other: len(other.silent))
        task = next(iter(largest.silent))
        del largest.silent[task]
        task.cancel()

    async def run(
        self, connection: str, function: Callable[..., Any], message: bytes, *arguments: Any
    ) -> Any:
        """Returns `function(message, *arguments)`, run in a thread, for a connection.

        Raises:
            FullError: if there are too many; nothing waits then.
        """
        size = len(message)
        self._check_room(size)
        self._busy[connection] += 1
        self.present += 1
        self._bytes += size
        try:
            await self._slots.acquire()
        except BaseException:
            self._leave(connection, size)
            raise
        loop = asyncio.get_running_loop()
        work = self._threads.submit(function, message, *arguments)

        def end(_: futures.Future) -> None:
            loop.call_soon_threadsafe(self._end, connection, size)

        # Whoever asked may go while it runs; the thread is taken until it ends.
        work.add_done_callback(end)
        return await asyncio.wrap_future(work)

    def _check_room(self, size: int) -> None:
        if self.present >= self.most or (self.present and self._bytes + size > self.most_bytes):
            raise FullError(
                f"There are {self.present} requests of {self._bytes} bytes already, at most "
                f"{self.most} of {self.most_bytes} bytes may be. Try again later."
            )

    def busy(self) -> list[str]:
        """The connections whose requests run or wait."""
        return list(self._busy)

    def _end(self, connection: str, size: int) -> None:
        self._slots.release()
        self._leave(connection, size)

    def _leave(self, connection: str, size: int) -> None:
        self.present -= 1
        self._busy[connection] -= 1
        if not self._busy[connection]:
            del self._busy[connection]
        self._bytes -= size
