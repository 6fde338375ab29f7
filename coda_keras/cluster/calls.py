"""Calls that do not depend on each other, on the devices of this machine or on a Ray cluster."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

_slot = threading.local()


def environment() -> dict[str, str]:
    """Variables for the processes that a call starts: those of its device."""
    return dict(getattr(_slot, "environment", {}))


def run_calls(
    function: Callable[[Any, Any], Any],
    items: Sequence[Any],
    shared: Any = None,
    devices: Sequence[Mapping[str, str]] = ({},),
    ray: str | None = None,
    cpus: int = 1,
) -> Iterator[tuple[int, Any]]:
    """Yields `(index, function(shared, items[index]))`, in the order in which the calls end.

    Args:
        function: of a module, so that it can be pickled.
        items: sequence, an item for each call.
        shared: what all calls need. Each Ray worker receives it once.
        devices: a slot for each, with the variables that `environment` returns in its calls. One
            slot runs the calls in this thread, several run them in threads.
        ray: address of a Ray cluster, "" for the one that Ray finds, None for this process.
        cpus: int, cores that a call takes of a Ray cluster without GPUs; of one with GPUs it takes
            one of these. A call whose worker or machine is lost runs again.

    Raises:
        Exception: what a call raises; the calls that have not begun are dropped.
    """
    if ray is not None:
        from coda_keras.cluster import ray_engine

        ray_engine.connect(ray)
        yield from ray_engine.run(function, items, shared, cpus)
    elif len(devices) == 1:
        _slot.environment = devices[0]
        yield from ((index, function(shared, item)) for index, item in enumerate(items))
    else:
        free = iter(devices)
        pool = ThreadPoolExecutor(len(devices), initializer=lambda: _take(free))
        futures = {pool.submit(function, shared, item): i for i, item in enumerate(items)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            # Whoever is interrupted ends what the calls have started.
            pool.shutdown(wait=False, cancel_futures=True)


def _take(devices: Iterator[Mapping[str, str]]) -> None:
    """Gives a thread of the pool a device of its own."""
    _slot.environment = next(devices)
