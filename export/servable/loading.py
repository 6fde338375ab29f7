"""A servable: one SavedModel version, loaded and run as a model server does.

The TF1 session loader is what `tensorflow_model_server` uses. A session runs the outputs that
were asked for and may be called from several threads.
"""

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from coda_keras_export.servable import request_tensors

from coda_keras.utils.text import listed, sentence, short

WARM_UP = "assets.extra/tf_serving_warmup_requests"
LABELS = "assets.extra/labels.txt"
DEFAULT_SIGNATURE = "serving_default"
_INIT_OP = "__saved_model_init_op"
_GRAPH, _INDEX = "saved_model.pb", "variables/variables.index"
# Files that are read whole, in several times the memory: a hundred times those of the largest net
# of the paper. Weights lie in files of their own.
MAX_FILE_BYTES = 2**27


class Servable:
    """A loaded SavedModel version.

    Args:
        path: folder with `saved_model.pb` and `variables/`.
        on_cpu: bool, whether to leave GPUs alone.
        max_batch_size: images a request may hold; None for a number that their size suggests,
            `request_tensors.max_batch_size`.

    Attributes:
        signatures: dict of signature name to `SignatureDef`.

    Raises:
        ValueError: if the folder is incomplete or does not load.
    """

    def __init__(
        self, path: str | os.PathLike, on_cpu: bool = False, max_batch_size: int | None = None
    ) -> None:
        self.path, self.max_batch_size = Path(path), max_batch_size
        for part in (_GRAPH, _INDEX):
            if not (self.path / part).is_file():
                raise ValueError(f"{self.path} is no complete SavedModel: it has no {part}.")
        for part in (_GRAPH, _INDEX, WARM_UP):
            _check_size(self.path / part)
        config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
        config.gpu_options.allow_growth = True
        if on_cpu:
            config.device_count["GPU"] = 0
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default(), _QUIET:
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], str(self.path)
                )
        except Exception as error:  # Broken files raise whatever their parser raises.
            raise ValueError(f"{self.path} does not load: {error}") from error
        self.signatures = dict(meta_graph.signature_def)
        self.signatures.pop(_INIT_OP, None)

    def predict(
        self, signature_name: str, inputs: Mapping[str, Any], output_filter: Iterable[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature on tensor protos.

        Args:
            signature_name: string; empty for `serving_default`.
            inputs: mapping of input name to `TensorProto`.
            output_filter: names of the outputs wanted; empty for all.

        Returns:
            dict of output name to NumPy array.

        Raises:
            tf.errors.OpError: with the code a model server answers.
        """
        signature = self._signature(signature_name)
        _check_names("inputs", inputs, signature.inputs, all_needed=True)
        most = request_tensors.max_batch_size(signature, self.max_batch_size)
        feeds = {
            expected.name: request_tensors.array(name, inputs[name], expected, most)
            for name, expected in signature.inputs.items()
        }
        names = list(output_filter) or list(signature.outputs)
        _check_names("outputs", names, signature.outputs, all_needed=False)
        try:
            return self._session.run({name: signature.outputs[name].name for name in names}, feeds)
        except tf.errors.OpError as error:
            raise type(error)(None, None, sentence(error.message)) from error

    def close(self) -> None:
        """Frees the session; nothing may run on it any more."""
        self._session.close()
        self._session = None

    def warm_up(self) -> int:
        """Runs the stored warm-up requests, so that the first real request is not slow.

        Returns:
            The number of requests.

        Raises:
            ValueError: if they cannot be read, or one of them fails.
        """
        requests = self._warm_up_requests()
        for request in requests:
            try:
                self.predict(request.model_spec.signature_name, request.inputs)
            except tf.errors.OpError as error:
                raise ValueError(
                    f"A warm-up request of {self.path} fails: {error.message}"
                ) from error
        return len(requests)

    def _warm_up_requests(self) -> list[Any]:
        from google.protobuf.message import DecodeError
        from tensorflow_serving.apis import prediction_log_pb2

        path = self.path / WARM_UP
        if not path.is_file():
            return []
        try:
            logs = [
                prediction_log_pb2.PredictionLog.FromString(record)
                for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
            ]
        except (tf.errors.OpError, DecodeError) as error:
            raise ValueError(f"The warm-up requests in {path} cannot be read: {error}") from error
        return [log.predict_log.request for log in logs]

    def _signature(self, name: str) -> Any:
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise tf.errors.FailedPreconditionError(
                None,
                None,
                f'Serving signature key "{short(name)}" not found. '
                f"The model has {listed(sorted(self.signatures))}.",
            )
        return self.signatures[name]


def _check_size(path: Path) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if size > MAX_FILE_BYTES:
        raise ValueError(
            f"{path} has {size} bytes, more than the {MAX_FILE_BYTES} that such a file may have. "
            "Package the net again."
        )


class _Quiet(logging.Filter):
    """Keeps TensorFlow from calling the session loader deprecated in the thread that loads."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = set()
        tf.get_logger().addFilter(self)

    def __enter__(self) -> None:
        self._threads.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        self._threads.discard(threading.get_ident())

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self._threads or record.levelno >= logging.ERROR


_QUIET = _Quiet()


def _check_names(
    kind: str, names: Iterable[str], expected: Iterable[str], all_needed: bool
) -> None:
    unknown = sorted(set(names) - set(expected))
    missing = sorted(set(expected) - set(names)) if all_needed else []
    if unknown or missing:
        parts = [f"the signature's {kind} are {listed(sorted(expected))}"]
        if unknown:
            parts.append(f"unknown: {listed(unknown)}")
        if missing:
            parts.append(f"missing: {listed(missing)}")
        raise request_tensors.invalid(f"Wrong {kind}: {'; '.join(parts)}.")
