"""TensorFlow Serving's gRPC API over a catalogue: Predict, GetModelMetadata and GetModelStatus.

Requests arrive on an event loop, which nothing may hold up: Predict takes and gives bytes, and all
that it does with them is done in the pool's threads.
"""

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import tensorflow as tf
from coda_keras_export.api import arrays
from coda_keras_export.servable.loading import DEFAULT_SIGNATURE
from coda_keras_export.servable.request_tensors import invalid
from coda_keras_export.server.catalogue import Catalogue
from coda_keras_export.server.metrics import Metrics
from coda_keras_export.server.pool import FullError, Pool
from coda_keras_export.server.version import FAILED
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
)
from tensorflow_serving.apis.status_pb2 import StatusProto

from coda_keras.utils.text import listed, short

# Clients drop answers with more than 8 KiB of headers, in which a byte may take three.
_MAX_DETAILS_BYTES = 2000
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_State = get_model_status_pb2.ModelVersionStatus.State


def _answering(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Turns TensorFlow's errors into the gRPC status of the same code."""

    @functools.wraps(method)
    async def answer(self: Any, request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(self, request, context)
        except Exception as error:
            code, details = status_of(error)
            if code is None:
                raise
        await context.abort(code, details)

    return answer


def status_of(error: Exception) -> tuple[grpc.StatusCode | None, str]:
    """Returns `(code, sentence)` of an error; the code is None for one that nobody expects."""
    if isinstance(error, tf.errors.OpError):
        details = error.message.encode()[:_MAX_DETAILS_BYTES].decode(errors="ignore")
        return _CODES[error.error_code], details
    if isinstance(error, FullError):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
    if isinstance(error, MemoryError):
        return grpc.StatusCode.RESOURCE_EXHAUSTED, "Out of memory."
    return None, ""


class PredictionService:
    """Answers requests from the servables of a catalogue.

    Args:
        catalogue: a `Catalogue`.
        pool: a `Pool`.
        metrics: a `Metrics`, or None.
    """

    def __init__(self, catalogue: Catalogue, pool: Pool, metrics: Metrics | None = None) -> None:
        self._catalogue, self._pool, self._metrics = catalogue, pool, metrics

    def handlers(self) -> grpc.GenericRpcHandler:
        """Returns the handlers for a `grpc.aio` server."""
        return grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService",
            {
                # As a stream of one message, which begins before that has arrived.
                "Predict": grpc.stream_unary_rpc_method_handler(self.predict),
                "GetModelMetadata": grpc.unary_unary_rpc_method_handler(
                    self.metadata,
                    get_model_metadata_pb2.GetModelMetadataRequest.FromString,
                    get_model_metadata_pb2.GetModelMetadataResponse.SerializeToString,
                ),
            },
        )

    @_answering
    async def predict(self, _: Any, context: grpc.aio.ServicerContext) -> bytes:
        """Answers a `PredictRequest` with a `PredictResponse`, both as they are sent."""
        arrival = time.perf_counter()
        try:
            peer = context.peer()
            message = await self._pool.receive(peer, context.read)
            if message is grpc.aio.EOF:
                raise invalid("The request has no message.")
            return await self._pool.run(peer, self._predict, message, arrival)
        except FullError:
            self._count("", "RESOURCE_EXHAUSTED", arrival)
            raise

    def _predict(self, message: bytes, arrival: float) -> bytes:
        name, status = "", "UNKNOWN"
        try:
            request = _parsed(message)
            name = request.model_spec.name
            response = self._response(request).SerializeToString()
            status = "OK"
            return response
        except Exception as error:
            code, _ = status_of(error)
            status = status if code is None else code.name
            raise
        finally:
            self._count(name, status, arrival)

    def _response(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        with self._catalogue.use(*_wanted(request.model_spec)) as (version, servable):
            outputs = servable.predict(signature_name, request.inputs, request.output_filter)
        response = predict_pb2.PredictResponse()
        _describe(response.model_spec, request.model_spec.name, version)
        response.model_spec.signature_name = signature_name
        for output, values in outputs.items():
            arrays.fill(response.outputs[output], values)
        return response

    def _count(self, name: str, status: str, arrival: float) -> None:
        if self._metrics:
            # Anybody may invent names, and each would be counted for ever.
            known = name if self._catalogue.states(name) else ""
            self._metrics.answered(known, status, time.perf_counter() - arrival)

    @_answering
    async def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, _: grpc.aio.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Answers with the signatures of a servable."""
        with self._catalogue.use(*_wanted(request.model_spec)) as (version, servable):
            if list(request.metadata_field) != ["signature_def"]:
                raise invalid(
                    "Expected the metadata_field signature_def. "
                    f"Received: {listed(request.metadata_field)}."
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

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @_answering
    async def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, _: grpc.aio.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Answers with the states of a model's versions, or of one of them."""
        name, version = _wanted(request.model_spec)
        states = self._catalogue.states(name)
        if version is not None:
            states = {number: state for number, state in states.items() if number == version}
        if not states:
            which = "versions" if version is None else f"version {version}"
            raise tf.errors.NotFoundError(
                None, None, f"Could not find {which} of model {short(name)}"
            )
        response = get_model_status_pb2.GetModelStatusResponse()
        for number, state in sorted(states.items(), reverse=True):
            code = tf.errors.FAILED_PRECONDITION if state.name == FAILED else tf.errors.OK
            response.model_version_status.add(
                version=number,
                state=_State.Value(state.name),
                status=StatusProto(error_code=code, error_message=state.reason),
            )
        return response


def _parsed(message: bytes) -> predict_pb2.PredictRequest:
    try:
        return predict_pb2.PredictRequest.FromString(message)
    except DecodeError as error:
        raise invalid("The request is no PredictRequest message.") from error


def _wanted(spec: Any) -> tuple[str, int | None]:
    """Returns `(name, version or None)` of a `ModelSpec`."""
    if not spec.name:
        raise invalid("The request's model_spec has no name.")
    if spec.WhichOneof("version_choice") == "version_label":
        raise invalid(
            f"Unrecognized version label: {short(spec.version_label)!r}. "
            "This server knows numbers only."
        )
    return spec.name, spec.version.value if spec.HasField("version") else None


def _describe(spec: Any, name: str, version: int) -> None:
    spec.name = name
    spec.version.value = version
