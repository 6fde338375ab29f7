"""A model behind the gRPC API of TensorFlow Serving."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from coda_keras_export import arrays, cli, messages, security

MAX_MESSAGE_BYTES = 2**31 - 1
PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
# The states of a version, as the API numbers them.
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


class Client:
    """A connection to one model of a TensorFlow Serving API.

    Args:
        server: `host:port`.
        model: name of the model.
        version: integer; None for the latest.
        timeout: seconds a request may take.
        credentials: `grpc.ChannelCredentials`, as `security.client_credentials` makes them; None
            for a connection without encryption.

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
        credentials: Any = None,
    ):
        import grpc

        # By default a client accepts 4 MiB: one contribution map of 1024x1024.
        options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        self.server, self.model, self.version, self.timeout = server, model, version, timeout
        if credentials is None:
            self._channel = grpc.insecure_channel(server, options)
        else:
            self._channel = grpc.secure_channel(server, credentials, options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def signatures(self) -> dict[str, Any]:
        """Returns `{name: SignatureDef}`: what the model answers, with shapes."""
        request = messages.MetadataRequest(metadata_field=["signature_def"])
        response = self._call(METADATA, request, messages.MetadataResponse)
        packed = response.metadata["signature_def"].value
        return dict(messages.SignatureMap.FromString(packed).signature_def)

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
        request = messages.PredictRequest(output_filter=outputs)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            arrays.fill(request.inputs[name], values)
        response = self._call(PREDICT, request, messages.PredictResponse)
        found = {name: arrays.read(proto) for name, proto in response.outputs.items()}
        return found, response.model_spec.version.value

    def status(self) -> dict[int, tuple[str, str]]:
        """Returns `{version: (state, reason)}`, a state as in `STATES`, an empty reason if well."""
        response = self._call(STATUS, messages.StatusRequest(), messages.StatusResponse)
        return {
            found.version: (STATES.get(found.state, "UNKNOWN"), found.status.error_message)
            for found in response.model_version_status
        }

    def _call(self, method, request, response):
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
            raise OSError(
                f"{self.server} answers {error.code().name}: {cli.sentence(error.details())}"
            ) from error


def add_flags(parser: ArgumentParser) -> None:
    """Adds the flags of how to connect, which `credentials` reads."""
    parser.add_argument(
        "--timeout", type=cli.seconds, default=30, help="of a request, in s (%(default)s)"
    )
    parser.add_argument("--tls", action="store_true", help="encrypt, trusting public authorities")
    parser.add_argument("--tls-ca", help="PEM file of certificates to trust instead; encrypts")
    parser.add_argument("--tls-key", help="PEM file of the client's own key, for mutual TLS")
    parser.add_argument("--tls-certificate", help="PEM file of that key's certificate")


def credentials(arguments: Namespace) -> Any:
    """Returns the credentials that flags ask for; None for a connection without encryption."""
    files = arguments.tls_ca, arguments.tls_key, arguments.tls_certificate
    return security.client_credentials(*files) if arguments.tls or any(files) else None
