"""A servable: one SavedModel version, loaded and run as a model server does.

The TF1 session loader is what `tensorflow_model_server` uses. A session runs the outputs that
were asked for and may be called from several threads.
"""

import logging
import threading
from pathlib import Path

import tensorflow as tf
from coda_keras_export import cli, tensors

WARM_UP = "assets.extra/tf_serving_warmup_requests"
LABELS = "assets.extra/labels.txt"
DEFAULT_SIGNATURE = "serving_default"
_INIT_OP = "__saved_model_init_op"


class Servable:
    """A loaded SavedModel version.

    Args:
        path: folder with `saved_model.pb` and `variables/`.
        on_cpu: bool, whether to leave GPUs alone.
        max_batch_size: images a request may hold; None for a number that their size suggests,
            `tensors.max_batch_size`.

    Attributes:
        signatures: dict of signature name to `SignatureDef`.

    Raises:
        ValueError: if the folder is incomplete or does not load.
    """

    def __init__(self, path, on_cpu=False, max_batch_size=None):
        self.path, self.max_batch_size = Path(path), max_batch_size
        for part in ("saved_model.pb", "variables/variables.index"):
            if not (self.path / part).is_file():
                raise ValueError(f"{self.path} is no complete SavedModel: it has no {part}.")
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
        self.signatures = {
            name: signature
            for name, signature in meta_graph.signature_def.items()
            if name != _INIT_OP
        }

    def predict(self, signature_name, inputs, output_filter=()):
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
        feeds = self._feeds(signature, inputs)
        names = list(output_filter) or list(signature.outputs)
        _check_names("outputs", names, signature.outputs, all_needed=False)
        try:
            return self._session.run({name: signature.outputs[name].name for name in names}, feeds)
        except tf.errors.OpError as error:
            raise type(error)(None, None, cli.sentence(error.message)) from error

    def close(self):
        """Frees the session; nothing may run on it any more."""
        self._session.close()
        self._session = None

    def warm_up(self):
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

    def _warm_up_requests(self):
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

    def _signature(self, name):
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise tf.errors.FailedPreconditionError(
                None,
                None,
                f'Serving signature key "{cli.short(name)}" not found. '
                f"The model has {cli.listed(sorted(self.signatures))}.",
            )
        return self.signatures[name]

    def _feeds(self, signature, inputs):
        _check_names("inputs", inputs, signature.inputs, all_needed=True)
        most = tensors.max_batch_size(signature, self.max_batch_size)
        return {
            expected.name: tensors.array(name, inputs[name], expected, most)
            for name, expected in signature.inputs.items()
        }


class _Quiet(logging.Filter):
    """Keeps TensorFlow from calling the session loader deprecated in the thread that loads."""

    def __init__(self):
        super().__init__()
        self._threads = set()
        tf.get_logger().addFilter(self)

    def __enter__(self):
        self._threads.add(threading.get_ident())

    def __exit__(self, *_):
        self._threads.discard(threading.get_ident())

    def filter(self, record):
        return record.thread not in self._threads or record.levelno >= logging.ERROR


_QUIET = _Quiet()


def _check_names(kind, names, expected, all_needed):
    unknown = sorted(set(names) - set(expected))
    missing = sorted(set(expected) - set(names)) if all_needed else []
    if unknown or missing:
        parts = [f"the signature's {kind} are {cli.listed(sorted(expected))}"]
        if unknown:
            parts.append(f"unknown: {cli.listed(unknown)}")
        if missing:
            parts.append(f"missing: {cli.listed(missing)}")
        raise tensors.invalid(f"Wrong {kind}: {'; '.join(parts)}.")
