"""Loads that do not end are given up, and keep nobody waiting."""

import threading

import pytest
from coda_keras_export.server.loaders import Loaders
from serving import LIMIT, eventually


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_load_that_hangs_is_given_up_and_the_next_begins(gate):
    loaders, said = Loaders(1, 0.05), []
    loaders.submit(lambda: gate.wait(LIMIT), lambda: said.append("given up"))
    loaders.submit(lambda: said.append("loaded"), lambda: None)
    loaders.wait()
    assert said == ["given up", "loaded"]
    assert not gate.is_set()


def timers():
    return [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_what_ends_in_time_is_not_given_up():
    loaders, said = Loaders(2, LIMIT), []
    for number in range(5):
        loaders.submit(lambda number=number: said.append(number), lambda: said.append("given up"))
    loaders.wait()
    assert sorted(said) == list(range(5))
    eventually(lambda: not timers())


def test_no_more_run_than_there_are_threads(gate):
    loaders, running = Loaders(2, LIMIT), []

    def load():
        running.append(1)
        gate.wait(LIMIT)

    for _ in range(3):
        loaders.submit(load, lambda: None)
    eventually(lambda: len(running) == 2)
    assert len(loaders._queue) == 1
    gate.set()
    loaders.wait()
    assert len(running) == 3
