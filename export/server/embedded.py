"""A gRPC server with TensorFlow Serving's API, for where the stock server is not installed.

The main thread runs an event loop that receives, answers about states and hears signals. Models
load and requests run in other threads; TensorFlow itself is imported in one.
"""

import asyncio
import importlib
import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, NoReturn

import grpc
from coda_keras_export.api import tls
from coda_keras_export.server import idle, limits, memory
from coda_keras_export.server.signals import end_signals

if TYPE_CHECKING:
    from coda_keras_export.server.catalogue import Catalogue
    from coda_keras_export.server.health import Health
    from coda_keras_export.server.metrics import Metrics
    from coda_keras_export.server.pool import Pool

GRACE_SECONDS = 5
# How many of the largest requests may be there; of smaller ones more.
_LARGEST_AT_ONCE = 4
# Between looks for connections that make room for others.
_ROOM_SECONDS = 0.25


def serve(arguments: Namespace) -> None:
    """Serves until SIGINT, SIGTERM or SIGHUP; a second one ends it at once.

    Args:
        arguments: those of `serve.py`.

    Raises:
        OSError: if an address cannot be bound.
        ValueError: if no servable could be loaded.
    """
    asyncio.run(_serve(arguments))


async def _serve(arguments: Namespace) -> NoReturn:
    signals: asyncio.Queue[int] = asyncio.Queue()
    server = Server(arguments)
    for number in end_signals():
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    working = asyncio.create_task(server.work())
    ended = asyncio.create_task(signals.get())
    await asyncio.wait([working, ended], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        ended.cancel()
        await server.stop(0)
        working.result()
    stopping = asyncio.create_task(server.stop(GRACE_SECONDS))
    hurry = asyncio.create_task(signals.get())
    await asyncio.wait(
        [stopping, hurry], timeout=GRACE_SECONDS + 1, return_when=asyncio.FIRST_COMPLETED
    )
    # The interpreter would wait for loads, and for requests that outlast their grace.
    os._exit(128 + hurry.result() if hurry.done() else 0)


class Server:
    """What answers, and what looks for versions.

    Args:
        arguments: those of `serve.py`.
    """

    def __init__(self, arguments: Namespace) -> None:
        self._arguments = arguments
        self._server: grpc.aio.Server | None = None
        self._health: Health | None = None

    async def work(self) -> None:
        """Listens, loads, and looks for new versions; ends only by an error."""
        await asyncio.to_thread(_import)
        catalogue, address, pool, connections = await self._listen()
        room = asyncio.create_task(self._make_room(address, pool, connections))
        await asyncio.to_thread(catalogue.refresh)
        await asyncio.gather(self._announce(catalogue, address), self._look(catalogue), room)

    async def stop(self, seconds: float) -> None:
        """Takes no more requests, and gives those that are there so many seconds."""
        if self._server:
            await self._health.end()
            await self._server.stop(seconds)

    async def _announce(self, catalogue: "Catalogue", address: str) -> None:
        """Says that it serves when all that was there at its start has been tried."""
        models = self._arguments.models
        await asyncio.to_thread(catalogue.wait)
        if not any(catalogue.models().values()):
            raise ValueError(f"No servable in {models} could be loaded; see above.")
        await self._health.start()
        print(f"serving {models} on {address}", flush=True)

    async def _look(self, catalogue: "Catalogue") -> NoReturn:
        """Looks for versions for ever."""
        said = None
        while True:
            await asyncio.sleep(self._arguments.poll)
            try:
                await asyncio.to_thread(catalogue.refresh)
                said = None
            except Exception as error:  # Whatever it is, what is loaded is served.
                if said != (said := f"cannot look for versions: {error}"):
                    print(said, file=sys.stderr, flush=True)

    async def _make_room(self, address: str, pool: "Pool", connections: int) -> NoReturn:
        """Keeps a quarter of the connections free for those to come, if need be."""
        while True:
            await asyncio.sleep(_ROOM_SECONDS)
            busy = {_port(peer) for peer in pool.busy()}
            await asyncio.to_thread(idle.close_idlest, _port(address), connections * 3 // 4, busy)

    async def _listen(self) -> tuple["Catalogue", str, "Pool", int]:
        """Answers from here on; returns `(catalogue, address, pool, most connections)`."""
        from coda_keras_export.server.catalogue import Catalogue
        from coda_keras_export.server.health import Health
        from coda_keras_export.server.metrics import Metrics
        from coda_keras_export.server.pool import Pool

        arguments, loop = self._arguments, asyncio.get_running_loop()
        bounds = limits.Limits(
            arguments.max_message_mib * 2**20,
            arguments.max_connections,
            arguments.max_connection_calls,
            arguments.compressed_requests,
        )
        metrics = Metrics()
        if arguments.metrics_port is not None:
            port = await metrics.serve(arguments.host, arguments.metrics_port)
            print(f"metrics on {arguments.host}:{port}", file=sys.stderr, flush=True)
        catalogue = Catalogue(
            arguments.models,
            arguments.max_batch_size,
            arguments.policies,
            arguments.load_threads,
            arguments.load_timeout,
            changed=lambda: asyncio.run_coroutine_threadsafe(self._health.update(), loop),
            attempted=metrics.attempted,
        )
        self._health = Health(catalogue)
        await self._health.update()
        pool = Pool(
            arguments.threads,
            arguments.max_concurrent_requests,
            _LARGEST_AT_ONCE * bounds.message_bytes,
        )
        metrics.watch(lambda: pool.present)
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        self._server, port = bind(
            catalogue,
            f"{host}:{arguments.port}",
            pool,
            bounds,
            metrics,
            self._health,
            tls.server_credentials(*arguments.tls) if arguments.tls else None,
        )
        await self._server.start()
        address = f"{host}:{port}"
        print(f"listening on {address}", file=sys.stderr, flush=True)
        return catalogue, address, pool, bounds.connections


def _port(address: str) -> int:
    """The number at the end of `host:port`, or of a client's name in gRPC."""
    return int(address.rpartition(":")[2])


def bind(
    catalogue: "Catalogue",
    address: str,
    pool: "Pool",
    bounds: limits.Limits = limits.DEFAULTS,
    metrics: "Metrics | None" = None,
    health: "Health | None" = None,
    credentials: grpc.ServerCredentials | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Makes a `grpc.aio` server that listens, and answers once it is started.

    Args:
        catalogue: a `Catalogue`.
        address: `host:port`; port 0 takes a free one.
        pool: a `Pool` for requests to run in.
        bounds: `Limits`.
        metrics, health: a `Metrics` and a `Health`, or None.
        credentials: `grpc.ServerCredentials` for TLS; None for none.

    Returns:
        `(server, port)`.

    Raises:
        OSError: if the address cannot be bound.
    """
    from coda_keras_export.server import services
    from grpc_health.v1 import health_pb2_grpc
    from tensorflow_serving.apis import model_service_pb2_grpc

    server = grpc.aio.server(options=bounds.options())
    prediction = services.PredictionService(catalogue, pool, metrics)
    server.add_generic_rpc_handlers([prediction.handlers()])
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        services.ModelService(catalogue), server
    )
    if health:
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    try:
        if credentials is None:
            return server, server.add_insecure_port(address)
        return server, server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"Cannot listen on {address}: is the port taken?") from error


def _import() -> None:
    """Imports what takes seconds, such as TensorFlow, once, before threads load models."""
    importlib.import_module("coda_keras_export.server.services")
    memory.settle()
