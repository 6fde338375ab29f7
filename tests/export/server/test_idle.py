"""Which connections are closed where others need room."""

import contextlib
import socket

import pytest
from coda_keras_export.server import idle
from serving import LIMIT, eventually


@pytest.fixture
def connections():
    """Pairs of sockets `(client, server)` of six connections, the oldest first, and their port."""
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
        pairs = []
        for _ in range(6):
            client = stack.enter_context(socket.create_connection(listening.getsockname(), LIMIT))
            pairs.append((client, stack.enter_context(listening.accept()[0])))
        yield pairs, listening.getsockname()[1]


def is_open(pair):
    client, server = pair
    try:
        client.sendall(b"x")
        return server.recv(1) == b"x"
    except OSError:
        return False


def test_nothing_is_closed_where_there_is_room(connections, monkeypatch):
    monkeypatch.setattr(idle, "_IDLE_MS", 0)
    pairs, port = connections
    assert idle.close_idlest(port, 6) == 0
    assert idle.close_idlest(port + 1, 0) == 0
    assert all(map(is_open, pairs))


def test_those_that_are_idle_longest_go_first(connections, monkeypatch):
    pairs, port = connections
    times = {client.getsockname()[1]: 10_000 - n for n, (client, _) in enumerate(pairs)}
    looking = idle._connection

    def aged(descriptor, port):
        found = looking(descriptor, port)
        return found and found._replace(idle_ms=times[found.client_port])

    monkeypatch.setattr(idle, "_connection", aged)
    # The oldest of all waits for an answer.
    busy = {pairs[0][0].getsockname()[1]}
    assert idle.close_idlest(port, 4, busy) == 2
    assert [is_open(pair) for pair in pairs] == [True, False, False, True, True, True]


def test_those_that_say_something_stay(connections):
    pairs, port = connections
    closed = []

    def all_others_are_closed():
        assert is_open(pairs[3])
        closed.append(idle.close_idlest(port, 1))
        return sum(closed) == 5

    eventually(all_others_are_closed)
    assert [is_open(pair) for pair in pairs] == [False, False, False, True, False, False]


def test_descriptors_of_all_kinds_are_left_alone(tmp_path):
    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file:
        with pytest.raises(OSError, match="socket"), idle._copied(file.fileno()):
            pass
        before = len(list(idle._DESCRIPTORS.iterdir()))
        assert idle._connection(file.fileno(), 1) is None
        assert len(list(idle._DESCRIPTORS.iterdir())) == before
        assert file.read() == ""
