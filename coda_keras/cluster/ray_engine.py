"""Everything that calls Ray; no other module imports it.

Ray starts processes on the machines of its cluster, and starts them again elsewhere where one is
lost. All machines need this package, with the extra `cluster`.
"""

import logging
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from coda_keras.cluster import processes
from coda_keras.utils.text import short

# How often a call runs again whose worker was lost, each time on what is left of the cluster.
RETRIES = 20
# Between two looks at how large the cluster is.
WAIT_SECONDS = 2.0
# Variables that the workers have as this process has them.
_PASSED = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS")


class ClusterError(ConnectionError):
    """The cluster cannot be reached, or cannot do what it was asked for."""


def connect(address: str = "", output: bool = False) -> None:
    """Connects this process to a cluster.

    Args:
        address: of its head, such as "10.0.0.1:6379"; "" for that of RAY_ADDRESS or of this
            machine. Where there is none, Ray starts one on this machine.
        output: bool, whether this process prints what workers print.

    Raises:
        ClusterError: if there is no cluster at the address.
    """
    try:
        ray.init(
            address or None,
            ignore_reinit_error=True,
            logging_level=logging.ERROR,
            log_to_driver=output,
            runtime_env={"env_vars": _passed()},
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        reason = " ".join(str(error).split())
        message = f"Cannot connect to a Ray cluster at {address!r}: {reason}"
        # Ray does not say here that this is what is missing.
        hint = "One that was started with a token needs RAY_AUTH_MODE=token here too."
        raise ClusterError(f"{message}. {hint}") from error


def has_gpus() -> bool:
    """Whether the cluster has GPUs."""
    return bool(ray.cluster_resources().get("GPU"))


def run(
    function: Callable[[Any, Any], Any],
    items: Sequence[Any],
    shared: Any,
    cpus: int,
) -> Iterator[tuple[int, Any]]:
    """`coda_keras.cluster.calls.run_calls` by Ray tasks."""
    call = ray.remote(_call).options(max_retries=RETRIES, **_resources(cpus))
    # In a list it reaches the worker as a reference, to be read there once.
    held = [ray.put(shared)]
    waiting = {call.remote(function, held, item): index for index, item in enumerate(items)}
    while waiting:
        (done,), _ = ray.wait([*waiting])
        index = waiting.pop(done)
        try:
            result = ray.get(done)
        except RayTaskError as error:
            raise _cause(error) from error
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
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    name, amount = ("GPU", 1) if has_gpus() else ("CPU", cpus)
    actors = sum(int(node["Resources"].get(name, 0) // amount) for node in _nodes())
    if not actors:
        raise ClusterError(f"No machine of the cluster has {amount} {name}s. Give fewer --cpus.")
    rows = [{"part": pickle.dumps(part)} for part in parts]
    # A block is a part: what Ray computes again after a loss is as small as that.
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    readers = ray.data.TaskPoolStrategy(size=actors)
    # The actors may have all cores, and wait for what is read.
    data = data.map(_Reading(read), num_cpus=0, compute=readers)
    data = data.map_batches(
        _Computing,
        fn_constructor_args=(make,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        **_resources(cpus),
    )
    try:
        for row in data.iter_rows():
            yield pickle.loads(row["result"])
    except RayTaskError as error:
        raise _cause(error) from error
    except RayError as error:
        raise ClusterError(" ".join(str(error).split())) from error


def train(module: str, flags: Sequence[str], workers: int, max_failures: int, folder: Path) -> int:
    """Runs a recipe once for each worker, and all of them again where one is lost.

    Args:
        module: name of the recipe's module.
        flags: its command line.
        workers: int, how many there are; each has a GPU, or a core of a cluster without GPUs.
        max_failures: int, how often they are started again.
        folder: of the run, which all machines share; Ray keeps its own state in `.ray` there.

    Returns:
        The exit code: 0, or that of the workers: 2 for what a user has to fix, else 75.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    gpus = has_gpus()
    trainer = TensorflowTrainer(
        _run_recipe,
        train_loop_config={"module": module, "flags": list(flags)},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpus, placement_strategy="SPREAD"
        ),
        run_config=RunConfig(
            storage_path=str(folder / ".ray"),
            failure_config=FailureConfig(max_failures=max_failures),
            worker_runtime_env={"env_vars": _passed()},
        ),
    )
    for name in ("ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with _telling_of_waits("GPU" if gpus else "CPU", workers):
            trainer.fit()
    except Exception as error:  # Ray has a class for every way in which a training fails.
        failures = getattr(error, "worker_failures", {}) or {0: error}
        said = " ".join(map(str, failures.values()))
        code = 2 if f"{_ENDED} 2." in said else 75
        print(f"The training has ended ({short(said, 200)}).", file=sys.stderr, flush=True)
        print("The same command continues it.", file=sys.stderr, flush=True)
        return code
    return 0


_ENDED = "The recipe ended with exit code"


def _run_recipe(config: dict[str, Any]) -> None:
    """Runs a recipe as a process: Ray has set a variable here that Keras 3 does not go with."""
    line = [sys.executable, "-m", config["module"], *config["flags"]]
    code = processes.run(line, without=["TF_USE_LEGACY_KERAS"])
    if code:
        raise RuntimeError(f"{_ENDED} {code}.")


@contextmanager
def _telling_of_waits(resource: str, needed: int) -> Iterator[None]:
    """Prints a line whenever the cluster becomes too small, and when it is large enough again."""
    ended = threading.Event()

    def look() -> None:
        waiting = False
        while not ended.is_set():
            there = sum(int(node["Resources"].get(resource, 0)) for node in _nodes())
            if waiting != (there < needed):
                waiting = not waiting
                line = (
                    f"Waiting: {needed} workers need {needed} {resource}s, the cluster has {there}."
                )
                print(line if waiting else "The cluster is large enough again.", flush=True)
            ended.wait(WAIT_SECONDS)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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


def _cause(error: RayTaskError) -> BaseException:
    """What was raised in the worker."""
    cause = error.cause
    return (cause.__cause__ or cause) if isinstance(cause, RayError) else cause


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _passed() -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED if name in os.environ}


def _resources(cpus: int) -> dict[str, Any]:
    """What a worker has: a GPU, or so many cores and as many threads of TensorFlow.

    These would be as many as the machine has cores otherwise, in every worker on it.
    """
    if has_gpus():
        return {"num_gpus": 1}
    threads = {f"TF_NUM_{kind}_THREADS": str(cpus) for kind in ("INTRAOP", "INTEROP")}
    return {"num_cpus": cpus, "runtime_env": {"env_vars": {**_passed(), **threads}}}
