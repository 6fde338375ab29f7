"""A gRPC server with TensorFlow Serving's API, for where the stock server is not installed.

Predict, GetModelMetadata and GetModelStatus, with the status codes of the stock server.
"""

from concurrent import futures

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.apis.status_pb2 import StatusProto

from export import cli
from export.servable import DEFAULT_SIGNATURE
from export.tensors import invalid

# Of one request, by default: a batch of `folder.MAX_PIXELS` takes 12 MiB.
MAX_MESSAGE_BYTES = 64 * 2**20
# The largest protobuf message. How much comes back follows from what was accepted.
_MAX_ANSWER_BYTES = 2**31 - 1
# Clients drop answers with more than 8 KiB of headers, in which a byte may take three.
_MAX_DETAILS_BYTES = 2000
CODES = {code.value[0]: code for code in grpc.StatusCode}
State = get_model_status_pb2.ModelVersionStatus.State


def bind(catalogue, address, threads, max_message_bytes=MAX_MESSAGE_BYTES):
    """Makes a server that listens and answers once it is started.

    Args:
        catalogue: a `Catalogue`.
        address: `host:port`; port 0 takes a free one.
        threads: number of requests that run at once.
        max_message_bytes: the largest request; a larger one is RESOURCE_EXHAUSTED.

    Returns:
        `(server, port)`; `server.start()` begins to answer.

    Raises:
        OSError: if the address cannot be bound.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(threads, thread_name_prefix="request"),
        options=[
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", _MAX_ANSWER_BYTES),
            # A second server on the same port must fail, not take half of the requests.
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(catalogue), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(catalogue), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"Cannot listen on {address}: is the port taken?") from error
    return server, port


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers requests from the servables of a catalogue."""

    def __init__(self, catalogue):
        self.catalogue = catalogue

    def Predict(self, request, context):
        with _Errors(context):
            version, servable = _find(self.catalogue, request.model_spec)
            # A request may have waited in the queue for longer than its client did.
            if not context.is_active():
                raise tf.errors.DeadlineExceededError(None, None, "The client has gone.")
            signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            outputs = servable.predict(signature_name, request.inputs, request.output_filter)
            response = predict_pb2.PredictResponse()
            _describe(response.model_spec, request.model_spec.name, version)
            response.model_spec.signature_name = signature_name
            for name, values in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(values))
            return response

    def GetModelMetadata(self, request, context):
        with _Errors(context):
            version, servable = _find(self.catalogue, request.model_spec)
            if list(request.metadata_field) != ["signature_def"]:
                raise invalid(
                    "Expected the metadata_field signature_def. "
                    f"Received: {cli.listed(request.metadata_field)}."
                )
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            _describe(response.model_spec, request.model_spec.name, version)
            response.metadata["signature_def"].Pack(signatures)
            return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Says which versions of a model are served."""

    def __init__(self, catalogue):
        self.catalogue = catalogue

    def GetModelStatus(self, request, context):
        with _Errors(context):
            name, version = _wanted(request.model_spec)
            states = self.catalogue.states(name)
            if version is not None:
                states = {number: why for number, why in states.items() if number == version}
            if not states:
                which = "versions" if version is None else f"version {version}"
                raise tf.errors.NotFoundError(
                    None, None, f"Could not find {which} of model {cli.short(name)}"
                )
            response = get_model_status_pb2.GetModelStatusResponse()
            for number, why in sorted(states.items(), reverse=True):
                status = StatusProto()
                if why is not None:
                    status = StatusProto(
                        error_code=tf.errors.FAILED_PRECONDITION, error_message=why
                    )
                response.model_version_status.add(
                    version=number,
                    state=State.Value("AVAILABLE" if why is None else "END"),
                    status=status,
                )
            return response


class _Errors:
    """Turns TensorFlow's errors into the gRPC status of the same code."""

    def __init__(self, context):
        self.context = context

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, tf.errors.OpError):
            details = error.message.encode()[:_MAX_DETAILS_BYTES].decode(errors="ignore")
            self.context.abort(CODES[error.error_code], details)
        if isinstance(error, MemoryError):
            self.context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Out of memory.")


def _wanted(spec):
    """Returns `(name, version or None)` of a `ModelSpec`."""
    if not spec.name:
        raise invalid("The request's model_spec has no name.")
    if spec.WhichOneof("version_choice") == "version_label":
        raise invalid(
            f"Unrecognized version label: {cli.short(spec.version_label)!r}. "
            "This server knows numbers only."
        )
    return spec.name, spec.version.value if spec.HasField("version") else None


def _find(catalogue, spec):
    return catalogue.find(*_wanted(spec))


def _describe(spec, name, version):
    spec.name = name
    spec.version.value = version
