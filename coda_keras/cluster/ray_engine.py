"""Everything that calls Ray; no other module imports it.

Ray starts processes on the machines of its cluster, and starts them again elsewhere where one is
lost. All machines need this package, with the extra `cluster`.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

# How often a call runs again whose worker was lost, each time on what is left of the cluster.
RETRIES = 20
# Variables that the workers have as this process has them.
_PASSED = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")


class ClusterError(ConnectionError):
    """The cluster cannot be reached, or cannot do what it was asked for."""


def connect(address: str = "") -> None:
    """Connects this process to a cluster.

    Args:
        address: of its head, such as "10.0.0.1:6379"; "" for that of RAY_ADDRESS or of this
            machine. Where there is none, Ray starts one on this machine.

    Raises:
        ClusterError: if there is no cluster at the address.
    """
    try:
        ray.init(
            address or None,
            ignore_reinit_error=True,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": _passed()},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ClusterError(f"Cannot connect to a Ray cluster at {address!r}: {reason}") from error


def has_gpus() -> bool:
    """Whether the cluster has GPUs."""
    return bool(ray.cluster_resources().get("GPU"))


def run(
    function: Callable[[Any, Any], Any],
    items: Sequence[Any],
    shared: Any,
    cpus: float,
    gpus: float,
) -> Iterator[tuple[int, Any]]:
    """`coda_keras.cluster.calls.run_calls` by Ray tasks."""
    call = ray.remote(_call).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)
    # In a list it reaches the worker as a reference, to be read there once.
    held = [ray.put(shared)]
    waiting = {call.remote(function, held, item): index for index, item in enumerate(items)}
    while waiting:
        (done,), _ = ray.wait([*waiting])
        index = waiting.pop(done)
        try:
            result = ray.get(done)
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            raise ClusterError(f"A call was lost {RETRIES} times: {error}") from error
        yield index, result


def _call(function: Callable[[Any, Any], Any], held: list[Any], item: Any) -> Any:
    return function(_shared(held[0]), item)


@lru_cache(maxsize=1)
def _shared(reference: Any) -> Any:
    return ray.get(reference)


def map_parts(
    parts: Sequence[Any],
    read: Callable[[Any], Any],
    make: Callable[[], Callable[[Any], Any]],
    cpus: int,
) -> Iterator[Any]:
    """Reads parts of data by Ray Data, and computes something of each by actors.

    Args:
        parts: what `read` takes; pickled.
        read: function, called in tasks.
        make: called once in every actor; returns a function of what `read` returned. There is an
            actor for each GPU of the cluster, or for so many of its cores where it has none.
        cpus: int, cores of an actor where there are no GPUs.

    Yields:
        What the actors' functions return, in any order. A part whose worker or machine is lost
        is computed again.

    Raises:
        ClusterError: if no machine of the cluster has so many cores.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    resources = {"num_gpus": 1} if has_gpus() else {"num_cpus": cpus}
    name, amount = ("GPU", 1) if has_gpus() else ("CPU", cpus)
    actors = sum(int(node["Resources"].get(name, 0) // amount) for node in _nodes())
    if not actors:
        raise ClusterError(f"No machine of the cluster has {amount} {name}s. Give fewer --cpus.")
    rows = [{"part": pickle.dumps(part)} for part in parts]
    # A block is a part: what Ray computes again after a loss is as small as that.
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    # The actors may have all cores, and wait for what is read.
    data = data.map(_Reading(read), num_cpus=0, concurrency=2 * actors)
    data = data.map_batches(
        _Computing,
        fn_constructor_args=(make,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        runtime_env={"env_vars": {**_passed(), **_threads(cpus)}},
        **resources,
    )
    try:
        for row in data.iter_rows():
            yield pickle.loads(row["result"])
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise ClusterError(" ".join(str(error).split())) from error


class _Reading:
    """A function of a part, as Ray Data calls it."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"content": pickle.dumps(self._read(pickle.loads(row["part"])), protocol=5)}


class _Computing:
    """An actor: makes a function once and calls it for every part."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._function = make()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        results = [self._function(pickle.loads(content)) for content in batch["content"]]
        return {"result": [pickle.dumps(result) for result in results]}


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _passed() -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED if name in os.environ}


def _threads(count: int) -> dict[str, str]:
    """TensorFlow takes all cores of a machine otherwise, and so does every actor on it."""
    return {f"TF_NUM_{kind}_THREADS": str(count) for kind in ("INTRAOP", "INTEROP")}
