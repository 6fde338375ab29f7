"""The standard health service, `grpc.health.v1`, for the server and each of its models."""

import asyncio

from coda_keras_export.server.catalogue import Catalogue
from grpc_health.v1 import health, health_pb2

_STATUS = health_pb2.HealthCheckResponse


class Health:
    """Keeps the health service told.

    A model, asked for by its name, is SERVING while a version of it is loaded and warmed up, and
    the server, asked for by the empty name, once all that was there at its start has been tried.

    Args:
        catalogue: a `Catalogue`.

    Attributes:
        servicer: to be added to a `grpc.aio` server.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.servicer = health.aio.HealthServicer()
        self._catalogue = catalogue
        self._started = False
        self._told: set[str] = set()
        # Of two updates the later must not be overtaken.
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """From here on the server may be SERVING."""
        self._started = True
        await self.update()

    async def update(self) -> None:
        """Reads the states of the catalogue."""
        async with self._lock:
            models = self._catalogue.models()
            for name in self._told - models.keys():
                await self.servicer.set(name, _STATUS.SERVICE_UNKNOWN)
            serving = {**models, "": self._started and any(models.values())}
            for name, serves in serving.items():
                status = _STATUS.SERVING if serves else _STATUS.NOT_SERVING
                await self.servicer.set(name, status)
            self._told = set(models)

    async def end(self) -> None:
        """Nothing is SERVING any more."""
        await self.servicer.enter_graceful_shutdown()
