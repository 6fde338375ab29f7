"""A model behind the gRPC API of TensorFlow Serving."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from coda_keras_export.api import arrays, serving_pb2, tls

from coda_keras.utils import command_line
from coda_keras.utils.text import sentence

if TYPE_CHECKING:
    import grpc

MAX_MESSAGE_BYTES = 2**31 - 1
PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
# The states of a version, as the API numbers them.
STATES = {number: name for name, number in serving_pb2.ModelVersionStatus.State.items()}


class Client:
    """A connection to one model of a TensorFlow Serving API.

    Args:
        server: `host:port`.
        model: name of the model.
        version: integer; None for the latest.
        timeout: seconds a request may take.
        credentials: as `tls.client_credentials` makes them; None for a connection without
            encryption.

    Raises (all methods):
        OSError: if the server cannot be reached or refuses; with its sentence. Its `__cause__` is
            the `grpc.RpcError`.
    """

    def __init__(
        self,
        server: str,
        model: str,
        version: int | None = None,
        timeout: float = 30.0,
        credentials: "grpc.ChannelCredentials | None" = None,
    ) -> None:
        import grpc

        # By default a client accepts 4 MiB: one contribution map of 1024x1024.
        options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        self.server, self.model, self.version, self.timeout = server, model, version, timeout
        if credentials is None:
            self._channel = grpc.insecure_channel(server, options)
        else:
            self._channel = grpc.secure_channel(server, credentials, options)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def signatures(self) -> dict[str, serving_pb2.SignatureDef]:
        """Returns `{name: SignatureDef}`: what the model answers, with shapes."""
        request = serving_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        response = self._call(METADATA, request, serving_pb2.GetModelMetadataResponse)
        # Its type has TensorFlow's name, so that `Unpack` would refuse it.
        packed = response.metadata["signature_def"].value
        return dict(serving_pb2.SignatureDefMap.FromString(packed).signature_def)

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: dict of input name to array.
            outputs: names of the outputs wanted; empty for all.

        Returns:
            dict of output name to NumPy array.
        """
        return self.answer(signature, inputs, outputs)[0]

    def answer(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = ()
    ) -> tuple[dict[str, np.ndarray], int]:
        """As `predict`; returns `(outputs, version that answered)`."""
        request = serving_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            arrays.fill(request.inputs[name], values)
        response = self._call(PREDICT, request, serving_pb2.PredictResponse)
        answered = {name: arrays.read(proto) for name, proto in response.outputs.items()}
        return answered, response.model_spec.version.value

    def status(self) -> dict[int, tuple[str, str]]:
        """Returns `{version: (state, reason)}`, a state as in `STATES`, an empty reason if well."""
        request = serving_pb2.GetModelStatusRequest()
        response = self._call(STATUS, request, serving_pb2.GetModelStatusResponse)
        return {
            status.version: (STATES.get(status.state, "UNKNOWN"), status.status.error_message)
            for status in response.model_version_status
        }

    def _call(self, method: str, request: Any, response: Any) -> Any:
        import grpc

        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        call = self._channel.unary_unary(
            method, type(request).SerializeToString, response.FromString
        )
        try:
            return call(request, timeout=self.timeout)
        except grpc.RpcError as error:
            reason = f"{error.code().name}: {sentence(error.details() or '')}"
            raise OSError(f"{self.server} answers {reason}") from error


def tensor_shape(
    signatures: Mapping[str, serving_pb2.SignatureDef], name: str, side: str, tensor: str
) -> list[int]:
    """Returns the shape of an input or output that a servable of ours has; -1 is any size.

    Args:
        signatures: as `Client.signatures` returns them.
        name: of a signature.
        side: `"inputs"` or `"outputs"`.
        tensor: name of the input or output.

    Raises:
        ValueError: if there is no such tensor.
    """
    tensors = getattr(signatures[name], side) if name in signatures else {}
    if tensor not in tensors:
        raise ValueError(
            "The model is none that `coda-keras package` made: it has no "
            f"signature {name} with {tensor} among its {side}."
        )
    return [dim.size for dim in tensors[tensor].tensor_shape.dim]


def add_flags(parser: ArgumentParser) -> None:
    """Adds the flags of how to connect, which `connect` reads."""
    parser.add_argument(
        "--timeout", type=command_line.seconds, default=30, help="of a request, in s (%(default)s)"
    )
    parser.add_argument("--tls", action="store_true", help="encrypt, trusting public authorities")
    parser.add_argument("--tls-ca", help="PEM file of certificates to trust instead; encrypts")
    parser.add_argument("--tls-key", help="PEM file of the client's own key, for mutual TLS")
    parser.add_argument("--tls-certificate", help="PEM file of that key's certificate")


def connect(flags: Namespace, version: int | None = None) -> Client:
    """Returns a connection as flags ask for it: `server`, `model`, and those of `add_flags`."""
    files = flags.tls_ca, flags.tls_key, flags.tls_certificate
    credentials = tls.client_credentials(*files) if flags.tls or any(files) else None
    return Client(flags.server, flags.model, version, flags.timeout, credentials)
