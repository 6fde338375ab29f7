"""A model behind the gRPC API of TensorFlow Serving."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from export import cli

MAX_MESSAGE_BYTES = 2**31 - 1


class Client:
    """A connection to one model of a TensorFlow Serving API.

    Args:
        server: `host:port`.
        model: name of the model.
        version: integer; None for the latest.
        timeout: seconds a request may take.

    Raises (all methods):
        OSError: if the server cannot be reached or refuses; with its sentence.
    """

    def __init__(self, server: str, model: str, version: int | None = None, timeout: float = 30.0):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        # By default a client accepts 4 MiB: one contribution map of 1024x1024.
        options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        self.server, self.model, self.version, self.timeout = server, model, version, timeout
        self._channel = grpc.insecure_channel(server, options)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._channel.close()

    def signatures(self) -> dict[str, Any]:
        """Returns `{name: SignatureDef}`: what the model answers, with shapes."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        response = self._call(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

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
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        response = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}

    def _call(self, method, request):
        import grpc

        request.model_spec.name = self.model
        if self.version is not None:
            request.model_spec.version.value = self.version
        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise OSError(
                f"{self.server} answers {error.code().name}: {cli.sentence(error.details())}"
            ) from error
