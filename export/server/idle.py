"""Room for connections: where they become many, those that have been idle longest are closed.

gRPC does not tell which connections it has, but Linux does; elsewhere nothing is closed here.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple

_DESCRIPTORS = Path("/proc/self/fd")
# Milliseconds since data was sent and received, in `struct tcp_info`.
_TCP_INFO_BYTES, _SENT_AT, _RECEIVED_AT = 64, 44, 52
# Whoever says something as often is not idle.
_IDLE_MS = 1000


class _Connection(NamedTuple):
    idle_ms: int
    descriptor: int
    client_port: int


def close_idlest(port: int, most: int, busy: Container[int] = ()) -> int:
    """Closes idle connections until no more than `most` are left, the longest idle first.

    Args:
        port: number of the port that they came to.
        most: how many may stay.
        busy: ports of clients that wait for an answer, and are not idle.

    Returns:
        How many were closed.
    """
    with contextlib.suppress(OSError):
        descriptors = [int(path.name) for path in _DESCRIPTORS.iterdir()]
        if len(descriptors) > most:
            there = [found for one in descriptors if (found := _connection(one, port))]
            idle = [one for one in there if one.idle_ms >= _IDLE_MS and one.client_port not in busy]
            idlest = sorted(idle, reverse=True)[: max(0, len(there) - most)]
            return sum(_close(one, port) for one in idlest)
    return 0


@contextlib.contextmanager
def _copied(descriptor: int) -> Iterator[socket.socket]:
    """A socket on a copy of a descriptor, which gRPC may close at any time.

    Raises:
        OSError: if it is none of a socket.
    """
    copy = os.dup(descriptor)
    try:
        borrowed = socket.socket(fileno=copy)
        try:
            yield borrowed
        finally:
            borrowed.detach()
    finally:
        os.close(copy)


def _connection(descriptor: int, port: int) -> _Connection | None:
    with contextlib.suppress(OSError), _copied(descriptor) as copy:
        if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.getsockname()[1] == port:
            client_port = copy.getpeername()[1]
            info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            times = [struct.unpack_from("I", info, at)[0] for at in (_SENT_AT, _RECEIVED_AT)]
            return _Connection(min(times), descriptor, client_port)
    return None


def _close(connection: _Connection, port: int) -> bool:
    with contextlib.suppress(OSError), _copied(connection.descriptor) as copy:
        if (copy.getsockname()[1], copy.getpeername()[1]) == (port, connection.client_port):
            copy.shutdown(socket.SHUT_RDWR)
            return True
    return False
