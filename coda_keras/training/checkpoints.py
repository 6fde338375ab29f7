"""Checkpoints from which an interrupted training resumes, to the step.

A checkpoint is one file, `checkpoint-<epochs>-<steps>.npz` in the folder of the run: the variables
of net, optimiser and metrics, and as JSON how far the training is. Every member of such a file has
a checksum, so that a damaged one is noticed.
"""

import dataclasses
import json
import os
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from coda_keras import backend
from coda_keras.utils.files import replacing
from coda_keras.utils.inflating import DAMAGE

FILES = "checkpoint-*.npz"
KEPT = 2
PROGRESS = "progress"


@dataclasses.dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: int, complete epochs.
        step: int, steps of the next epoch that are done.
        seconds: float, that these steps took.
        history: list of the logs of the complete epochs, a dict each.
        metrics: values of the metrics' variables over these steps; empty before the first one.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    metrics: list[np.ndarray] = dataclasses.field(default_factory=list)


def save_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Saves `model` as a `.keras` file, atomically."""
    with replacing(path) as temporary:
        model.save(temporary)


def save(folder: str | os.PathLike, model: keras.Model, progress: Progress) -> Path:
    """Writes a checkpoint, and then deletes all but it and the one before.

    Args:
        folder: of the run.
        model: a net with its optimiser, both built.
        progress: `Progress`.

    Returns:
        The path of the file.

    Raises:
        OSError: if the file cannot be written; those that are there stay.
    """
    folder = Path(folder)
    values = {key: [_array(v) for v in kind] for key, kind in _variables(model).items()}
    values["metrics"] = progress.metrics
    state = {**dataclasses.asdict(progress), "metrics": None}
    arrays: dict[str, Any] = {
        f"{key}_{n}": array for key, kind in values.items() for n, array in enumerate(kind)
    }
    arrays[PROGRESS] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    path = folder / f"checkpoint-{progress.epoch:04d}-{progress.step:07d}.npz"
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)
    # A damaged file of the same run may be ahead of what it went on from.
    paths = _newest_first(folder)
    first = paths.index(path)
    # Processes that were killed while they wrote have left some.
    unfinished = [*folder.glob(f".{FILES}")]
    for old in paths[:first] + paths[first + KEPT :] + unfinished:
        old.unlink(missing_ok=True)
    return path


def restore(folder: str | os.PathLike, model: keras.Model) -> Progress:
    """Brings a net back to the newest whole checkpoint, and tells of damaged ones on stderr.

    Args:
        folder: of the run.
        model: a net with its optimiser, both built as those that were saved.

    Returns:
        Its `Progress`, that of a beginning if there is no whole checkpoint.

    Raises:
        ValueError: if the checkpoint is that of another net or optimiser.
    """
    for path in _newest_first(Path(folder)):
        try:
            arrays = _read(path)
        except DAMAGE as error:
            print(
                f"{path} is damaged ({type(error).__name__}: {error}); going on from the one "
                "before, or from the beginning.",
                file=sys.stderr,
            )
            continue
        for key, variables in _variables(model).items():
            _assign(variables, _of(arrays, key), path)
        state = json.loads(arrays[PROGRESS].tobytes())
        return Progress(**{**state, "metrics": _of(arrays, "metrics")})
    return Progress()


def share(workers: Any, model: keras.Model, progress: Progress) -> Progress:
    """Gives all workers the net and the progress of the chief, who alone needs its folder.

    Args:
        workers: `coda_keras.training.tf_workers.Workers`.
        model: a net with its optimiser, both built.
        progress: `Progress`, which matters of the chief only.

    Returns:
        The chief's `Progress`.
    """
    for variables in _variables(model).values():
        values = workers.from_chief([_array(variable) for variable in variables])
        for variable, value in zip(variables, values):
            variable.assign(value)
    state = dataclasses.asdict(progress)
    state["metrics"] = [value.tolist() for value in progress.metrics]
    state = json.loads(workers.text_from_chief(json.dumps(state)))
    return Progress(**{**state, "metrics": [np.float32(value) for value in state["metrics"]]})


def is_finite(model: keras.Model) -> bool:
    """Whether all weights of a net are finite."""
    return all(np.isfinite(_array(variable)).all() for variable in model.variables)


def metric_variables(metrics: Sequence[keras.metrics.Metric]) -> list[Any]:
    """The variables of metrics, in a fixed order."""
    return [variable for metric in metrics for variable in metric.variables]


def read_metrics(metrics: Sequence[keras.metrics.Metric]) -> list[np.ndarray]:
    """The values of metrics' variables, for `Progress`."""
    return [_array(variable) for variable in metric_variables(metrics)]


def set_metrics(metrics: Sequence[keras.metrics.Metric], values: Sequence[np.ndarray]) -> None:
    """Gives metrics the values that `read_metrics` had returned."""
    for variable, value in zip(metric_variables(metrics), values, strict=True):
        variable.assign(value)


def _variables(model):
    return {"weights": model.variables, "optimizer": model.optimizer.variables}


def synchronise(model: keras.Model) -> None:
    """Brings a net's variables up to date: on JAX their values are elsewhere while epochs last."""
    if backend.NAME == "jax":
        model.jax_state_sync()


def value_of(variable: Any) -> Any:
    """The value that a variable has now, a tensor; one summed up over replicas if it is so kept."""
    # On TensorFlow neither conversions nor copies do this to variables of replicas.
    return ops.multiply(variable, 1)


def _array(variable):
    return np.asarray(ops.convert_to_numpy(value_of(variable)))


def _of(arrays, key):
    numbers = range(sum(name.startswith(f"{key}_") for name in arrays))
    return [arrays[f"{key}_{number}"] for number in numbers]


def _read(path):
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile("it does not end as an archive does")
    with path.open("rb") as file, np.load(file) as members:
        # Reading a member checks its sum.
        arrays = {name: members[name] for name in members.files}
    json.loads(arrays[PROGRESS].tobytes())
    return arrays


def _newest_first(folder):
    return sorted(folder.glob(FILES), reverse=True)


def _assign(variables, values, path):
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise ValueError(
            f"{path} is a checkpoint of another net or optimizer. Repeat the command that it came "
            "from, or choose another --output."
        )
    for variable, value in zip(variables, values):
        variable.assign(value)
