"""How much one server takes from its clients: connections, calls and bytes."""

import resource
from dataclasses import dataclass

_MOST_CONNECTIONS, _MOST_CALLS = 1000, 4096
# Descriptors for models, metrics and gRPC itself; half of them where there are fewer than twice.
_RESERVED_DESCRIPTORS = 128
_HANDSHAKE_MS, _IDLE_MS = 10_000, 60_000
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 60_000, 20_000
# The largest protobuf message. How much comes back follows from what was accepted.
_MAX_ANSWER_BYTES = _UNBOUNDED = 2**31 - 1
_IDENTITY_ALONE = 1


@dataclass(frozen=True)
class Limits:
    """What a gRPC server takes.

    Attributes:
        message_bytes: the largest request; a larger one is RESOURCE_EXHAUSTED.
        connections: at once; one more is closed.
        calls: at once on one connection. A client keeps back what is more; what it sends before the
            server has put away others is UNAVAILABLE.
        compressed: whether requests may be compressed. They are inflated before anybody can refuse
            them.
    """

    message_bytes: int = 64 * 2**20
    connections: int = _MOST_CONNECTIONS
    calls: int = _MOST_CALLS
    compressed: bool = False

    def options(self) -> list[tuple[str, int]]:
        """Returns the options of a `grpc.aio` server."""
        options = {
            "grpc.max_receive_message_length": self.message_bytes,
            "grpc.max_send_message_length": _MAX_ANSWER_BYTES,
            "grpc.max_allowed_incoming_connections": self.connections,
            "grpc.max_concurrent_streams": self.calls,
            # Connections that never speak HTTP/2, have no calls, or whose client has vanished.
            "grpc.server_handshake_timeout_ms": _HANDSHAKE_MS,
            "grpc.max_connection_idle_ms": _IDLE_MS,
            "grpc.keepalive_time_ms": _KEEPALIVE_MS,
            "grpc.keepalive_timeout_ms": _KEEPALIVE_TIMEOUT_MS,
            # gRPC cancels calls beyond these, where the pool refuses them with a sentence.
            "grpc.server.max_pending_requests": _UNBOUNDED,
            "grpc.server.max_pending_requests_hard_limit": _UNBOUNDED,
            # A second server on the same port must fail, not take half of the requests.
            "grpc.so_reuseport": 0,
        }
        if not self.compressed:
            options["grpc.compression_enabled_algorithms_bitset"] = _IDENTITY_ALONE
        return list(options.items())


DEFAULTS = Limits()


def connections(wanted: int | None = None) -> int:
    """Returns how many connections there may be, so that descriptors are left for all else.

    Args:
        wanted: a number; None for 1000, or fewer where the process may open few files.

    Raises:
        ValueError: if more are wanted than there are descriptors for.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return wanted or _MOST_CONNECTIONS
    room = descriptors - min(_RESERVED_DESCRIPTORS, descriptors // 2)
    if wanted is not None and wanted > room:
        raise ValueError(
            f"--max-connections {wanted} needs more files than this process may open: "
            f"{descriptors}, of which {descriptors - room} are kept for models. Raise the limit "
            f"(`ulimit -n {wanted + _RESERVED_DESCRIPTORS}`), or allow at most {room} connections."
        )
    return min(wanted or _MOST_CONNECTIONS, room)
