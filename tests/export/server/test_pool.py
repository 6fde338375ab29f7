"""The bound on requests that run and wait."""

import asyncio
import threading

import pytest
from coda_keras_export.server import pool as pool_module
from coda_keras_export.server.pool import FullError, Pool
from processes import LIMIT


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def held(gate, ran):
    """A function that waits for the gate, and notes what it ran with."""

    def function(message):
        ran.append(message)
        assert gate.wait(LIMIT)
        return message

    return function


async def begun(ran, count):
    while len(ran) < count:
        await asyncio.sleep(0.001)


def test_as_many_run_as_there_are_threads_and_the_rest_waits(gate):
    async def scenario():
        pool, ran = Pool(2, 5, 1000), []
        tasks = [asyncio.create_task(pool.run("a", held(gate, ran), bytes([n]))) for n in range(5)]
        await begun(ran, 2)
        assert pool.present == 5
        with pytest.raises(FullError, match="5 requests of 5 bytes"):
            await pool.run("a", held(gate, ran), b"x")
        assert len(ran) == 2
        gate.set()
        assert await asyncio.gather(*tasks) == [bytes([n]) for n in range(5)]
        # There is room again.
        assert await pool.run("a", held(gate, ran), b"x") == b"x"

    asyncio.run(scenario())


def test_what_is_cancelled_while_it_waits_never_runs_and_makes_room(gate):
    async def scenario():
        pool, ran = Pool(1, 3, 1000), []
        running, gone, staying = [
            asyncio.create_task(pool.run("a", held(gate, ran), message))
            for message in (b"running", b"gone", b"staying")
        ]
        await begun(ran, 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        late = asyncio.create_task(pool.run("a", held(gate, ran), b"late"))
        await asyncio.sleep(0)
        assert not late.done()
        # One that runs keeps its thread and its place until it ends.
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with pytest.raises(FullError):
            await pool.run("a", held(gate, ran), b"x")
        assert ran == [b"running"]
        gate.set()
        assert await asyncio.gather(staying, late) == [b"staying", b"late"]
        assert ran == [b"running", b"staying", b"late"]

    asyncio.run(scenario())


def test_bytes_are_bounded_but_one_request_always_fits(gate):
    async def scenario():
        pool, ran = Pool(4, 100, 10), []
        first = asyncio.create_task(pool.run("a", held(gate, ran), b"x" * 20))
        await begun(ran, 1)
        with pytest.raises(FullError, match="20 bytes already"):
            await pool.run("a", held(gate, ran), b"x")
        gate.set()
        assert await first == b"x" * 20
        assert await pool.run("a", len, b"x" * 10) == 10

    asyncio.run(scenario())


def test_errors_come_through_and_free_the_place():
    def failing(_):
        raise ValueError("no")

    async def scenario():
        pool = Pool(1, 1, 10)
        for _ in range(3):
            with pytest.raises(ValueError, match="no"):
                await pool.run("a", failing, b"")
        assert await pool.run("a", len, b"abc") == 3

    asyncio.run(scenario())


def test_few_messages_arrive_at_once_and_slow_ones_keep_nobody_waiting(monkeypatch):
    monkeypatch.setattr(pool_module, "_ARRIVALS", 2)
    monkeypatch.setattr(pool_module, "_ARRIVAL_SECONDS", 3600)

    async def scenario():
        pool, reading = Pool(1, 5, 1000), []

        def reader(message):
            async def read():
                reading.append(message)
                await gates[message].wait()
                return message

            return read

        async def seven():
            return 7

        gates = {number: asyncio.Event() for number in range(4)}
        tasks = [asyncio.create_task(pool.receive("a", reader(number))) for number in gates]
        await begun(reading, 2)
        for _ in range(10):
            await asyncio.sleep(0)
        assert reading == [0, 1]
        gates[1].set()
        assert await tasks[1] == 1
        await begun(reading, 3)
        tasks[0].cancel()
        await begun(reading, 4)
        assert reading == [0, 1, 2, 3]
        # Whoever takes long stops to count, and may go on.
        monkeypatch.setattr(pool_module, "_ARRIVAL_SECONDS", 0)
        gates[2].set()
        await tasks[2]
        slow = [asyncio.create_task(pool.receive("a", asyncio.Event().wait)) for _ in range(20)]
        assert await pool.receive("a", seven) == 7
        assert not any(task.done() for task in slow)
        for event in gates.values():
            event.set()
        assert await tasks[3] == 3
        for task in slow:
            task.cancel()

    asyncio.run(scenario())


def test_nothing_is_read_that_could_not_run(gate):
    async def scenario():
        pool, ran = Pool(1, 1, 1000), []
        running = asyncio.create_task(pool.run("a", held(gate, ran), b"x"))
        await begun(ran, 1)

        async def read():
            raise AssertionError("it was read")

        with pytest.raises(FullError):
            await pool.receive("a", read)
        gate.set()
        await running

    asyncio.run(scenario())


def test_one_connection_takes_few_of_the_places(monkeypatch):
    monkeypatch.setattr(pool_module, "_ARRIVAL_SECONDS", 3600)

    async def seven():
        return 7

    async def scenario():
        pool = Pool(1, 5, 1000)
        silent = [asyncio.create_task(pool.receive("a", asyncio.Event().wait)) for _ in range(99)]
        await asyncio.sleep(0)
        assert await pool.receive("b", seven) == 7
        assert not any(task.done() for task in silent)
        for task in silent:
            task.cancel()
        ended = await asyncio.gather(*silent, return_exceptions=True)
        assert {type(end) for end in ended} == {asyncio.CancelledError}
        assert await pool.receive("a", seven) == 7

    asyncio.run(scenario())


def test_of_too_many_that_stay_out_the_oldest_of_the_largest_connection_ends(monkeypatch):
    monkeypatch.setattr(pool_module, "_SILENT", 4)

    async def scenario():
        pool = Pool(1, 5, 1000)

        def begin(connection):
            return asyncio.create_task(pool.receive(connection, asyncio.Event().wait))

        first = begin("honest")
        attacks = [begin("attacker") for _ in range(5)]
        ended = await asyncio.gather(*attacks[:2], return_exceptions=True)
        assert [type(end) for end in ended] == [FullError, FullError]
        assert "more than 4 such calls" in str(ended[0])
        assert not any(task.done() for task in (first, *attacks[2:]))
        for task in (first, *attacks[2:]):
            task.cancel()
        await asyncio.gather(first, *attacks[2:], return_exceptions=True)

    asyncio.run(scenario())


def test_connections_are_busy_while_their_requests_run(gate):
    async def scenario():
        pool, ran = Pool(1, 5, 1000), []
        tasks = [asyncio.create_task(pool.run(name, held(gate, ran), b"x")) for name in "aab"]
        await begun(ran, 1)
        assert sorted(pool.busy()) == ["a", "b"]
        gate.set()
        await asyncio.gather(*tasks)
        while pool.busy():
            await asyncio.sleep(0.001)

    asyncio.run(scenario())
