"""The bound on requests that run and wait."""

import asyncio
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pytest

from export.pool import FullError, Pool


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def held(gate, ran):
    """A function that waits for the gate, and notes what it ran with."""

    def function(message):
        ran.append(message)
        assert gate.wait(60)
        return message

    return function


async def begun(ran, count):
    while len(ran) < count:
        await asyncio.sleep(0.001)


def test_as_many_run_as_there_are_threads_and_the_rest_waits(gate):
    async def scenario():
        pool, ran = Pool(2, 5, 1000), []
        tasks = [asyncio.create_task(pool.run(held(gate, ran), bytes([n]))) for n in range(5)]
        await begun(ran, 2)
        with pytest.raises(FullError, match="5 requests of 5 bytes"):
            await pool.run(held(gate, ran), b"x")
        assert len(ran) == 2
        gate.set()
        assert await asyncio.gather(*tasks) == [bytes([n]) for n in range(5)]
        # There is room again.
        assert await pool.run(held(gate, ran), b"x") == b"x"

    asyncio.run(scenario())


def test_what_is_cancelled_while_it_waits_never_runs_and_makes_room(gate):
    async def scenario():
        pool, ran = Pool(1, 3, 1000), []
        running, gone, staying = [
            asyncio.create_task(pool.run(held(gate, ran), message))
            for message in (b"running", b"gone", b"staying")
        ]
        await begun(ran, 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        late = asyncio.create_task(pool.run(held(gate, ran), b"late"))
        await asyncio.sleep(0)
        assert not late.done()
        # One that runs keeps its thread and its place until it ends.
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with pytest.raises(FullError):
            await pool.run(held(gate, ran), b"x")
        assert ran == [b"running"]
        gate.set()
        assert await asyncio.gather(staying, late) == [b"staying", b"late"]
        assert ran == [b"running", b"staying", b"late"]

    asyncio.run(scenario())


def test_bytes_are_bounded_but_one_request_always_fits(gate):
    async def scenario():
        pool, ran = Pool(4, 100, 10), []
        first = asyncio.create_task(pool.run(held(gate, ran), b"x" * 20))
        await begun(ran, 1)
        with pytest.raises(FullError, match="20 bytes already"):
            await pool.run(held(gate, ran), b"x")
        gate.set()
        assert await first == b"x" * 20
        assert await pool.run(len, b"x" * 10) == 10

    asyncio.run(scenario())


def test_errors_come_through_and_free_the_place():
    def failing(_):
        raise ValueError("no")

    async def scenario():
        pool = Pool(1, 1, 10)
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await pool.run(failing, b"")
        assert await pool.run(len, b"abc") == 3

    asyncio.run(scenario())
